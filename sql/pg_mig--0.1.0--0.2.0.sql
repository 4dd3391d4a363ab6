-- pg_mig 0.1.0 to 0.2.0: pg_cron as a driver, jobs that go on after a restart. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE mig.job DROP CONSTRAINT job_driver_check;
ALTER TABLE mig.job ADD CONSTRAINT job_driver_check CHECK (driver IN ('worker', 'pg_cron', 'manual'));
ALTER TABLE mig.job ADD COLUMN driver_reason text;
ALTER TABLE mig.job ADD COLUMN driven_since timestamptz NOT NULL DEFAULT clock_timestamp();
COMMENT ON COLUMN mig.job.driver_reason IS 'Why no driver that comes before this one in the order of choice runs it.';

CREATE OR REPLACE VIEW mig.progress AS
SELECT m.name AS migration, p.source AS relation, p.target, j.id AS job,
       CASE WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place < look.done THEN 'checked'
            WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place = look.done THEN 'checking'
            WHEN j.task = 'repair' AND j.state IN ('running', 'paused') AND lo.n > 0 THEN 'repairing'
            WHEN p.copied AND m.phase <> 'dual_write' THEN 'done'
            WHEN p.copied AND lo.n > 0 THEN 'copying leftovers'
            WHEN p.copied THEN 'copied'
            WHEN p.bound_blocks IS NULL THEN 'waiting'
            WHEN p.pass = 'sweep' THEN 'removing what is gone'
            WHEN p.pass = 'back' THEN 'bringing back'
            ELSE 'copying' END AS phase,
       r.pid, j.driver,
       p.rows_done AS tuples_done,
       greatest(coalesce(p.rows_total, c.reltuples::bigint), p.rows_done) AS tuples_total,
       CASE WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place = look.done
            THEN coalesce((SELECT pg_catalog.substring(a.query, '([0-9]+) %$')::numeric FROM pg_catalog.pg_stat_activity a WHERE a.pid = r.pid), 0.0)
            WHEN p.copied THEN 100.0
            WHEN p.bound_blocks > 0 THEN pg_catalog.round(100.0 * p.next_block / p.bound_blocks, 1)
            ELSE 0.0 END AS pct,
       CASE WHEN NOT p.copied AND s.seconds > 0 THEN pg_catalog.round(p.rows_done / s.seconds) END AS tuples_per_s,
       CASE WHEN NOT p.copied AND p.next_block > 0
            THEN pg_catalog.make_interval(secs => (s.seconds * (p.bound_blocks - p.next_block) / p.next_block)::double precision) END AS eta,
       p.batch_rows, p.batch_ms, lo.n AS leftovers, j.waiting_for, j.error, j.driver_reason
FROM mig.mapping p
JOIN mig.migration m ON m.id = p.migration
LEFT JOIN pg_catalog.pg_class c ON c.oid = p.source
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - p.copy_started_at)::numeric AS seconds) s
CROSS JOIN LATERAL (SELECT count(*) AS n FROM mig.leftover l WHERE l.mapping = p.id) lo
-- Which of a check's tables this is; how far it is in it, its process tells in pg_stat_activity.
LEFT JOIN LATERAL (
  SELECT t.n - 1 AS place, (j.details->>'done')::int AS done
  FROM pg_catalog.jsonb_array_elements_text(j.details->'tables') WITH ORDINALITY t(mapping, n) WHERE t.mapping::int = p.id) look ON true;

CREATE OR REPLACE VIEW mig.status AS
SELECT m.name AS migration, m.phase,
       CASE WHEN dead.is OR lost.is OR drift.what IS NOT NULL THEN 'failed' ELSE m.state END AS state,
       t.tables::int AS tables, t.rows_done, t.rows_total,
       CASE WHEN m.phase IN ('backfilled', 'switched', 'stopped', 'archived') AND m.state <> 'running' THEN 100.0
            WHEN t.blocks > 0 THEN pg_catalog.round(100.0 * t.blocks_done / t.blocks, 1) ELSE 0.0 END AS pct,
       (SELECT pg_catalog.format('%s %s, %s ago', c.mode,
                 CASE WHEN c.ok THEN 'clean' WHEN c.ok IS NULL THEN 'pending' ELSE 'FAILED' END,
                 pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - c.finished_at))
        FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1) AS last_check,
       CASE WHEN dead.is THEN pg_catalog.format('process %s of job %s is gone (last seen %s)', j.pid, j.id, j.heartbeat_at)
            WHEN unstarted.is THEN 'no worker runs the job: it could not start, the server''s log says why'
            WHEN unheard.is THEN 'pg_cron does not run the job: see cron.job_run_details'
            WHEN lost.is THEN 'no job runs here: the one that was at work when this database was dumped did not come along'
            WHEN drift.what IS NOT NULL THEN pg_catalog.concat_ws('; ', m.problem, drift.what)
            WHEN m.problem IS NOT NULL THEN m.problem
            WHEN j.state = 'running' AND j.waiting_for IS NOT NULL THEN 'waiting for ' || j.waiting_for || coalesce(
              (SELECT ', held up by process ' || pg_catalog.string_agg(b.pid::text, ', ') FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(r.pid)) b(pid)), '')
            WHEN j.state = 'running' AND j.driver_reason IS NOT NULL THEN pg_catalog.format('driver %s: %s', j.driver, j.driver_reason)
            WHEN t.stuck IS NOT NULL AND m.phase IN ('created', 'dual_write', 'backfilled')
              THEN pg_catalog.format('no way back for %s: mig_switch will refuse, mig_preflight says why', t.stuck)
       END AS problem,
       CASE WHEN t.tables = 0 THEN pg_catalog.format('SELECT mig_add_table(%L, ''old_table'', ''new_table'');', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'paused' THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'running' AND dead.is THEN pg_catalog.format('SELECT mig_cancel(%L);', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'running' AND (j.driver = 'manual' OR unstarted.is OR unheard.is) THEN pg_catalog.format('CALL mig_run(%L);', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'running' THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN drift.kinds IS NOT NULL AND m.phase = 'switched' THEN pg_catalog.format('SELECT * FROM mig_switch(%L);', m.name)
            WHEN drift.kinds = '{mirror}' AND m.phase = 'stopped' THEN pg_catalog.format('SELECT * FROM mig_stop(%L);', m.name)
            -- What made somebody pull the emergency brake may be there still.
            WHEN drift.kinds = '{mirror}' AND m.problem ~ '^detached by mig_detach' THEN pg_catalog.format('SELECT * FROM mig_rollback(%L);', m.name)
            WHEN drift.kinds = '{mirror}' THEN pg_catalog.format('SELECT * FROM mig_dual_write(%L);', m.name)
            WHEN drift.kinds IS NOT NULL THEN pg_catalog.format('SELECT * FROM mig_rollback(%L, ''defined'');', m.name)
            WHEN j.task = 'repair' AND j.state = 'failed' AND m.phase IN ('backfilled', 'switched') THEN pg_catalog.format('SELECT * FROM mig_repair(%L, dry_run => false);', m.name)
            WHEN m.phase = 'defined' THEN pg_catalog.format('SELECT * FROM mig_create(%L);', m.name)
            WHEN m.phase = 'created' THEN pg_catalog.format('SELECT * FROM mig_dual_write(%L);', m.name)
            WHEN m.phase = 'dual_write' AND m.state = 'paused' AND NOT lost.is THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN m.phase = 'dual_write' AND (j.driver = 'manual' AND j.state = 'running' OR unstarted.is OR unheard.is) THEN pg_catalog.format('CALL mig_run(%L);', m.name)
            WHEN m.phase = 'dual_write' AND m.state = 'running' AND NOT dead.is AND NOT lost.is THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN m.phase = 'dual_write' THEN pg_catalog.format('SELECT mig_backfill(%L);', m.name)
            WHEN m.phase IN ('backfilled', 'switched') AND NOT (SELECT c.ok FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1)
              THEN pg_catalog.format('SELECT * FROM mig_check(%L) WHERE ok IS NOT TRUE;', m.name)
            WHEN m.phase = 'backfilled' THEN pg_catalog.format('SELECT * FROM mig_switch(%L);', m.name)
            WHEN m.phase = 'stopped' AND m.state = 'paused' AND NOT lost.is THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN m.phase = 'stopped' AND m.state = 'running' AND NOT dead.is AND NOT unstarted.is AND NOT lost.is THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN m.phase = 'stopped' AND lost.is THEN pg_catalog.format('SELECT * FROM mig_rollback(%L);', m.name)
            WHEN m.phase = 'stopped' AND j.goal IS NOT NULL AND j.state <> 'done' THEN pg_catalog.format('SELECT * FROM mig_rollback(%L, %L);', m.name, j.goal)
            WHEN m.phase = 'stopped' THEN pg_catalog.format('SELECT * FROM mig_archive(%L);', m.name)
            WHEN m.phase = 'archived' THEN pg_catalog.format('SELECT * FROM mig_drop(%L, archives => true);', m.name)
            WHEN m.phase = 'switched' THEN pg_catalog.format('SELECT * FROM mig_stop(%L);', m.name) END AS next_step
FROM mig.migration m
CROSS JOIN LATERAL (
  SELECT count(*) AS tables, coalesce(sum(p.rows_done), 0)::bigint AS rows_done,
         coalesce(sum(greatest(coalesce(p.rows_total, c.reltuples::bigint), p.rows_done)), 0)::bigint AS rows_total,
         pg_catalog.string_agg(CASE WHEN p.layout->'back' = 'null' THEN p.source::text END, ', ' ORDER BY p.ordinal) AS stuck,
         sum(b.blocks) AS blocks, sum(CASE WHEN p.copied THEN b.blocks ELSE p.next_block END) AS blocks_done
  FROM mig.mapping p
  LEFT JOIN pg_catalog.pg_class c ON c.oid = p.source
  -- Before its turn a table counts with the size it has now; an empty one still counts as a block.
  CROSS JOIN LATERAL (SELECT greatest(1, coalesce(p.bound_blocks,
    pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, 1)) AS blocks) b
  WHERE p.migration = m.id) t
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'worker' AND j.pid IS NOT NULL AND r.pid IS NULL AS is) dead
-- Jobs are not dumped.
CROSS JOIN LATERAL (SELECT m.state IN ('running', 'paused') AND j.id IS NULL AS is) lost
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'worker' AND j.pid IS NULL AND r.pid IS NULL
                      AND j.driven_since < pg_catalog.clock_timestamp() - interval '10 seconds' AS is) unstarted
-- Twice as long as it takes pg_cron to come back.
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'pg_cron' AND r.pid IS NULL
                      AND greatest(j.heartbeat_at, j.driven_since) < pg_catalog.clock_timestamp() - interval '2 minutes' AS is) unheard
CROSS JOIN LATERAL (
  SELECT pg_catalog.string_agg(d.what, '; ') AS what, pg_catalog.array_agg(DISTINCT d.kind) AS kinds
  FROM mig.drift d WHERE d.migration_id = m.id AND m.phase <> 'defined') drift;

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
  IF mine IS NOT NULL AND NOT EXISTS (
    SELECT FROM mig.job j WHERE j.id = mine AND j.state IN ('running', 'paused') AND j.driver = 'pg_cron')
  THEN
    -- A restored dump, or somebody without rights on it ended the job.
    IF pg_catalog.to_regclass('cron.job') IS NOT NULL THEN
      PERFORM cron.unschedule(c.jobid) FROM cron.job c WHERE c.jobname = 'pg_mig ' || mine AND c.username = current_user;
    END IF;
    RETURN;
  END IF;
  LOOP
    IF mine IS NULL THEN
      done := @extschema@.mig_step(migration, 250);
      SELECT j.id INTO mine FROM mig.job j JOIN mig.migration m ON m.id = j.migration
        WHERE m.name = mig.only($1) AND j.state IN ('running', 'paused');
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

CREATE OR REPLACE PROCEDURE @extschema@.mig_run(migration text DEFAULT NULL, max_runtime interval DEFAULT '90 s')
  LANGUAGE plpgsql AS $$
BEGIN
  CALL mig.drive($1, $2);
END
$$;

-- A job runs as its role, by itself after a restart: nobody may put another's name there.
CREATE FUNCTION mig.own_role() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT pg_catalog.pg_has_role(NEW.role, 'USAGE') THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('a job cannot be given to role %s', NEW.role),
      DETAIL = pg_catalog.format('Role %s is no member of it.', current_user);
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER own_role BEFORE INSERT OR UPDATE OF role ON mig.job FOR EACH ROW EXECUTE FUNCTION mig.own_role();

CREATE OR REPLACE FUNCTION @extschema@.mig_allow(role_name regrole) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  f text;
BEGIN
  IF NOT pg_catalog.has_schema_privilege('mig', 'CREATE WITH GRANT OPTION') THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'must be a role that runs migrations to allow another',
      DETAIL = pg_catalog.format('Role %s has no grant option on schema mig.', current_user),
      HINT = 'Ask the owner of the extension: SELECT mig_allow(...);';
  END IF;
  EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA mig TO %s', role_name);
  EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mig TO %s', role_name);
  -- The mirror notes rows as the tables' owner, who may be a third role.
  EXECUTE pg_catalog.format('GRANT SELECT, INSERT ON mig.leftover TO %s WITH GRANT OPTION', role_name);
  FOR f IN
    SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig'
    -- That one is for our own trigger alone.
    WHERE p.prokind = 'f' AND p.proname <> 'own_role'
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s', f, role_name);
  END LOOP;
  EXECUTE pg_catalog.format('GRANT EXECUTE ON PROCEDURE @extschema@.mig_run(text, interval), mig.drive(text, interval, bigint) TO %s', role_name);
END
$$;

COMMENT ON FUNCTION @extschema@.mig_ddl(text, text) IS 'Statements for the migration file of an ORM or for \gexec. phase create: the targets, which mig_create then adopts; backfilled: their foreign keys, as the end of the backfill adds them, where they do not stand already. Executes nothing.';
COMMENT ON FUNCTION @extschema@.mig_backfill(text, text) IS 'Starts or resumes the backfill at its checkpoint; returns the job''s id. driver: worker (a background process launched when the transaction commits), pg_cron (a job of that extension, once a minute), manual (mig_step or mig_run), or auto, the first of them that can be had; mig.progress says which, and why. Another driver than the one at work takes over before the next batch. ROLLBACK starts nothing. Locks while it runs: RowShare on the source, rows FOR SHARE for one batch; brief ShareRowExclusive on targets and referenced tables for foreign keys.';
COMMENT ON FUNCTION mig.step_of(bigint, int) IS 'mig_step for one job, by its id: 0 once it has ended, or a worker runs it.';
COMMENT ON PROCEDURE mig.drive(text, interval, bigint) IS 'What mig_run and the jobs of pg_cron call; with a job''s id only that job is driven, and once it has ended pg_cron''s is taken away.';
COMMENT ON FUNCTION mig.own_role() IS 'Trigger on mig.job: a job runs as a role that the writer of the row is a member of.';

-- Default privileges of the role that updates may have granted anything to anybody.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind, p.oid::regprocedure::text AS name, g.grantee
    FROM pg_catalog.pg_proc p
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x WHERE x.grantee <> p.proowner) g
    WHERE p.pronamespace = 'mig'::regnamespace AND p.proname IN ('step_of', 'drive', 'own_role')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', item.kind, item.name, item.grantee);
  END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION mig.step_of(bigint, int) TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE mig.drive(text, interval, bigint) TO @extowner@ WITH GRANT OPTION;
-- Roles that may run migrations keep that right.
DO $$
DECLARE
  allowed text;
BEGIN
  FOR allowed IN
    SELECT DISTINCT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee))
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) x
    WHERE p.oid = '@extschema@.mig_step(text, int)'::regprocedure AND x.grantee NOT IN (0, p.proowner)
      AND pg_catalog.pg_get_userbyid(x.grantee) <> (SELECT pg_catalog.pg_get_userbyid(e.extowner) FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_mig')
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION mig.step_of(bigint, int) TO %s', allowed);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON PROCEDURE mig.drive(text, interval, bigint) TO %s', allowed);
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT ON mig.leftover TO %s WITH GRANT OPTION', allowed);
  END LOOP;
END
$$;
