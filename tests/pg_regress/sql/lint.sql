-- mig_lint: what the statements of a migration file would lock on this database's tables. Nothing is run.
\pset format unaligned
\pset fieldsep ' | '
SET client_min_messages = warning;
CREATE SCHEMA lint;
SET search_path = lint, public;
CREATE TABLE tip (id int PRIMARY KEY, created_at timestamptz NOT NULL, email text, amount numeric(10, 2), note varchar(20), meta text);
INSERT INTO tip SELECT g, '2020-01-01', 'u' || g || '@example.org', g, 'n', repeat('x', 60) FROM generate_series(1, 60000) g;
CREATE TABLE videos (id text PRIMARY KEY, metadata text);
CREATE TABLE messages (id bigint PRIMARY KEY, urgent boolean);
INSERT INTO messages SELECT g FROM generate_series(1, 200000) g;
ANALYZE tip, videos, messages;
RESET client_min_messages;
-- An index, with writers and without.
SELECT line, severity, rule, lock_mode, blocks FROM mig_lint($$
CREATE INDEX tip_created_at ON tip (created_at);
CREATE INDEX CONCURRENTLY IF NOT EXISTS tip_email ON tip (email);
BEGIN;
CREATE INDEX CONCURRENTLY tip_note ON tip (note);
COMMIT;
DROP INDEX tip_email;
REINDEX TABLE tip;
$$);
\x
SELECT statement, detail, safer FROM mig_lint('CREATE INDEX tip_created_at ON tip (created_at)') WHERE rule = 'create-index';
\x
-- Columns.
SELECT line, severity, rule, lock_mode, blocks FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE tip ADD COLUMN a text;
ALTER TABLE tip ADD COLUMN b text DEFAULT 'x' NOT NULL;
ALTER TABLE tip ADD COLUMN c uuid DEFAULT gen_random_uuid();
ALTER TABLE tip ADD COLUMN d bigserial;
ALTER TABLE tip ADD COLUMN e int NOT NULL;
ALTER TABLE tip ADD COLUMN f text GENERATED ALWAYS AS (email || 'x') STORED;
ALTER TABLE tip DROP COLUMN note;
ALTER TABLE tip RENAME COLUMN email TO mail;
ALTER TABLE tip RENAME TO tips;
ALTER TABLE tip ALTER COLUMN email SET NOT NULL;
ALTER TABLE videos ALTER COLUMN metadata SET NOT NULL;
$$);
-- Types: what stays as it is, and what is written anew.
SELECT line, severity, rule, detail FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE tip ALTER COLUMN note TYPE varchar(40);
ALTER TABLE tip ALTER COLUMN note TYPE text;
ALTER TABLE tip ALTER COLUMN note TYPE varchar(10);
ALTER TABLE tip ALTER COLUMN amount TYPE numeric(12, 2);
ALTER TABLE tip ALTER COLUMN amount TYPE numeric(12, 4);
ALTER TABLE tip ALTER COLUMN id TYPE bigint;
ALTER TABLE tip ALTER COLUMN meta TYPE jsonb USING meta::jsonb;
ALTER TABLE tip ALTER COLUMN created_at TYPE timestamp;
$$);
-- NOT NULL the safe way, and in a hurry.
SELECT line, severity, rule, lock_mode FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE tip ADD CONSTRAINT tip_email_there CHECK (email IS NOT NULL) NOT VALID;
ALTER TABLE tip VALIDATE CONSTRAINT tip_email_there;
ALTER TABLE tip ALTER COLUMN email SET NOT NULL;
ALTER TABLE tip DROP CONSTRAINT tip_email_there;
BEGIN;
ALTER TABLE tip ADD CONSTRAINT tip_note_there CHECK (note IS NOT NULL) NOT VALID;
ALTER TABLE tip VALIDATE CONSTRAINT tip_note_there;
COMMIT;
$$);
-- Keys.
SELECT line, severity, rule, lock_mode FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE messages ADD CONSTRAINT m_tip FOREIGN KEY (id) REFERENCES tip (id);
ALTER TABLE messages ADD CONSTRAINT m_tip FOREIGN KEY (id) REFERENCES tip (id) NOT VALID;
ALTER TABLE videos ADD CONSTRAINT v_u UNIQUE (metadata);
ALTER TABLE tip ADD CONSTRAINT t_u UNIQUE (email);
ALTER TABLE tip ADD CONSTRAINT t_u UNIQUE USING INDEX tip_email;
ALTER TABLE tip ADD CHECK (amount > 0);
CREATE TABLE tip_tag (id int PRIMARY KEY, tip_id int REFERENCES tip, tags json, at timestamp);
ALTER TABLE tip_tag ADD CHECK (id > 0);
$$);
-- Data: everything at once, copied once, and a loop that is one transaction.
SELECT line, severity, rule FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE messages ADD COLUMN priority int DEFAULT 0;
UPDATE messages SET priority = CASE WHEN urgent THEN 1 ELSE 0 END;
UPDATE messages SET priority = CASE WHEN urgent THEN 1 ELSE 0 END WHERE id < 1000;
DO 'BEGIN LOOP UPDATE messages SET priority = 1 WHERE priority = 0; EXIT WHEN NOT FOUND; END LOOP; END';
DELETE FROM messages;
TRUNCATE messages CASCADE;
BEGIN;
ALTER TABLE messages ADD COLUMN x int;
UPDATE messages SET urgent = false;
ALTER TABLE tip ADD COLUMN x int;
COMMIT;
$$);
-- What fails: no SQL, SQL of another kind, blocks and functions.
SELECT line, severity, rule, detail FROM mig_lint($f$
\timing on
SELECT 1;
UPDATE messages SET urgent = true LIMIT 10;
SELECT 2;
DO $$ BEGIN UPDATE messages SET urgent = true WHERE urgent IS NULL LIMIT 10; END $$;
CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM messages; COMMIT; END $$;
CREATE TABLE nonsense (;
DROP TABLE videos
$f$);
SELECT * FROM mig_lint('');
SELECT line, severity, rule FROM mig_lint('-- a comment only');
SELECT mig_lint(NULL);
-- Where people look in an emergency.
SELECT severity, rule, safer FROM mig_lint('SELECT a.pid, b.pid FROM pg_catalog.pg_locks a JOIN pg_catalog.pg_locks b ON a.locktype = b.locktype WHERE NOT a.granted');
-- The rest: partitions, rewrites, enums, policies, other schemas and strange names.
CREATE TABLE "we""ird $$; drop" (id int PRIMARY KEY, "Col umn" text);
SELECT line, severity, rule, lock_mode, coalesce(safer, '') AS safer FROM mig_lint($$
SET lock_timeout = '1s';
ALTER TABLE "we""ird $$||'$$'||$$; drop" ALTER COLUMN "Col umn" SET NOT NULL;
ALTER TABLE lint.tip SET UNLOGGED;
VACUUM FULL tip;
LOCK TABLE tip IN SHARE MODE;
ALTER TABLE tip ENABLE ROW LEVEL SECURITY;
ALTER TYPE mood ADD VALUE 'fine';
CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
ALTER TABLE p DETACH PARTITION p_1;
REFRESH MATERIALIZED VIEW mv;
DROP SCHEMA lint CASCADE;
VACUUM tip;
GRANT SELECT ON tip TO PUBLIC;
$$);
-- What CASCADE takes from tables; WITH; empty tables.
CREATE FUNCTION lint.two() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';
CREATE TYPE lint.size AS ENUM ('s');
CREATE TABLE lint.worn (id int PRIMARY KEY, n int DEFAULT lint.two(), size lint.size);
CREATE TABLE lint.other (worn int REFERENCES lint.worn);
CREATE SEQUENCE lint.free;
SELECT line, severity, rule, lock_mode, detail FROM mig_lint($$
DROP FUNCTION lint.two() CASCADE;
DROP TYPE size CASCADE;
DROP SEQUENCE lint.free CASCADE;
DROP FUNCTION lint.nowhere() CASCADE;
WITH d AS (DELETE FROM lint.worn RETURNING id) SELECT id FROM d JOIN lint.other o ON o.worn = d.id;
WITH d AS (SELECT id FROM lint.worn) SELECT id FROM d FOR UPDATE;
UPDATE lint.worn SET n = 3;
ALTER TABLE lint.other ADD COLUMN again int REFERENCES lint.worn;
$$);
-- Nothing was run.
SELECT count(*) FROM tip;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA lint CASCADE;
