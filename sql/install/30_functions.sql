-- The public functions. Written by hand, because pgrx knows neither regclass nor name nor procedures.
-- None is SECURITY DEFINER: each asks for ownership itself.
SET LOCAL search_path = pg_catalog, pg_temp;

-- It sets its search_path itself, where it runs anything that has to look for names: to do so for each row costs as much as
-- a third of the row.
CREATE FUNCTION mig.mirror() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_mirror';

CREATE FUNCTION mig.guard() RETURNS trigger
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_guard';

CREATE FUNCTION @extschema@.mig_define(migration text, scope_table regclass DEFAULT NULL, scope_value text DEFAULT NULL,
                           scope_column name DEFAULT 'project_id', options jsonb DEFAULT '{}') RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_define_wrapper';

CREATE FUNCTION @extschema@.mig_define(config jsonb) RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_define_config_wrapper';

CREATE FUNCTION @extschema@.mig_config(migration text DEFAULT NULL) RETURNS jsonb
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_config_wrapper';

CREATE FUNCTION @extschema@.mig_add_table(migration text, source regclass, target text, unique_keys jsonb DEFAULT NULL,
                              columns jsonb DEFAULT NULL, refs jsonb DEFAULT NULL, target_key jsonb DEFAULT NULL,
                              id_mode text DEFAULT 'preserve', filter text DEFAULT NULL, combine text DEFAULT NULL) RETURNS void
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_add_table_wrapper';

CREATE FUNCTION @extschema@.mig_configure(migration text, options jsonb) RETURNS jsonb
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_configure_wrapper';

CREATE FUNCTION @extschema@.mig_preflight(migration text DEFAULT NULL)
  RETURNS TABLE (severity text, check_name text, relation regclass, detail text, hint text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_preflight_wrapper';

CREATE FUNCTION @extschema@.mig_plan(migration text DEFAULT NULL)
  RETURNS TABLE (step int, phase text, relation text, action text, lock_mode text, est_rows bigint, est_bytes bigint)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_plan_wrapper';

CREATE FUNCTION @extschema@.mig_ddl(migration text DEFAULT NULL, phase text DEFAULT 'create') RETURNS SETOF text
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_ddl_wrapper';

CREATE FUNCTION @extschema@.mig_create(migration text DEFAULT NULL) RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_create_wrapper';

CREATE FUNCTION @extschema@.mig_dual_write(migration text DEFAULT NULL) RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_dual_write_wrapper';

CREATE FUNCTION @extschema@.mig_backfill(migration text DEFAULT NULL, driver text DEFAULT 'auto') RETURNS bigint
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_backfill_wrapper';

CREATE FUNCTION @extschema@.mig_step(migration text DEFAULT NULL, max_ms int DEFAULT 1000) RETURNS bigint
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_step_wrapper';

CREATE FUNCTION @extschema@.mig_pause(migration text DEFAULT NULL) RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_pause_wrapper';

CREATE FUNCTION @extschema@.mig_resume(migration text DEFAULT NULL) RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_resume_wrapper';

CREATE FUNCTION @extschema@.mig_cancel(migration text DEFAULT NULL) RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_cancel_wrapper';

CREATE FUNCTION @extschema@.mig_wait(migration text DEFAULT NULL, timeout interval DEFAULT '60 s') RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_wait_wrapper';

CREATE FUNCTION @extschema@.mig_check(migration text DEFAULT NULL, mode text DEFAULT 'full', relation regclass DEFAULT NULL, sample int DEFAULT 10)
  RETURNS TABLE (source regclass, target regclass, check_name text, source_value text, target_value text, ok boolean)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_check_wrapper';

CREATE FUNCTION @extschema@.mig_assert(migration text DEFAULT NULL, mode text DEFAULT 'full') RETURNS void
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_assert_wrapper';

CREATE FUNCTION @extschema@.mig_check_start(migration text DEFAULT NULL, mode text DEFAULT 'full', relation regclass DEFAULT NULL, sample int DEFAULT 10,
                                driver text DEFAULT 'auto') RETURNS bigint
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_check_start_wrapper';

CREATE FUNCTION @extschema@.mig_diff(migration text, relation regclass, max_rows int DEFAULT 20)
  RETURNS TABLE (key jsonb, kind text, source_row jsonb, target_row jsonb)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_diff_wrapper';

CREATE FUNCTION @extschema@.mig_repair(migration text DEFAULT NULL, relation regclass DEFAULT NULL, dry_run boolean DEFAULT true)
  RETURNS TABLE (source regclass, kind text, rows bigint)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_repair_wrapper';

CREATE FUNCTION @extschema@.mig_checklist(migration text DEFAULT NULL)
  RETURNS TABLE (phase text, item text, ok boolean, detail text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_checklist_wrapper';

CREATE FUNCTION @extschema@.mig_rollback(migration text, to_phase text DEFAULT NULL) RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_rollback_wrapper';

CREATE FUNCTION @extschema@.mig_switch(migration text DEFAULT NULL, force boolean DEFAULT false)
  RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_switch_wrapper';

CREATE FUNCTION @extschema@.mig_stop(migration text DEFAULT NULL) RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_stop_wrapper';

CREATE FUNCTION @extschema@.mig_archive(migration text DEFAULT NULL, suffix text DEFAULT '_archive', compat_views boolean DEFAULT false,
                            force boolean DEFAULT false)
  RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_archive_wrapper';

CREATE FUNCTION @extschema@.mig_reads(migration text DEFAULT NULL) RETURNS text
  LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_reads_wrapper';

CREATE FUNCTION @extschema@.mig_map(migration text, source regclass, old_key text) RETURNS text
  LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_map_wrapper';

CREATE FUNCTION @extschema@.mig_detach(migration text DEFAULT NULL) RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_detach_wrapper';

CREATE FUNCTION @extschema@.mig_drop(migration text, archives boolean DEFAULT false, force boolean DEFAULT false)
  RETURNS TABLE (source regclass, target regclass, action text)
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_drop_wrapper';

CREATE FUNCTION @extschema@.mig_version() RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_version_wrapper';

CREATE FUNCTION mig.only(migration text) RETURNS text
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_only_wrapper';

CREATE FUNCTION @extschema@.mig_status(migration text DEFAULT NULL)
  RETURNS TABLE (migration text, phase text, state text, tables int, rows_done bigint, rows_total bigint, pct numeric,
                 last_check text, problem text, next_step text)
  LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.migration, s.phase, s.state, s.tables, s.rows_done, s.rows_total, s.pct, s.last_check, s.problem, s.next_step
    FROM mig.status s WHERE $1 IS NULL OR s.migration = mig.only($1) ORDER BY s.migration
  $$;

CREATE FUNCTION mig.step(migration text, max_ms int) RETURNS bigint
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_step_wrapper';

CREATE FUNCTION mig.open_job(migration text) RETURNS bigint
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_open_job_wrapper';

CREATE FUNCTION mig.cron_drives(job bigint) RETURNS boolean
  LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_cron_drives_wrapper';

CREATE FUNCTION mig.step_of(job bigint, max_ms int) RETURNS bigint
  LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_step_of_wrapper';

-- Procedures that commit cannot have a SET clause: they pin the path at the start of each transaction.
CREATE PROCEDURE mig.drive(migration text, max_runtime interval, job bigint DEFAULT NULL)
  LANGUAGE plpgsql AS $$
DECLARE
  ends timestamptz;
  said timestamptz;
  line record;
  mine bigint;
  done bigint;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  ends := pg_catalog.clock_timestamp() + max_runtime;
  said := pg_catalog.clock_timestamp();
  mine := job;
  IF mine IS NOT NULL AND NOT mig.cron_drives(mine) THEN
    -- A restored dump, or somebody without rights on it ended the job.
    IF pg_catalog.to_regclass('cron.job') IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron') THEN
      PERFORM cron.unschedule(c.jobid) FROM cron.job c WHERE c.jobname = 'pg_mig ' || mine AND c.username = current_user;
    END IF;
    RETURN;
  END IF;
  LOOP
    IF mine IS NULL THEN
      done := mig.step(migration, 250);
      mine := mig.open_job(migration);
    ELSE
      done := mig.step_of(mine, 250);
    END IF;
    COMMIT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF done = 0 OR pg_catalog.clock_timestamp() >= said + interval '1 second' THEN
      said := pg_catalog.clock_timestamp();
      SELECT s.phase, s.state, s.pct, s.rows_done, s.rows_total, s.problem INTO line
        FROM mig.status s WHERE s.migration = mig.only($1);
      RAISE NOTICE '% % % (% of about % rows)%', line.phase, line.state, line.pct || '%', line.rows_done, line.rows_total,
        coalesce(', ' || line.problem, '');
    END IF;
    EXIT WHEN done = 0 OR pg_catalog.clock_timestamp() >= ends;
    IF done = 1 THEN
      PERFORM pg_catalog.pg_sleep(0.05);
    END IF;
  END LOOP;
END
$$;

CREATE PROCEDURE @extschema@.mig_run(migration text DEFAULT NULL, max_runtime interval DEFAULT '90 s')
  LANGUAGE plpgsql AS $$
BEGIN
  CALL mig.drive($1, $2);
END
$$;

-- These look names up where their caller would, and read the caller's search_path before they set their own.
CREATE FUNCTION @extschema@.mig_lint(statements text)
  RETURNS TABLE (line int, statement text, severity text, rule text, lock_mode text, blocks text, detail text, safer text)
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_lint_wrapper';

CREATE FUNCTION @extschema@.mig_add_column(migration text, relation regclass, column_name name, type text, up text, down text DEFAULT NULL,
                               column_default text DEFAULT NULL, not_null boolean DEFAULT false, replaces name DEFAULT NULL) RETURNS void
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_add_column_wrapper';

CREATE FUNCTION mig.keep_columns() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_keep_columns';

CREATE FUNCTION @extschema@.mig_set_not_null(relation regclass, column_name name) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_set_not_null_wrapper';

CREATE FUNCTION @extschema@.mig_add_check(relation regclass, constraint_name name, expression text) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_add_check_wrapper';

CREATE FUNCTION @extschema@.mig_add_foreign_key(relation regclass, constraint_name name, columns name[], ref_relation regclass, ref_columns name[],
                                    on_delete text DEFAULT 'NO ACTION', on_update text DEFAULT 'NO ACTION') RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_add_foreign_key_wrapper';

CREATE FUNCTION @extschema@.mig_create_index(statement text) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_create_index_wrapper';

CREATE FUNCTION @extschema@.mig_cancel(job bigint) RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_cancel_job_wrapper';

CREATE FUNCTION @extschema@.mig_wait(job bigint, timeout interval DEFAULT '60 s') RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_wait_job_wrapper';

-- Whether the caller may do what the relation's owner may, as it is at this moment; false where there is no such relation.
CREATE FUNCTION mig.is_owner(relation oid) RETURNS boolean
  LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_is_owner_wrapper';

-- The owner of the extension may restore a dump: rows of roles, and of tables of roles, that this owner is a member of.
CREATE FUNCTION mig.keep_state() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  relations oid[];
  missing oid;
  owner oid;
BEGIN
  CASE TG_RELID
    WHEN 'mig.migration'::regclass, 'mig.step_log'::regclass THEN
      owner := NEW.owner;
    WHEN 'mig.mapping'::regclass THEN
      relations := ARRAY[NEW.source::oid, NEW.target::oid];
    ELSE
      relations := ARRAY[NEW.relation::oid];
  END CASE;
  IF relations IS NOT NULL THEN
    SELECT m.owner INTO owner FROM mig.migration m WHERE m.id = NEW.migration;
    FOREACH missing IN ARRAY pg_catalog.array_remove(relations, NULL) LOOP
      IF NOT mig.is_owner(missing) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('permission denied for the state of relation %s', missing::regclass),
          DETAIL = pg_catalog.format('Role %s is no member of its owner, or it is not there.', current_user);
      END IF;
    END LOOP;
    IF NEW.author IS NOT NULL AND NOT pg_catalog.pg_has_role(NEW.author, 'USAGE') THEN
      owner := NEW.author;
    END IF;
  END IF;
  IF owner IS NULL OR NOT pg_catalog.pg_has_role(owner, 'USAGE') THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('permission denied for the state of role %s', coalesce(owner::regrole::text, 'none')),
      DETAIL = pg_catalog.format('Role %s is no member of it.', current_user);
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER keep_state BEFORE INSERT ON mig.migration FOR EACH ROW EXECUTE FUNCTION mig.keep_state();
CREATE TRIGGER keep_state BEFORE INSERT ON mig.mapping FOR EACH ROW EXECUTE FUNCTION mig.keep_state();
CREATE TRIGGER keep_state BEFORE INSERT ON mig.new_column FOR EACH ROW EXECUTE FUNCTION mig.keep_state();
CREATE TRIGGER keep_state BEFORE INSERT ON mig.step_log FOR EACH ROW EXECUTE FUNCTION mig.keep_state();

CREATE FUNCTION @extschema@.mig_allow(role_name regrole) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  f text;
BEGIN
  IF role_name IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'argument "role_name" must not be null',
      HINT = 'Give a value; an argument that has a default may be left out.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role_name) THEN
    RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = pg_catalog.format('role %s does not exist', role_name::oid),
      DETAIL = 'No role of this server has that number.', HINT = 'SELECT rolname FROM pg_roles; lists the roles.';
  END IF;
  IF NOT pg_catalog.has_schema_privilege('mig', 'USAGE WITH GRANT OPTION') THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'must be the owner of extension pg_mig to allow another role',
      DETAIL = pg_catalog.format('Role %s has no grant option on schema mig.', current_user),
      HINT = pg_catalog.format('Ask %I: SELECT @extschema@.mig_allow(%L);',
        (SELECT pg_catalog.pg_get_userbyid(e.extowner) FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_mig'), role_name);
  END IF;
  EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA mig TO %s', role_name);
  -- To call functions, and nothing else. A trigger function is put onto a table by native code alone.
  FOR f IN
    SELECT pg_catalog.format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure)
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
      AND d.refclassid = 'pg_extension'::regclass
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig'
    WHERE p.prorettype <> 'trigger'::regtype
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO %s', f, role_name);
  END LOOP;
END
$$;
