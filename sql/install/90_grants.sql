-- Default privileges of the installing role may have granted anything to anybody: take all of it back first.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind, p.oid::regprocedure::text AS name, g.grantee
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x WHERE x.grantee <> p.proowner) g
    WHERE n.nspname = 'mig'
       OR (p.proname ~ '^mig_' AND n.oid = (SELECT e.extnamespace FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_mig'))
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', item.kind, item.name, item.grantee);
  END LOOP;
  FOR item IN
    SELECT c.oid::regclass::text AS name, g.grantee
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee <> c.relowner) g
    WHERE c.relnamespace = 'mig'::regnamespace AND c.relkind IN ('r', 'v', 'S')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', item.name, item.grantee);
  END LOOP;
END
$$;

-- Anybody may look at what is no row of a user: the mirrors of every role read mig.mapping.
GRANT USAGE ON SCHEMA mig TO PUBLIC;
GRANT SELECT ON mig.migration, mig.mapping, mig.share, mig.job, mig.check_result, mig.step_log, mig.updated TO PUBLIC;
-- pg_dump, by whoever may dump the database, reads what pg_extension_config_dump() names, sequences too.
GRANT SELECT ON SEQUENCE mig.migration_id_seq, mig.mapping_id_seq, mig.new_column_id_seq, mig.step_log_id_seq TO PUBLIC;
-- And pg_restore, by the role that owns the restored extension, sets them.
GRANT UPDATE ON SEQUENCE mig.migration_id_seq, mig.mapping_id_seq, mig.new_column_id_seq, mig.step_log_id_seq TO @extowner@;
GRANT SELECT ON mig.tables, mig.runners, mig.checks, mig.history, mig.progress, mig.status, mig.standing, mig.drift, mig.workers, mig.shares, mig.metrics TO PUBLIC;
GRANT SELECT ON mig.errors, mig.blockers TO pg_monitor;
GRANT EXECUTE ON FUNCTION mig_status(text), mig_reads(text), mig_map(text, regclass, text), mig_version(), mig.only(text), mig_config(text), mig_wait(text, interval) TO PUBLIC;

GRANT SELECT ON mig.change, mig.jobs, mig.new_column, mig.columns TO PUBLIC;
GRANT SELECT ON mig.activity TO pg_monitor;
GRANT EXECUTE ON FUNCTION mig_lint(text), mig_wait(bigint, interval) TO PUBLIC;

-- The role that installs runs migrations and may let others do so.
GRANT USAGE, CREATE ON SCHEMA mig TO @extowner@ WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mig TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
  mig.mirror(), mig.guard(), mig_switch(text, boolean), mig_stop(text), mig_archive(text, text, boolean, boolean), mig_reads(text), mig_map(text, regclass, text),
  mig_define(text, regclass, text, name, jsonb), mig_define(jsonb), mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text),
  mig_configure(text, jsonb), mig_preflight(text), mig_plan(text), mig_ddl(text, text), mig_create(text), mig_dual_write(text),
  mig_backfill(text, text), mig_step(text, int), mig_pause(text), mig_resume(text), mig_cancel(text),
  mig_check(text, text, regclass, int), mig_check_start(text, text, regclass, int, text), mig_diff(text, regclass, int),
  mig_repair(text, regclass, boolean), mig_checklist(text), mig_detach(text), mig_assert(text, text), mig_rollback(text, text), mig_drop(text, boolean, boolean),
  mig_status(text), mig_version(), mig.only(text), mig.step_of(bigint, int), mig_config(text), mig_wait(text, interval), mig_allow(regrole)
  TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE mig_run(text, interval), mig.drive(text, interval, bigint) TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
  mig_lint(text), mig_set_not_null(regclass, name), mig_add_check(regclass, name, text),
  mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text), mig_create_index(text), mig_cancel(bigint), mig_wait(bigint, interval),
  mig_add_column(text, regclass, name, text, text, text, text, boolean, name), mig.keep_columns()
  TO @extowner@ WITH GRANT OPTION;
