-- The state of every migration. CREATE, never CREATE OR REPLACE or IF NOT EXISTS: an object that somebody
-- planted beforehand must make the installation fail (CVE-2022-2625).

-- Whatever the installing role's schemas hold, names here mean PostgreSQL's own (CVE-2020-14350). Each of these files says so anew,
-- and names what is ours with its schema.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA mig;
COMMENT ON SCHEMA mig IS 'State and views of pg_mig. The functions are called mig_*.';

CREATE TABLE mig.migration (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name <> ''),
  owner regrole NOT NULL,
  phase text NOT NULL DEFAULT 'defined' CHECK (phase IN ('defined', 'created', 'dual_write', 'backfilled', 'switched', 'stopped', 'archived')),
  state text NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'running', 'paused', 'failed')),
  problem text,
  scope_table regclass,
  scope_column name,
  scope_value text,
  scope_type text,
  options jsonb NOT NULL DEFAULT '{}',
  format int NOT NULL DEFAULT 1,
  drain text[],
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  search_path text
);
COMMENT ON TABLE mig.migration IS 'One row for each migration.';
COMMENT ON COLUMN mig.migration.drain IS 'Virtual transactions whose snapshots are older than the last batch and that foreign keys wait for.';
COMMENT ON COLUMN mig.migration.search_path IS 'What names without a schema mean in functions of the application; that of the role that defined the migration.';
COMMENT ON COLUMN mig.migration.since IS 'When it came into its phase.';
COMMENT ON COLUMN mig.migration.format IS 'Version of the stored layout, so that a newer library knows what it reads.';

CREATE TABLE mig.mapping (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration int NOT NULL REFERENCES mig.migration ON DELETE CASCADE,
  ordinal int NOT NULL,
  source regclass NOT NULL,
  target_schema name NOT NULL,
  target_name name NOT NULL,
  target regclass,
  adopted boolean NOT NULL DEFAULT false,
  id_mode text NOT NULL DEFAULT 'preserve',
  spec jsonb NOT NULL,
  layout jsonb,
  facts jsonb,
  fingerprint text,
  seal text,
  sealed_at timestamptz,
  mirrors name[],
  bound_blocks bigint,
  next_block bigint NOT NULL DEFAULT 0,
  filenode oid,
  batch_rows int,
  batch_ms int,
  rows_done bigint NOT NULL DEFAULT 0,
  rows_total bigint,
  copy_started_at timestamptz,
  copied boolean NOT NULL DEFAULT false,
  pass text NOT NULL DEFAULT 'forth' CHECK (pass IN ('forth', 'sweep', 'back')),
  archived jsonb,
  settled boolean NOT NULL DEFAULT false,
  author regrole,
  objects jsonb,
  known_schema name,
  known_name name,
  UNIQUE (migration, source)
);
COMMENT ON TABLE mig.mapping IS 'One source table and its target; the checkpoint of its backfill.';
COMMENT ON COLUMN mig.mapping.author IS 'The owner of the table when the expressions were given: they run with no rights that it lacks. Null for what was defined before 0.8.0.';
COMMENT ON COLUMN mig.mapping.known_name IS 'Name of the source when the target was made: another table that has it has replaced the source.';
COMMENT ON COLUMN mig.mapping.facts IS 'Defaults, grants, policies, checks and indexes of both sides when the target was made; checks compare them with what stands.';
COMMENT ON COLUMN mig.mapping.objects IS 'What mig.objects had when the target was made, and in which server and database. Null for what was made before 0.8.0.';
COMMENT ON COLUMN mig.mapping.fingerprint IS 'Columns and keys of source and target when the target was made; mig.standing has what they are now.';
COMMENT ON COLUMN mig.mapping.seal IS 'Server, database and catalog rows of our triggers when they went in: to change one leaves another row.';
COMMENT ON COLUMN mig.mapping.sealed_at IS 'When that was: what was proven before is not proven any more.';
COMMENT ON COLUMN mig.mapping.mirrors IS 'Our triggers on either side, as they should stand.';
COMMENT ON COLUMN mig.mapping.pass IS 'What the batches do: copy forth; on the way back from stopped sweep away what is gone, then bring back.';
COMMENT ON COLUMN mig.mapping.archived IS 'What was renamed and handed over when the source was put away.';
COMMENT ON COLUMN mig.mapping.settled IS 'All old rows have their ids: a mirror that meets a row without one gives it one, and leaves nothing to the backfill.';
COMMENT ON COLUMN mig.mapping.bound_blocks IS 'Heap blocks of the source when its backfill began, fixed after the mirror was committed.';
COMMENT ON COLUMN mig.mapping.next_block IS 'The checkpoint: blocks below it are copied or listed as leftovers.';
COMMENT ON COLUMN mig.mapping.filenode IS 'File of the source at that time; another one means a rewrite, and the copy starts over.';

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

CREATE TABLE mig.job (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration int NOT NULL REFERENCES mig.migration ON DELETE CASCADE,
  driver text NOT NULL CHECK (driver IN ('worker', 'pg_cron', 'manual')),
  role regrole NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'done', 'failed', 'cancelled')),
  pid int,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz,
  ended_at timestamptz,
  waiting_for text,
  error text,
  task text NOT NULL DEFAULT 'backfill' CHECK (task IN ('backfill', 'way_back', 'repair', 'check')),
  goal text,
  details jsonb,
  failed_then bigint,
  driver_reason text,
  driven_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  held boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX job_one_open ON mig.job (migration) WHERE state IN ('running', 'paused');
COMMENT ON TABLE mig.job IS 'Backfills, ways back, repairs and checks, past and present.';
COMMENT ON COLUMN mig.job.held IS 'The runner waits for something else than the pause of delay_ms: helpers leave.';
COMMENT ON COLUMN mig.job.driver_reason IS 'Why no driver that comes before this one in the order of choice runs it.';
COMMENT ON COLUMN mig.job.goal IS 'The phase that a way back from stopped goes to.';
COMMENT ON COLUMN mig.job.details IS 'What a check is about, and what it has found so far.';
COMMENT ON COLUMN mig.job.failed_then IS 'Rows that failed in the last round of a way back: it goes on as long as they become fewer.';

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
  author regrole,
  known_schema name,
  known_name name,
  UNIQUE (relation, name)
);
CREATE INDEX new_column_migration_idx ON mig.new_column (migration);
COMMENT ON TABLE mig.new_column IS 'Columns that mig_add_column adds, and the checkpoint of their backfill.';
COMMENT ON COLUMN mig.new_column.author IS 'The owner of the table when the expressions were given: they run with no rights that it lacks. Null for what was defined before 0.8.0.';
COMMENT ON COLUMN mig.new_column.known_name IS 'Name of the table when the column was made: another table that has it has replaced it.';
COMMENT ON COLUMN mig.new_column.leader IS 'The first of the columns that replace the same old one; the checkpoint is its.';
COMMENT ON COLUMN mig.new_column.mutable IS 'The value may depend on settings of the session or on the time of day.';
COMMENT ON COLUMN mig.new_column.seal IS 'Server, database and catalog row of our trigger when it went in: to change it leaves another row.';
COMMENT ON COLUMN mig.new_column.busy IS 'Blocks with rows that somebody wrote when the batch came by: looked at again.';
COMMENT ON COLUMN mig.new_column.late IS 'Indexes, keys and checks that it gets of the old one.';
COMMENT ON COLUMN mig.new_column.archived IS 'Names before the archive.';

CREATE TABLE mig.leftover (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping int NOT NULL REFERENCES mig.mapping ON DELETE CASCADE,
  key text[] NOT NULL,
  tried_at timestamptz,
  noted_by int NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
  UNIQUE (mapping, key, noted_by)
);
COMMENT ON TABLE mig.leftover IS 'Rows that a batch could not lock at once: copied later, each alone.';
COMMENT ON COLUMN mig.leftover.noted_by IS 'The process that noted it: a batch must not wait for an application that is about to note the same row.';

CREATE TABLE mig.row_error (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping int NOT NULL REFERENCES mig.mapping ON DELETE CASCADE,
  key text[] NOT NULL,
  sqlstate text NOT NULL,
  message text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (mapping, key)
);
COMMENT ON TABLE mig.row_error IS 'Rows that cannot be copied as they are, with the SQLSTATE that says why.';

CREATE TABLE mig.unmirrored (
  mapping int REFERENCES mig.mapping ON DELETE CASCADE,
  new_column int REFERENCES mig.new_column ON DELETE CASCADE,
  way text NOT NULL,
  noted_by int NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
  UNIQUE NULLS NOT DISTINCT (mapping, new_column, way, noted_by)
);
COMMENT ON TABLE mig.unmirrored IS 'Mirrors that let writes pass, because the owner of a table lacked the rights that they write with.';
COMMENT ON COLUMN mig.unmirrored.new_column IS 'The leader, for columns of one table.';
COMMENT ON COLUMN mig.unmirrored.way IS 'forward: the new table lacks them; reverse: the old one does.';
COMMENT ON COLUMN mig.unmirrored.noted_by IS 'The process that noted it: no application waits for another one that is about to note the same mirror.';

CREATE TABLE mig.check_result (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration int NOT NULL REFERENCES mig.migration ON DELETE CASCADE,
  mode text NOT NULL,
  phase text NOT NULL,
  who name NOT NULL DEFAULT session_user,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
  ok boolean,
  tables int NOT NULL,
  compared bigint NOT NULL,
  differences bigint NOT NULL,
  failed jsonb NOT NULL DEFAULT '[]'
);
COMMENT ON TABLE mig.check_result IS 'What each mig_check found.';

CREATE TABLE mig.step_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who name NOT NULL DEFAULT session_user,
  phase text NOT NULL,
  what text NOT NULL,
  owner regrole
);
COMMENT ON TABLE mig.step_log IS 'Who did what when; kept after the migration is dropped.';
COMMENT ON COLUMN mig.step_log.owner IS 'The migration''s, whose members may read the line.';

CREATE TABLE mig.updated (
  version text PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE mig.updated IS 'When ALTER EXTENSION UPDATE brought which version: a session keeps the library that it has loaded until it ends.';

-- A dump carries the definitions and the phase. Leftovers and errors stay out: a restored table has another
-- file, so its copy starts over and finds them again.
SELECT pg_catalog.pg_extension_config_dump('mig.migration', '');
SELECT pg_catalog.pg_extension_config_dump('mig.migration_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('mig.mapping', '');
SELECT pg_catalog.pg_extension_config_dump('mig.mapping_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('mig.new_column', '');
SELECT pg_catalog.pg_extension_config_dump('mig.new_column_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('mig.step_log', '');
SELECT pg_catalog.pg_extension_config_dump('mig.step_log_id_seq', '');
