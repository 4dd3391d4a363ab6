-- Whatever somebody changes in the middle of a migration: refused by PostgreSQL, followed, or seen by status, check
-- and the next step; and the application gets its writes back.
SET client_min_messages = warning;
-- Numbers of mappings start at 1.
DROP EXTENSION IF EXISTS pg_mig CASCADE;
CREATE EXTENSION pg_mig;
DROP SCHEMA IF EXISTS drift CASCADE;
CREATE SCHEMA drift;
SET search_path = drift, public;
CREATE TABLE src (id int PRIMARY KEY, v text, n int);
INSERT INTO src SELECT g, 'v', g FROM generate_series(1, 5) g;
SELECT mig_define('drift');
SELECT mig_add_table('drift', 'src', 'dst');
SELECT count(*) FROM mig_create();
SELECT count(*) FROM mig_dual_write();
SELECT mig_step() > 0 AS copied;

CREATE FUNCTION seen(OUT state text, OUT problem text, OUT next_step text, OUT "check" text) LANGUAGE plpgsql AS $$
BEGIN
  SELECT s.state, s.problem, s.next_step INTO state, problem, next_step FROM mig_status('drift') s;
  SELECT string_agg(check_name, ', ') INTO "check" FROM mig_check('drift', 'quick') WHERE NOT ok;
EXCEPTION WHEN OTHERS THEN
  "check" := sqlstate || ' ' || sqlerrm;
END
$$;
CREATE PROCEDURE again() LANGUAGE plpgsql AS $$
BEGIN
  PERFORM mig_rollback('drift', 'created');
  PERFORM mig_dual_write('drift');
  PERFORM mig_step('drift');
END
$$;

-- The mirrors.
ALTER TABLE src DISABLE TRIGGER ALL;
SELECT * FROM seen() \gx
ALTER TABLE src ENABLE TRIGGER ALL;
SELECT * FROM seen() \gx
DO $$
DECLARE
  t text;
BEGIN
  FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'drift.src'::regclass LOOP
    EXECUTE format('ALTER TABLE drift.src ENABLE ALWAYS TRIGGER %I', t);
  END LOOP;
END
$$;
-- As they were; but who knows what was written meanwhile.
SELECT * FROM seen() \gx
CALL again();
SELECT * FROM seen() \gx
DO $$ BEGIN EXECUTE (SELECT format('DROP TRIGGER %I ON drift.src', tgname) FROM pg_trigger WHERE tgrelid = 'drift.src'::regclass AND tgname LIKE '%row'); END $$;
SELECT * FROM seen() \gx
CALL again();
DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE drift.src ENABLE REPLICA TRIGGER %I', tgname) FROM pg_trigger WHERE tgrelid = 'drift.src'::regclass AND tgname LIKE '%row'); END $$;
SELECT * FROM seen() \gx
-- The next slice of a job stops, and so does its start.
SELECT mig_rollback('drift', 'created');
SELECT mig_dual_write('drift');
ALTER TABLE src DISABLE TRIGGER USER;
\set VERBOSITY default
SELECT mig_backfill('drift');
\set VERBOSITY terse
SELECT mig_step('drift');
SELECT state, error FROM mig.job ORDER BY id DESC LIMIT 1;
CALL again();

-- The old table: what the migration needs is kept or followed, what it does not need is reported.
ALTER TABLE src DROP COLUMN n;
ALTER TABLE src ALTER n TYPE bigint;
DROP TABLE src;
ALTER TABLE src RENAME n TO m;
INSERT INTO src VALUES (10, 'renamed', 10);
SELECT * FROM dst WHERE id = 10;
SELECT * FROM seen() \gx
ALTER TABLE src RENAME m TO n;
ALTER TABLE src ADD extra text;
INSERT INTO src VALUES (11, 'added', 11, 'extra');
SELECT * FROM dst WHERE id = 11;
SELECT * FROM seen() \gx
ALTER TABLE src DROP extra;
ALTER TABLE src RENAME TO renamed;
UPDATE renamed SET v = 'by its new name' WHERE id = 1;
SELECT v FROM dst WHERE id = 1;
ALTER TABLE renamed RENAME TO src;
CREATE TABLE child () INHERITS (src);
SELECT * FROM seen() \gx
DROP TABLE child;
SELECT * FROM seen() \gx

-- The new table: a write that cannot be mirrored fails; mig_detach gives the application its writes back.
ALTER TABLE dst RENAME TO moved;
UPDATE src SET v = 'follows' WHERE id = 2;
SELECT v FROM moved WHERE id = 2;
ALTER TABLE moved RENAME TO dst;
ALTER TABLE dst RENAME v TO w;
SELECT * FROM seen() \gx
\set VERBOSITY default
UPDATE src SET v = 'fails' WHERE id = 2;
SELECT action FROM mig_detach('drift');
UPDATE src SET v = 'goes on' WHERE id = 2;
SELECT action FROM mig_detach('drift');
SELECT * FROM seen() \gx
SELECT action FROM mig_rollback('drift', 'defined');
SELECT count(*) FROM mig_create('drift');
SELECT count(*) FROM mig_dual_write('drift');
DROP TABLE dst;
DROP TABLE dst CASCADE;
UPDATE src SET v = 'fails' WHERE id = 2;
SELECT * FROM seen() \gx
SELECT action FROM mig_detach('drift');
UPDATE src SET v = 'goes on' WHERE id = 2;
SELECT action FROM mig_rollback('drift', 'defined');

-- DROP ... CASCADE takes the view that says what a new row is.
SELECT count(*) FROM mig_create('drift');
SELECT count(*) FROM mig_dual_write('drift');
ALTER TABLE src DROP COLUMN n CASCADE;
\set VERBOSITY terse
UPDATE src SET v = 'fails' WHERE id = 2;
\set VERBOSITY default
SELECT * FROM seen() \gx
SELECT action FROM mig_detach('drift');
UPDATE src SET v = 'goes on' WHERE id = 2;
SELECT action FROM mig_rollback('drift', 'defined');
SELECT count(*) FROM mig_create('drift');
SELECT action FROM mig_detach('drift');
SELECT action FROM mig_rollback('drift');
SELECT action FROM mig_drop('drift');

-- What cannot be followed is refused at the start.
CREATE TABLE swaps (id int PRIMARY KEY DEFERRABLE, slug text UNIQUE);
CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id);
SELECT mig_define('drift');
SELECT mig_add_table('drift', 'whole', 'new_whole');
SELECT mig_add_table('drift', 'swaps', 'new_swaps');
SELECT mig_create('drift');
SELECT mig_drop('drift');
ALTER TABLE swaps DROP CONSTRAINT swaps_slug_key;
SELECT mig_define('drift');
SELECT mig_add_table('drift', 'swaps', 'new_swaps', unique_keys => '[["slug"]]');
SELECT detail, hint FROM mig_preflight('drift') WHERE severity = 'error';
SELECT mig_drop('drift');
DROP SCHEMA drift CASCADE;
