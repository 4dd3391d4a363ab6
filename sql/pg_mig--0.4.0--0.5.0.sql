-- pg_mig 0.4.0 to 0.5.0: several workers for one table, metrics, anchors. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION @extschema@.mig_configure(text, jsonb) IS 'Changes options; a running job reads them before its next batch, null resets one. batch_rows (rows, start 1000), batch_target_ms (100), delay_ms (0), max_replication_lag (a duration, "10 s"), max_wal_rate (a size for each second, "64 MB"), throttle_query (a query that returns true to wait), lock_timeout_ms (500), defer_indexes (true), max_workers (1, processes that copy one table at a time), archive_after_days (30), drop_after_days (90). Errors: 22023 with the nearest name. Returns the merged options.';

CREATE TABLE mig.share (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping int NOT NULL REFERENCES mig.mapping ON DELETE CASCADE,
  start_block bigint NOT NULL,
  next_block bigint NOT NULL,
  end_block bigint NOT NULL,
  rows_done bigint NOT NULL DEFAULT 0,
  batch_rows int,
  batch_ms int
);
CREATE INDEX share_mapping_idx ON mig.share (mapping);
COMMENT ON TABLE mig.share IS 'Blocks of a table that is copied by several workers: each takes the next slice of a share that nobody has at this moment.';
COMMENT ON COLUMN mig.share.next_block IS 'The checkpoint: blocks of this share below it are copied or listed as leftovers.';

CREATE OR REPLACE VIEW mig.standing AS
SELECT p.migration AS migration_id, p.id AS mapping, p.source, p.target, p.target_schema, p.target_name, p.layout IS NOT NULL AS created,
       p.layout->'back' <> 'null' AS goes_back,
       p.fingerprint AS fingerprint_then, f.fingerprint, p.seal,
       pg_catalog.format('%s/%s', (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c),
         (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS place,
       p.mirrors AS mirrors_then, t.triggers, t.mirrors
FROM mig.mapping p
CROSS JOIN LATERAL (
  SELECT pg_catalog.string_agg(pg_catalog.format('%s:%s:%s', t.oid, t.xmin, t.tgenabled), ' ' ORDER BY t.tgname) AS triggers,
         pg_catalog.array_agg(t.tgname ORDER BY t.tgname) AS mirrors
  FROM pg_catalog.pg_trigger t WHERE t.tgrelid IN (p.source, p.target) AND pg_catalog.starts_with(t.tgname::text, '!mig_' || p.id || '_')) t
CROSS JOIN LATERAL (
  SELECT pg_catalog.string_agg(side.digest, ' ' ORDER BY side.n) AS fingerprint
  FROM (
    SELECT r.n, pg_catalog.md5(pg_catalog.string_agg(x.part, ';' ORDER BY x.part)) AS digest
    FROM (VALUES (1, p.source), (2, p.target)) r(n, relation)
    CROSS JOIN LATERAL (
      SELECT pg_catalog.format('c %s %s %s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated) AS part
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.relation AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
      SELECT pg_catalog.format('k %s', i.indkey) FROM pg_catalog.pg_index i WHERE i.indrelid = r.relation AND i.indisprimary) x
    GROUP BY r.n) side) f;
COMMENT ON VIEW mig.standing IS 'What tables and mirrors are now, to be compared with what mig.mapping keeps.';

CREATE VIEW mig.workers AS
SELECT m.id AS migration_id, l.pid, l.classid = 7170408 AS helps
FROM mig.migration m
JOIN pg_catalog.pg_locks l ON l.locktype = 'advisory' AND l.objid = m.id::oid AND l.objsubid = 2 AND l.granted
  AND (l.classid = 7170407 OR l.classid = 7170408 AND l.mode = 'ShareLock')
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database();
COMMENT ON VIEW mig.workers IS 'The processes that are at each migration''s job now: the one that runs it, and those that help.';

CREATE VIEW mig.shares AS
SELECT s.mapping, sum(s.next_block - s.start_block)::bigint AS blocks_done, sum(s.rows_done)::bigint AS rows_done,
       max(s.batch_rows) AS batch_rows, max(s.batch_ms) AS batch_ms
FROM mig.share s GROUP BY s.mapping;
COMMENT ON VIEW mig.shares IS 'What several workers have copied of a table, beside what its mapping counts.';

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
       d.rows AS tuples_done,
       greatest(coalesce(p.rows_total, c.reltuples::bigint), d.rows) AS tuples_total,
       CASE WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place = look.done
            THEN coalesce((SELECT pg_catalog.substring(a.query, '([0-9]+) %$')::numeric FROM pg_catalog.pg_stat_activity a WHERE a.pid = r.pid), 0.0)
            WHEN p.copied THEN 100.0
            WHEN p.bound_blocks > 0 THEN pg_catalog.round(100.0 * d.blocks / p.bound_blocks, 1)
            ELSE 0.0 END AS pct,
       CASE WHEN NOT p.copied AND s.seconds > 0 THEN pg_catalog.round(d.rows / s.seconds) END AS tuples_per_s,
       CASE WHEN NOT p.copied AND d.blocks > 0
            THEN pg_catalog.make_interval(secs => (s.seconds * (p.bound_blocks - d.blocks) / d.blocks)::double precision) END AS eta,
       coalesce(sh.batch_rows, p.batch_rows) AS batch_rows, coalesce(sh.batch_ms, p.batch_ms) AS batch_ms,
       lo.n AS leftovers, j.waiting_for, j.error, j.driver_reason,
       (SELECT count(*)::int FROM mig.workers w WHERE w.migration_id = m.id) AS workers
FROM mig.mapping p
JOIN mig.migration m ON m.id = p.migration
LEFT JOIN mig.shares sh ON sh.mapping = p.id
CROSS JOIN LATERAL (SELECT p.next_block + coalesce(sh.blocks_done, 0) AS blocks, p.rows_done + coalesce(sh.rows_done, 0) AS rows) d
LEFT JOIN pg_catalog.pg_class c ON c.oid = p.source
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - p.copy_started_at)::numeric AS seconds) s
CROSS JOIN LATERAL (SELECT count(*) AS n FROM mig.leftover l WHERE l.mapping = p.id) lo
-- Which of a check's tables this is; how far it is in it, its process tells in pg_stat_activity.
LEFT JOIN LATERAL (
  SELECT t.n - 1 AS place, (j.details->>'done')::int AS done
  FROM pg_catalog.jsonb_array_elements_text(j.details->'tables') WITH ORDINALITY t(mapping, n) WHERE t.mapping::int = p.id) look ON true;
COMMENT ON VIEW mig.progress IS 'How far each table''s backfill is; columns as in pg_stat_progress_*.';

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
  SELECT count(*) AS tables, coalesce(sum(d.rows), 0)::bigint AS rows_done,
         coalesce(sum(greatest(coalesce(p.rows_total, c.reltuples::bigint), d.rows)), 0)::bigint AS rows_total,
         pg_catalog.string_agg(CASE WHEN p.layout->'back' = 'null' THEN p.source::text END, ', ' ORDER BY p.ordinal) AS stuck,
         sum(b.blocks) AS blocks, sum(CASE WHEN p.copied THEN b.blocks ELSE d.blocks END) AS blocks_done
  FROM mig.mapping p
  LEFT JOIN mig.shares sh ON sh.mapping = p.id
  CROSS JOIN LATERAL (SELECT p.next_block + coalesce(sh.blocks_done, 0) AS blocks, p.rows_done + coalesce(sh.rows_done, 0) AS rows) d
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
COMMENT ON VIEW mig.status IS 'One line for each migration: where it stands, what is wrong, and the SQL to type next.';

CREATE OR REPLACE VIEW mig.blockers AS
SELECT m.name AS migration, 'we wait for them' AS direction, w.pid AS our_pid, b.pid AS their_pid,
       a.usename AS their_role, a.state AS their_state, a.xact_start AS since, a.query
FROM mig.workers r
JOIN mig.migration m ON m.id = r.migration_id
JOIN pg_catalog.pg_stat_activity w ON w.pid = r.pid
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(r.pid)) b(pid)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
UNION ALL
SELECT m.name, 'they wait for us', r.pid, a.pid, a.usename, a.state, a.xact_start, a.query
FROM mig.workers r
JOIN mig.migration m ON m.id = r.migration_id
JOIN pg_catalog.pg_stat_activity a ON r.pid = ANY (pg_catalog.pg_blocking_pids(a.pid))
UNION ALL
-- The wait for old snapshots (foreign keys) shows the holders of the listed virtual transactions.
SELECT m.name, 'we wait for their snapshot', r.pid, l.pid, a.usename, a.state, a.xact_start, a.query
FROM mig.migration m
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL pg_catalog.unnest(m.drain) d(vxid)
JOIN pg_catalog.pg_locks l ON l.locktype = 'virtualxid' AND l.virtualxid = d.vxid AND l.granted
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid;
COMMENT ON VIEW mig.blockers IS 'Who our jobs wait for, and who waits for our jobs.';

CREATE VIEW mig.metrics AS
SELECT 'phase' AS metric, m.name AS migration, NULL::regclass AS relation,
       (pg_catalog.array_position('{defined,created,dual_write,backfilled,switched,stopped,archived}', m.phase) - 1)::numeric AS value
FROM mig.migration m
UNION ALL
SELECT x.metric, s.migration, NULL, x.value
FROM mig.status s
CROSS JOIN LATERAL (VALUES
  ('failed', CASE WHEN s.state = 'failed' THEN 1 ELSE 0 END::numeric),
  ('tables', s.tables), ('rows_done', s.rows_done), ('rows_total', s.rows_total), ('pct', s.pct)) x(metric, value)
UNION ALL
SELECT x.metric, m.name, NULL, x.value
FROM mig.migration m
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN LATERAL (SELECT * FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1) c ON true
CROSS JOIN LATERAL (VALUES
  ('workers', (SELECT count(*) FROM mig.workers w WHERE w.migration_id = m.id)::numeric),
  ('job_waits', CASE WHEN j.state = 'running' AND j.waiting_for IS NOT NULL THEN 1 ELSE 0 END),
  ('heartbeat_age_seconds', CASE WHEN j.state = 'running' THEN extract(epoch FROM pg_catalog.clock_timestamp() - j.heartbeat_at) END),
  ('check_differences', c.differences),
  ('check_age_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - c.finished_at))) x(metric, value)
UNION ALL
SELECT x.metric, m.name, p.source, x.value
FROM mig.mapping p
JOIN mig.migration m ON m.id = p.migration
LEFT JOIN mig.shares sh ON sh.mapping = p.id
CROSS JOIN LATERAL (VALUES
  ('rows_copied', (p.rows_done + coalesce(sh.rows_done, 0))::numeric),
  ('batch_rows', coalesce(sh.batch_rows, p.batch_rows)), ('batch_ms', coalesce(sh.batch_ms, p.batch_ms)),
  ('leftovers', (SELECT count(*) FROM mig.leftover l WHERE l.mapping = p.id)),
  ('errors', (SELECT count(*) FROM mig.row_error e WHERE e.mapping = p.id))) x(metric, value);
COMMENT ON VIEW mig.metrics IS 'What a monitoring system stores: metric, migration, table (null for the migration as a whole), value.';

-- Default privileges of the role that updates may have granted it to anybody.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT c.oid::regclass::text AS name, g.grantee
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee <> c.relowner) g
    WHERE c.oid IN ('mig.share'::regclass, 'mig.share_id_seq'::regclass, 'mig.workers'::regclass, 'mig.shares'::regclass, 'mig.metrics'::regclass)
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', item.name, item.grantee);
  END LOOP;
END
$$;
GRANT SELECT ON mig.share, mig.workers, mig.shares, mig.metrics TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mig.share, mig.workers, mig.shares, mig.metrics TO @extowner@ WITH GRANT OPTION;
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
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON mig.share, mig.workers, mig.shares, mig.metrics TO %s', allowed);
  END LOOP;
END
$$;
