-- pg_mig 0.5.0 to 0.6.0: constraints and indexes as jobs, mig_lint, who waits for whom. A migration may be under way.
CREATE TABLE mig.change (
  id bigint PRIMARY KEY DEFAULT pg_catalog.nextval('mig.job_id_seq'),
  relation regclass NOT NULL,
  role regrole NOT NULL,
  change jsonb NOT NULL,
  search_path text NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'failing', 'cancelling', 'done', 'failed', 'cancelled')),
  looked boolean NOT NULL DEFAULT false,
  step text,
  pid int,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz,
  ended_at timestamptz,
  waiting_for text,
  error text
);
CREATE UNIQUE INDEX change_one_open ON mig.change (relation, (change->>'kind'), (coalesce(change->>'name', change->>'column'))) WHERE ended_at IS NULL;
COMMENT ON TABLE mig.change IS 'Constraints and indexes that are made by a worker, past and present: see mig.jobs.';
COMMENT ON COLUMN mig.change.state IS 'failing and cancelling: what stands half-made is being taken back.';
COMMENT ON COLUMN mig.change.looked IS 'Rows that break the constraint have been looked for: none, when it was.';
COMMENT ON COLUMN mig.change.search_path IS 'Of whoever asked: names in his text are looked for there.';

-- The worker of such a job holds an advisory lock (class "mig" + 2); it goes with its process.
CREATE VIEW mig.jobs AS
SELECT j.id, j.relation, j.change->>'kind' AS kind, coalesce(j.change->>'name', j.change->>'column') AS name, j.role,
       CASE WHEN j.ended_at IS NULL AND j.pid IS NOT NULL AND l.pid IS NULL THEN 'interrupted' ELSE j.state END AS state,
       l.pid IS NOT NULL AS at_work, l.pid,
       CASE WHEN j.ended_at IS NULL THEN coalesce(b.phase, j.step) END AS step,
       b.blocks_done, b.blocks_total, b.tuples_done, b.tuples_total,
       CASE WHEN j.state = 'done' THEN 100.0
            WHEN b.blocks_total > 0 THEN pg_catalog.round(100.0 * b.blocks_done / b.blocks_total, 1)
            WHEN b.tuples_total > 0 THEN pg_catalog.round(100.0 * b.tuples_done / b.tuples_total, 1) END AS pct,
       coalesce(j.waiting_for, (SELECT 'process ' || pg_catalog.string_agg(p.pid::text, ', ')
         FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) p(pid))) AS waiting_for,
       j.error, j.started_at, j.ended_at,
       CASE WHEN j.ended_at IS NULL AND j.pid IS NOT NULL AND l.pid IS NULL
            THEN pg_catalog.format('SELECT mig_cancel(%s); or call the function that began it again: it goes on', j.id)
            WHEN j.ended_at IS NULL THEN pg_catalog.format('SELECT mig_wait(%s);', j.id) END AS next_step
FROM mig.change j
LEFT JOIN LATERAL (
  SELECT l.pid FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
  WHERE l.locktype = 'advisory' AND l.classid = 7170409 AND l.objid = (j.id & 4294967295)::oid AND l.objsubid = 2 AND l.granted) l
  ON j.ended_at IS NULL
LEFT JOIN pg_catalog.pg_stat_progress_create_index b ON b.pid = l.pid;
COMMENT ON VIEW mig.jobs IS 'Constraints and indexes that workers make or have made, how far they are, and what they wait for.';

-- pg_blocking_pids() knows which locks conflict and who stands before whom in a queue; pg_locks joined to itself does not.
CREATE OR REPLACE VIEW mig.blockers AS
WITH ours AS (
  SELECT w.pid, m.name FROM mig.workers w JOIN mig.migration m ON m.id = w.migration_id
  UNION ALL
  SELECT j.pid, pg_catalog.format('job %s', j.id) FROM mig.jobs j WHERE j.at_work)
SELECT coalesce(ow.name, ob.name) AS migration,
       CASE WHEN ow.pid IS NOT NULL THEN 'we wait for them' WHEN ob.pid IS NOT NULL THEN 'they wait for us' ELSE 'others' END AS direction,
       coalesce(ow.pid, ob.pid) AS our_pid, t.pid AS their_pid, t.usename AS their_role, t.state AS their_state, t.xact_start AS since, t.query,
       w.pid AS waiting_pid, w.usename AS waiting_role, w.query AS waiting_query, l.waitstart AS waiting_since,
       CASE WHEN l.relation IS NOT NULL THEN l.relation::regclass END AS relation, l.mode AS lock_mode,
       p.pid AS blocking_pid, b.usename AS blocking_role, b.state AS blocking_state, b.query AS blocking_query, b.xact_start AS blocking_since
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity w ON w.pid = l.pid AND w.datname = pg_catalog.current_database()
CROSS JOIN LATERAL (SELECT DISTINCT u.pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) u(pid)) p
LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = p.pid
LEFT JOIN ours ow ON ow.pid = w.pid
LEFT JOIN ours ob ON ob.pid = p.pid
-- Whoever is not us; of two others the one who is in the way.
LEFT JOIN pg_catalog.pg_stat_activity t ON t.pid = CASE WHEN ow.pid IS NULL AND ob.pid IS NOT NULL THEN w.pid ELSE p.pid END
WHERE NOT l.granted
UNION ALL
-- The wait for old snapshots (foreign keys) shows the holders of the listed virtual transactions.
SELECT m.name, 'we wait for their snapshot', r.pid, l.pid, a.usename, a.state, a.xact_start, a.query,
       r.pid, NULL, NULL, NULL, NULL, NULL, l.pid, a.usename, a.state, a.query, a.xact_start
FROM mig.migration m
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL pg_catalog.unnest(m.drain) d(vxid)
JOIN pg_catalog.pg_locks l ON l.locktype = 'virtualxid' AND l.virtualxid = d.vxid AND l.granted
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid;
COMMENT ON VIEW mig.blockers IS 'Who waits for whom in this database, since when, and what they run: our jobs, and others.';

CREATE VIEW mig.activity AS
WITH held AS (
  SELECT 'session' AS what, a.pid, a.usename AS role, a.application_name, a.state, a.xact_start AS since,
         CASE WHEN a.state = 'active' THEN a.query_start END AS statement_since, a.backend_xmin AS xmin, a.query
  FROM pg_catalog.pg_stat_activity a
  WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL
  UNION ALL
  SELECT 'prepared transaction', NULL, x.owner, x.gid, 'prepared', x.prepared, NULL, x.transaction, NULL
  FROM pg_catalog.pg_prepared_xacts x WHERE x.database = pg_catalog.current_database()
  UNION ALL
  SELECT 'replication slot', s.active_pid, NULL, s.slot_name, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL, NULL, s.xmin, NULL
  FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL
  UNION ALL
  SELECT 'standby', r.pid, r.usename, r.application_name, r.state, NULL, NULL, r.backend_xmin, NULL
  FROM pg_catalog.pg_stat_replication r WHERE r.backend_xmin IS NOT NULL)
SELECT h.what, h.pid, h.role, h.application_name, h.state, h.since, pg_catalog.clock_timestamp() - h.since AS age,
       h.statement_since, pg_catalog.clock_timestamp() - h.statement_since AS statement_age,
       pg_catalog.age(h.xmin) AS snapshot_age,
       h.xmin IS NOT NULL AND pg_catalog.age(h.xmin) = max(pg_catalog.age(h.xmin)) OVER () AS oldest_snapshot, h.query
FROM held h
ORDER BY h.since NULLS LAST;
COMMENT ON VIEW mig.activity IS 'Open transactions, longest first: since when, what they run, and who holds the oldest snapshot, which keeps dead rows from being cleaned away.';

-- These look for names where their caller would, and read his search_path before they set their own.
CREATE FUNCTION mig_lint(statements text)
  RETURNS TABLE (line int, statement text, severity text, rule text, lock_mode text, blocks text, detail text, safer text)
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_lint_wrapper';

CREATE FUNCTION mig_set_not_null(relation regclass, column_name name) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_set_not_null_wrapper';

CREATE FUNCTION mig_add_check(relation regclass, constraint_name name, expression text) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_add_check_wrapper';

CREATE FUNCTION mig_add_foreign_key(relation regclass, constraint_name name, columns name[], ref_relation regclass, ref_columns name[],
                                    on_delete text DEFAULT 'NO ACTION', on_update text DEFAULT 'NO ACTION') RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_add_foreign_key_wrapper';

CREATE FUNCTION mig_create_index(statement text) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_create_index_wrapper';

CREATE FUNCTION mig_cancel(job bigint) RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_cancel_job_wrapper';

CREATE FUNCTION mig_wait(job bigint, timeout interval DEFAULT '60 s') RETURNS boolean
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_wait_job_wrapper';

CREATE TRIGGER own_role BEFORE INSERT OR UPDATE OF role ON mig.change FOR EACH ROW EXECUTE FUNCTION mig.own_role();

COMMENT ON FUNCTION mig_lint(text) IS 'What each statement of a migration file would lock on this database''s tables, what waits for it, and the safer way. severity: error (it fails, or loses rows), warning, info; every statement has a line. Read by the server''s own parser, nothing is run; what does not parse is a line, too. Names without a schema: on the caller''s search_path. Locks: AccessShare, for the size of each table.';
COMMENT ON FUNCTION mig_set_not_null(regclass, name) IS 'Makes a column NOT NULL in a job of its own: looks for nulls, adds a CHECK that is not valid, proves it beside writers, sets NOT NULL without reading the table, drops the CHECK. Returns the job''s id (mig.jobs), null where it is NOT NULL already; a call during the job returns the same id, after a crash it goes on. Errors: 42501 not the owner, 42703, 0A000 no ordinary table; the job: rows that break it, by key. Locks: AccessExclusive twice for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive while it is proved.';
COMMENT ON FUNCTION mig_add_check(regclass, name, text) IS 'Adds a CHECK in a job of its own: looks for rows that break it, adds it NOT VALID, validates it beside writers; on failure nothing of it is left. Returns the job''s id (mig.jobs), null where it is there and valid. Errors: 22023 bad expression, 42710 there but not valid, 42501, 0A000; the job: rows that break it, by key. Locks: AccessExclusive for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive while it is validated.';
COMMENT ON FUNCTION mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text) IS 'Adds a foreign key in a job of its own: looks for rows without a parent, adds it NOT VALID, validates it beside writers; on failure nothing of it is left. on_delete, on_update: NO ACTION, RESTRICT, CASCADE, SET NULL, SET DEFAULT. Returns the job''s id (mig.jobs), null where it is there and valid. Errors: 42830 no unique index, 42703, 42710, 42501, 0A000; the job: rows without a parent, by key. Locks: ShareRowExclusive on both tables for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive and RowShare while it is validated.';
COMMENT ON FUNCTION mig_create_index(text) IS 'Builds an index beside writers (CREATE INDEX CONCURRENTLY, whether it says so or not) in a job of its own; one that an earlier build left INVALID is dropped and built anew. The index needs a name. Returns the job''s id (mig.jobs, with the progress of the build), null where it is there and valid. Errors: 22023 anything but one CREATE INDEX, 42P01, 42501, 0A000; the job: 23505 doubles. Locks: ShareUpdateExclusive; waits for transactions that are older.';
COMMENT ON FUNCTION mig_cancel(bigint) IS 'Ends a job of mig.jobs on a table of the caller''s, also in the middle of a build; its worker takes back what stands half-made. False if it has ended. Errors: 42704 no such job, 42501.';
COMMENT ON FUNCTION mig_wait(bigint, interval) IS 'Waits for a job of mig.jobs: true when it is done, false at the timeout or when it was cancelled. Errors: 55000 with the reason if it failed, its process died, or this transaction itself has begun it; 42704 no such job. Locks: none.';

-- Default privileges of the role that updates may have granted all of it to anybody.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT n.name, g.grantee
    FROM (
      SELECT c.oid::regclass::text AS name, c.relacl AS acl, c.relowner AS owner FROM pg_catalog.pg_class c
      WHERE c.oid IN ('mig.change'::regclass, 'mig.jobs'::regclass, 'mig.activity'::regclass)
      UNION ALL
      SELECT 'FUNCTION ' || p.oid::regprocedure::text, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), p.proowner FROM pg_catalog.pg_proc p
      WHERE p.oid IN (SELECT f.name::regprocedure FROM pg_catalog.unnest(ARRAY[
        '@extschema@.mig_lint(text)', '@extschema@.mig_set_not_null(regclass, name)', '@extschema@.mig_add_check(regclass, name, text)',
        '@extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text)', '@extschema@.mig_create_index(text)',
        '@extschema@.mig_cancel(bigint)', '@extschema@.mig_wait(bigint, interval)']) f(name))) n
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(n.acl) x WHERE x.grantee <> n.owner) g
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', item.name, item.grantee);
  END LOOP;
END
$$;
GRANT SELECT ON mig.change, mig.jobs TO PUBLIC;
GRANT SELECT ON mig.activity TO pg_monitor;
GRANT EXECUTE ON FUNCTION mig_lint(text), mig_wait(bigint, interval) TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mig.change, mig.jobs, mig.activity TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
  mig_lint(text), mig_set_not_null(regclass, name), mig_add_check(regclass, name, text),
  mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text), mig_create_index(text), mig_cancel(bigint), mig_wait(bigint, interval)
  TO @extowner@ WITH GRANT OPTION;
-- Whoever may run migrations may do this, too.
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
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON mig.change, mig.jobs, mig.activity TO %s', allowed);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION @extschema@.mig_lint(text), @extschema@.mig_set_not_null(regclass, name), @extschema@.mig_add_check(regclass, name, text), @extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text), @extschema@.mig_create_index(text), @extschema@.mig_cancel(bigint), @extschema@.mig_wait(bigint, interval) TO %s', allowed);
  END LOOP;
END
$$;
