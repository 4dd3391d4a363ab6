-- pg_mig 0.5.0 to 0.6.0: columns changed in place, constraints and indexes as jobs, mig_lint, who waits for whom. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

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
COMMENT ON COLUMN mig.change.search_path IS 'The caller''s: names in the text of the change are looked for there.';

CREATE TABLE mig.new_column (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration int NOT NULL REFERENCES mig.migration ON DELETE CASCADE,
  leader int NOT NULL,
  relation regclass NOT NULL,
  name name NOT NULL,
  type text NOT NULL,
  up text NOT NULL,
  down text,
  column_default text,
  not_null boolean NOT NULL DEFAULT false,
  replaces name,
  mutable boolean NOT NULL DEFAULT false,
  seal text,
  bound_blocks bigint,
  next_block bigint NOT NULL DEFAULT 0,
  filenode oid,
  batch_blocks bigint,
  batch_rows int,
  batch_ms int,
  rows_done bigint NOT NULL DEFAULT 0,
  rows_total bigint,
  started_at timestamptz,
  filled boolean NOT NULL DEFAULT false,
  busy bigint[] NOT NULL DEFAULT '{}',
  late jsonb,
  archived jsonb,
  UNIQUE (relation, name)
);
CREATE INDEX new_column_migration_idx ON mig.new_column (migration);
COMMENT ON TABLE mig.new_column IS 'Columns that mig_add_column adds, and the checkpoint of their backfill.';
COMMENT ON COLUMN mig.new_column.leader IS 'The first of the columns that replace the same old one; the checkpoint is its.';
COMMENT ON COLUMN mig.new_column.mutable IS 'The value may depend on settings of the session or on the time of day.';
COMMENT ON COLUMN mig.new_column.seal IS 'Server, database and catalog row of our trigger when it went in: to change it leaves another row.';
COMMENT ON COLUMN mig.new_column.busy IS 'Blocks with rows that somebody wrote when the batch came by: looked at again.';
COMMENT ON COLUMN mig.new_column.late IS 'Indexes, keys and checks that it gets of the old one.';
COMMENT ON COLUMN mig.new_column.archived IS 'Names before the archive.';
SELECT pg_catalog.pg_extension_config_dump('mig.new_column', '');
SELECT pg_catalog.pg_extension_config_dump('mig.new_column_id_seq', '');

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

CREATE VIEW mig.columns AS
SELECT m.name AS migration, m.phase, c.relation, c.name AS column_name, c.type, c.replaces, c.up, c.down, c.column_default, c.not_null,
       CASE WHEN m.phase <> 'defined' THEN 'mig.columns_' || c.leader END AS view, l.filled, l.next_block, l.bound_blocks
FROM mig.new_column c
JOIN mig.new_column l ON l.id = c.leader
JOIN mig.migration m ON m.id = c.migration;
COMMENT ON VIEW mig.columns IS 'Every column that mig_add_column adds: what it replaces, how, and how far it is.';

CREATE OR REPLACE VIEW mig.drift AS
SELECT p.migration_id, p.mapping, p.source, d.kind, d.what
FROM mig.standing p
LEFT JOIN pg_catalog.pg_class cs ON cs.oid = p.source
LEFT JOIN pg_catalog.pg_class ct ON ct.oid = p.target
CROSS JOIN LATERAL (
  SELECT 'gone', pg_catalog.format('the old table of %I.%I is gone', p.target_schema, p.target_name) WHERE cs.oid IS NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('table %I.%I, the target of %s, is gone', p.target_schema, p.target_name, p.source)
  WHERE p.target IS NOT NULL AND ct.oid IS NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('view mig.m%s_%s, which says what a row of %s is, is gone', p.mapping, v.way, v.relation)
  FROM (VALUES ('forward', p.created, p.target), ('reverse', p.goes_back, p.source)) v(way, wanted, relation)
  LEFT JOIN pg_catalog.pg_class cv ON cv.relnamespace = 'mig'::regnamespace AND cv.relname = 'm' || p.mapping || '_' || v.way
  WHERE v.wanted AND cv.oid IS NULL AND cs.oid IS NOT NULL AND ct.oid IS NOT NULL
  UNION ALL
  SELECT 'shape', pg_catalog.format('columns or key of %s changed since mig_create', w.relation)
  FROM (VALUES (1, p.source), (2, p.target)) w(n, relation)
  WHERE cs.oid IS NOT NULL AND ct.oid IS NOT NULL
    AND pg_catalog.split_part(p.fingerprint_then, ' ', w.n) <> pg_catalog.split_part(p.fingerprint, ' ', w.n)
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s has the child %s, whose rows fire no trigger of it', p.source, i.inhrelid::regclass)
  FROM pg_catalog.pg_inherits i WHERE i.inhparent = p.source
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s: %s %s', w.relation, w.name, w.state)
  FROM (
    SELECT n.name, CASE WHEN n.name ~ '_reverse_' THEN p.target ELSE p.source END AS relation,
           CASE t.tgenabled WHEN 'D' THEN 'is disabled' WHEN 'O' THEN 'is demoted to ORIGIN'
             WHEN 'R' THEN 'fires for replicas only' WHEN 'A' THEN NULL ELSE 'is missing' END AS state
    FROM pg_catalog.unnest(p.mirrors_then) n(name)
    LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid IN (p.source, p.target) AND t.tgname = n.name) w
  WHERE cs.oid IS NOT NULL AND w.state IS NOT NULL
  UNION ALL
  -- In another server or database it is a restored copy: its triggers are new, and rightly so.
  SELECT 'mirror', pg_catalog.format('mirror of %s was altered since it went in', p.source)
  WHERE p.seal LIKE p.place || ' %' AND p.seal <> p.place || ' ' || p.triggers
    AND p.mirrors = p.mirrors_then AND p.triggers !~ ':[^A]( |$)') d(kind, what)
UNION ALL
SELECT c.migration, 0, c.relation, d.kind, d.what
FROM mig.new_column c
JOIN mig.migration m ON m.id = c.migration AND m.phase <> 'defined'
LEFT JOIN pg_catalog.pg_class cs ON cs.oid = c.relation
LEFT JOIN pg_catalog.pg_class cv ON cv.relnamespace = 'mig'::regnamespace AND cv.relname = 'columns_' || c.id
LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.relation AND t.tgname = '~mig_' || c.id || '_columns'
CROSS JOIN LATERAL (SELECT pg_catalog.format('%s/%s', (SELECT k.system_identifier FROM pg_catalog.pg_control_system() k),
  (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())) AS is) place
CROSS JOIN LATERAL (
  SELECT 'gone', pg_catalog.format('the table of column %I is gone', c.name) WHERE cs.oid IS NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('view mig.columns_%s, which says what column %I of %s is, is gone', c.id, c.name, c.relation)
  WHERE cs.oid IS NOT NULL AND cv.oid IS NULL
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s has the child %s, whose rows fire no trigger of it', c.relation, i.inhrelid::regclass)
  FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.relation
  UNION ALL
  SELECT 'shape', pg_catalog.format('column %I of %s is gone, or has another name', w.name, c.relation)
  FROM mig.new_column x
  CROSS JOIN LATERAL (VALUES (x.name), (CASE WHEN x.id = x.leader THEN x.replaces END)) w(name)
  WHERE x.leader = c.id AND cs.oid IS NOT NULL AND w.name IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.relation AND a.attname = w.name AND NOT a.attisdropped)
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s: ~mig_%s_columns %s', c.relation, c.id, w.state)
  FROM (SELECT CASE t.tgenabled WHEN 'D' THEN 'is disabled' WHEN 'O' THEN 'is demoted to ORIGIN'
          WHEN 'R' THEN 'fires for replicas only' WHEN 'A' THEN NULL ELSE 'is missing' END AS state) w
  WHERE c.seal IS NOT NULL AND cs.oid IS NOT NULL AND w.state IS NOT NULL
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s was altered since it went in', c.relation)
  WHERE c.seal LIKE place.is || ' %' AND t.tgenabled = 'A' AND c.seal <> pg_catalog.format('%s %s:%s', place.is, t.oid, t.xmin)) d(kind, what)
WHERE c.id = c.leader;

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
  FROM pg_catalog.jsonb_array_elements_text(j.details->'tables') WITH ORDINALITY t(mapping, n) WHERE t.mapping::int = p.id) look ON true
UNION ALL
SELECT m.name, c.relation, c.relation, j.id,
       CASE WHEN c.filled AND m.phase <> 'dual_write' THEN 'done' WHEN c.filled THEN 'filled'
            WHEN c.bound_blocks IS NULL THEN 'waiting' ELSE 'filling' END,
       r.pid, j.driver, c.rows_done, greatest(coalesce(c.rows_total, k.reltuples::bigint), c.rows_done),
       CASE WHEN c.filled THEN 100.0 WHEN c.bound_blocks > 0 THEN pg_catalog.round(100.0 * c.next_block / c.bound_blocks, 1) ELSE 0.0 END,
       CASE WHEN NOT c.filled AND s.seconds > 0 THEN pg_catalog.round(c.rows_done / s.seconds) END,
       CASE WHEN NOT c.filled AND c.next_block > 0
            THEN pg_catalog.make_interval(secs => (s.seconds * (c.bound_blocks - c.next_block) / c.next_block)::double precision) END,
       c.batch_rows, c.batch_ms, pg_catalog.cardinality(c.busy)::bigint, j.waiting_for, j.error, j.driver_reason,
       (SELECT count(*)::int FROM mig.workers w WHERE w.migration_id = m.id)
FROM mig.new_column c
JOIN mig.migration m ON m.id = c.migration
LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - c.started_at)::numeric AS seconds) s
WHERE c.id = c.leader;

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
  SELECT count(DISTINCT c.relation) AS tables, coalesce(sum(c.rows_done), 0)::bigint AS rows_done,
         coalesce(sum(greatest(coalesce(c.rows_total, k.reltuples::bigint), c.rows_done)), 0)::bigint AS rows_total,
         coalesce(sum(b.blocks), 0) AS blocks, coalesce(sum(CASE WHEN c.filled THEN b.blocks ELSE c.next_block END), 0) AS blocks_done
  FROM mig.new_column c
  LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation
  CROSS JOIN LATERAL (SELECT greatest(1, coalesce(c.bound_blocks,
    pg_catalog.pg_relation_size(k.oid) / pg_catalog.current_setting('block_size')::bigint, 1)) AS blocks) b
  WHERE c.migration = m.id AND c.id = c.leader) columns
CROSS JOIN LATERAL (
  SELECT count(*) + columns.tables AS tables, coalesce(sum(d.rows), 0)::bigint + columns.rows_done AS rows_done,
         coalesce(sum(greatest(coalesce(p.rows_total, c.reltuples::bigint), d.rows)), 0)::bigint + columns.rows_total AS rows_total,
         pg_catalog.string_agg(CASE WHEN p.layout->'back' = 'null' THEN p.source::text END, ', ' ORDER BY p.ordinal) AS stuck,
         coalesce(sum(b.blocks), 0) + columns.blocks AS blocks,
         coalesce(sum(CASE WHEN p.copied THEN b.blocks ELSE d.blocks END), 0) + columns.blocks_done AS blocks_done
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
-- Other sessions only; of two others the one that blocks.
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
CREATE FUNCTION @extschema@.mig_lint(statements text)
  RETURNS TABLE (line int, statement text, severity text, rule text, lock_mode text, blocks text, detail text, safer text)
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_lint_wrapper';

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

CREATE FUNCTION @extschema@.mig_add_column(migration text, relation regclass, column_name name, type text, up text, down text DEFAULT NULL,
                               column_default text DEFAULT NULL, not_null boolean DEFAULT false, replaces name DEFAULT NULL) RETURNS void
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_add_column_wrapper';

CREATE FUNCTION mig.keep_columns() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mig_keep_columns';

CREATE TRIGGER own_role BEFORE INSERT OR UPDATE OF role ON mig.change FOR EACH ROW EXECUTE FUNCTION mig.own_role();

COMMENT ON FUNCTION @extschema@.mig_lint(text) IS 'What each statement of a migration file would lock on this database''s tables, what waits for it, and the safer way. severity: error (it fails, or loses rows), warning, info; every statement has a line. Read by the server''s own parser, nothing is run; what does not parse is a line, too. Names without a schema: on the caller''s search_path. Locks: AccessShare, for the size of each table.';
COMMENT ON FUNCTION @extschema@.mig_add_column(text, regclass, name, text, text, text, text, boolean, name) IS 'Adds a column to a migration in phase defined: it takes the place of another one (replaces, with the way back in down), or is computed from others. type: of the new column; up: its value, an expression over the row; down: what the replaced column becomes, an expression over the row with the new column; column_default: set at mig_stop; not_null: set at mig_switch without reading the table. Several columns that replace one give the same down. A migration changes columns or moves tables, not both. Errors: 42701 name taken, 42703 no such column, 22023 bad expression, type or way back, 42501 not the owner, 0A000 partitioned, inherited, generated, 55000 not defined any more. Locks: none.';
COMMENT ON FUNCTION mig.keep_columns() IS 'Trigger of mig_dual_write for columns: makes old and new ones of the row that is written agree, as the owner of the expressions. Errors: 23000 both are written and contradict each other, 55000 a computed or a replaced column is written.';
COMMENT ON FUNCTION @extschema@.mig_set_not_null(regclass, name) IS 'Makes a column NOT NULL in a job of its own: looks for nulls, adds a CHECK that is not valid, proves it beside writers, sets NOT NULL without reading the table, drops the CHECK. Returns the job''s id (mig.jobs), null where it is NOT NULL already; a call during the job returns the same id, after a crash it goes on. Errors: 42501 not the owner, 42703, 0A000 no ordinary table; the job: rows that break it, by key. Locks: AccessExclusive twice for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive while it is proved.';
COMMENT ON FUNCTION @extschema@.mig_add_check(regclass, name, text) IS 'Adds a CHECK in a job of its own: looks for rows that break it, adds it NOT VALID, validates it beside writers; on failure nothing of it is left. Returns the job''s id (mig.jobs), null where it is there and valid. Errors: 22023 bad expression, 42710 there but not valid, 42501, 0A000; the job: rows that break it, by key. Locks: AccessExclusive for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive while it is validated.';
COMMENT ON FUNCTION @extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text) IS 'Adds a foreign key in a job of its own: looks for rows without a parent, adds it NOT VALID, validates it beside writers; on failure nothing of it is left. on_delete, on_update: NO ACTION, RESTRICT, CASCADE, SET NULL, SET DEFAULT. Returns the job''s id (mig.jobs), null where it is there and valid. Errors: 42830 no unique index, 42703, 42710, 42501, 0A000; the job: rows without a parent, by key. Locks: ShareRowExclusive on both tables for an instant, had within mig.lock_timeout_ms a try; ShareUpdateExclusive and RowShare while it is validated.';
COMMENT ON FUNCTION @extschema@.mig_create_index(text) IS 'Builds an index beside writers (CREATE INDEX CONCURRENTLY, whether it says so or not) in a job of its own; one that an earlier build left INVALID is dropped and built anew. The index needs a name. Returns the job''s id (mig.jobs, with the progress of the build), null where it is there and valid. Errors: 22023 anything but one CREATE INDEX, 42P01, 42501, 0A000; the job: 23505 doubles. Locks: ShareUpdateExclusive; waits for transactions that are older.';
COMMENT ON FUNCTION @extschema@.mig_cancel(bigint) IS 'Ends a job of mig.jobs on a table of the caller''s, also in the middle of a build; its worker takes back what stands half-made. False if it has ended. Errors: 42704 no such job, 42501.';
COMMENT ON FUNCTION @extschema@.mig_wait(bigint, interval) IS 'Waits for a job of mig.jobs: true when it is done, false at the timeout or when it was cancelled. Errors: 55000 with the reason if it failed, its process died, or this transaction itself has begun it; 42704 no such job. Locks: none.';

-- Default privileges of the role that updates may have granted all of it to anybody.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT n.name, g.grantee
    FROM (
      SELECT c.oid::regclass::text AS name, c.relacl AS acl, c.relowner AS owner FROM pg_catalog.pg_class c
      WHERE c.oid IN ('mig.change'::regclass, 'mig.jobs'::regclass, 'mig.activity'::regclass, 'mig.new_column'::regclass, 'mig.columns'::regclass, 'mig.new_column_id_seq'::regclass)
      UNION ALL
      SELECT 'FUNCTION ' || p.oid::regprocedure::text, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), p.proowner FROM pg_catalog.pg_proc p
      WHERE p.oid IN (SELECT f.name::regprocedure FROM pg_catalog.unnest(ARRAY[
        '@extschema@.mig_lint(text)', '@extschema@.mig_set_not_null(regclass, name)', '@extschema@.mig_add_check(regclass, name, text)',
        '@extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text)', '@extschema@.mig_create_index(text)',
        '@extschema@.mig_cancel(bigint)', '@extschema@.mig_wait(bigint, interval)',
        '@extschema@.mig_add_column(text, regclass, name, text, text, text, text, boolean, name)', 'mig.keep_columns()']) f(name))) n
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
      FROM pg_catalog.aclexplode(n.acl) x WHERE x.grantee <> n.owner) g
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', item.name, item.grantee);
  END LOOP;
END
$$;
GRANT SELECT ON mig.change, mig.jobs, mig.new_column, mig.columns TO PUBLIC;
GRANT SELECT ON SEQUENCE mig.new_column_id_seq TO PUBLIC;
GRANT UPDATE ON SEQUENCE mig.new_column_id_seq TO @extowner@;
GRANT SELECT ON mig.activity TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.mig_lint(text), @extschema@.mig_wait(bigint, interval) TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mig.change, mig.jobs, mig.activity, mig.new_column, mig.columns TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
  @extschema@.mig_lint(text), @extschema@.mig_set_not_null(regclass, name), @extschema@.mig_add_check(regclass, name, text),
  @extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text), @extschema@.mig_create_index(text), @extschema@.mig_cancel(bigint), @extschema@.mig_wait(bigint, interval),
  @extschema@.mig_add_column(text, regclass, name, text, text, text, text, boolean, name), mig.keep_columns()
  TO @extowner@ WITH GRANT OPTION;
-- Roles that may run migrations may do this, too.
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
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON mig.change, mig.jobs, mig.activity, mig.new_column, mig.columns TO %s', allowed);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION @extschema@.mig_lint(text), @extschema@.mig_set_not_null(regclass, name), @extschema@.mig_add_check(regclass, name, text), @extschema@.mig_add_foreign_key(regclass, name, name[], regclass, name[], text, text), @extschema@.mig_create_index(text), @extschema@.mig_cancel(bigint), @extschema@.mig_wait(bigint, interval), @extschema@.mig_add_column(text, regclass, name, text, text, text, text, boolean, name), mig.keep_columns() TO %s', allowed);
  END LOOP;
END
$$;
