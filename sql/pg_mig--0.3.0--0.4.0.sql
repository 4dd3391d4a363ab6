-- pg_mig 0.3.0 to 0.4.0: rows written below SQL, throttles. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER FUNCTION mig.mirror() RESET search_path;

COMMENT ON FUNCTION @extschema@.mig_configure(text, jsonb) IS 'Changes options; a running job reads them before its next batch, null resets one. batch_rows (rows, start 1000), batch_target_ms (100), delay_ms (0), max_replication_lag (a duration, "10 s"), max_wal_rate (a size for each second, "64 MB"), throttle_query (a query that returns true to wait), lock_timeout_ms (500), defer_indexes (true), max_workers (1), archive_after_days (30), drop_after_days (90). Errors: 22023 with the nearest name. Returns the merged options.';

CREATE TABLE mig.updated (
  version text PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE mig.updated IS 'When ALTER EXTENSION UPDATE brought which version: a session keeps the library that it has loaded until it ends.';
-- Default privileges of the role that updates may have granted it to anybody.
DO $$
DECLARE
  grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) x
    WHERE c.oid = 'mig.updated'::regclass AND x.grantee <> c.relowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON mig.updated FROM %s', grantee);
  END LOOP;
END
$$;
GRANT SELECT ON mig.updated TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mig.updated TO @extowner@ WITH GRANT OPTION;
-- Roles that may run migrations get the rights that they have on the other tables.
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
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON mig.updated TO %s', allowed);
  END LOOP;
END
$$;

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
            -- A pause that was asked for is no problem.
            WHEN j.state = 'running' AND j.waiting_for NOT LIKE 'delay_ms:%' THEN 'waiting for ' || j.waiting_for || coalesce(
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

-- From here on a batch may leave rows unlocked, as soon as no session is older than this.
INSERT INTO mig.updated (version) VALUES ('0.4.0');
