-- Targets that stand already: made by an ORM from mig_ddl(), shared with another project, or not fit.
SELECT mig_define('adopt', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('adopt', 'round_metadata', 'project_rounds');
SELECT mig_add_table('adopt', 'sign_ups', 'project_sign_ups');
SELECT mig_ddl() \gexec
-- A foreign key between the targets would refuse the application's writes while parents are missing.
ALTER TABLE project_sign_ups ADD CONSTRAINT early FOREIGN KEY (project_id, round_id) REFERENCES project_rounds (project_id, id);
SELECT * FROM mig_create();
\echo :SQLSTATE
ALTER TABLE project_sign_ups DROP CONSTRAINT early, ADD FOREIGN KEY (project_id) REFERENCES projects;
ALTER TABLE project_sign_ups ALTER email SET NOT NULL;
SELECT * FROM mig_create();
\echo :SQLSTATE
ALTER TABLE project_sign_ups ALTER email DROP NOT NULL;
SELECT * FROM mig_create();
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
\d project_sign_ups
SELECT action FROM mig_rollback('adopt', 'defined');
SELECT to_regclass('project_rounds') AS kept, (SELECT count(*) FROM project_rounds) AS rows;
-- Rows of another project stay theirs.
INSERT INTO project_rounds (project_id, id, slug) VALUES ('00000000-0000-0000-0000-000000000002', 900001, 'theirs');
SELECT action FROM mig_create();
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
TRUNCATE round_metadata CASCADE;
SELECT id, slug FROM project_rounds;
INSERT INTO round_metadata (id, slug) VALUES (1, 'one');
-- An id that another project holds: refused loudly, never overwritten.
INSERT INTO round_metadata (id, slug) VALUES (900001, 'clash');
\echo :SQLSTATE
SELECT id, slug FROM project_rounds ORDER BY id;
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT action FROM mig_rollback('adopt', 'created');
SELECT id, slug FROM project_rounds ORDER BY id;
-- The same clash found by preflight, and one that comes later by the backfill: listed with its key, and the job fails.
INSERT INTO round_metadata (id, slug) VALUES (900001, 'clash');
SELECT count(*) FROM mig_dual_write();
DELETE FROM project_rounds WHERE id = 900001;
SELECT count(*) FROM mig_dual_write();
INSERT INTO project_rounds (project_id, id, slug) VALUES ('00000000-0000-0000-0000-000000000002', 900001, 'theirs');
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
\echo :SQLSTATE
SELECT source, key, sqlstate FROM mig.errors;
SELECT phase, state, next_step FROM mig_status();
DELETE FROM round_metadata WHERE id = 900001;
SELECT mig_backfill() IS NOT NULL AS resumed;
SELECT mig_wait();
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT action FROM mig_rollback('adopt', 'created');
-- A target that holds rows of the scope already.
INSERT INTO project_rounds (project_id, id, slug) VALUES ('00000000-0000-0000-0000-000000000001', 77, 'stale');
SELECT count(*) FROM mig_dual_write();
\echo :SQLSTATE
SELECT action FROM mig_rollback('adopt', 'defined');
DROP TABLE project_sign_ups, project_rounds;
-- No unique key over scope and key.
CREATE TABLE project_rounds (project_id uuid NOT NULL, id int NOT NULL, slug text, opens_at timestamptz, settings jsonb);
SELECT count(*) FROM mig_create();
\echo :SQLSTATE
ALTER TABLE project_rounds ADD UNIQUE (project_id, id), ADD COLUMN surprise int NOT NULL;
SELECT count(*) FROM mig_create();
\echo :SQLSTATE
DROP TABLE project_rounds;
SELECT action FROM mig_drop('adopt');
-- A row that the target cannot take: the others go on, the row is named, and the job can be resumed.
CREATE TABLE numbers (id int PRIMARY KEY, n text);
INSERT INTO numbers SELECT g, g::text FROM generate_series(1, 200) g;
UPDATE numbers SET n = 'not a number' WHERE id = 111;
SELECT mig_define('cast');
SELECT mig_add_table('cast', 'numbers', 'numbers2', columns => '{"n": "n::int"}');
SELECT count(*) FROM mig_create();
\echo :SQLSTATE
UPDATE numbers SET n = '111' WHERE id = 111;
SELECT count(*) FROM mig_create();
SELECT count(*) FROM mig_dual_write();
INSERT INTO numbers VALUES (500, 'nor this');
\echo :SQLSTATE
ALTER TABLE numbers2 ADD CONSTRAINT other CHECK (n <> 111) NOT VALID;
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
SELECT source, key, sqlstate, message FROM mig.errors;
SELECT count(*) FROM numbers2;
UPDATE numbers SET n = '112' WHERE id = 111;
SELECT mig_backfill() IS NOT NULL AS resumed;
SELECT mig_wait();
SELECT count(*) FROM numbers2;
SELECT count(*) FROM mig.errors;
SELECT action FROM mig_rollback('cast', 'defined');
SELECT action FROM mig_drop('cast');
DROP TABLE numbers;
-- The canary: a write that would start to fail keeps the mirror from going live, whoever would make it.
CREATE ROLE canary_app;
CREATE TABLE birds (id serial PRIMARY KEY, name text);
CREATE TABLE bird_log (what text);
CREATE FUNCTION log_bird() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO bird_log VALUES (tg_op || ' by ' || session_user); RETURN NULL; END $$;
CREATE TRIGGER log_bird AFTER INSERT OR UPDATE OR DELETE ON birds FOR EACH ROW EXECUTE FUNCTION log_bird();
INSERT INTO birds (name) VALUES ('canary'), ('sparrow');
TRUNCATE bird_log;
GRANT SELECT, INSERT, UPDATE, DELETE ON birds TO canary_app;
-- Preflight only reads, so it finds nothing.
CREATE TABLE birds2 (id int PRIMARY KEY, name text, CONSTRAINT nested CHECK (pg_catalog.current_setting('transaction_read_only') = 'on'));
SELECT mig_define('canary');
SELECT mig_add_table('canary', 'birds', 'birds2');
SELECT action FROM mig_create('canary');
SELECT mig_dual_write('canary');
\echo :SQLSTATE
ALTER TABLE birds2 DROP CONSTRAINT nested;
CREATE FUNCTION refuse(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'no birds today'; END $$;
ALTER TABLE birds2 ADD CONSTRAINT refuse CHECK (refuse(name)) NOT VALID;
SELECT mig_dual_write('canary');
\echo :SQLSTATE
DROP FUNCTION refuse(text) CASCADE;
SELECT phase FROM mig_status('canary');
SELECT action FROM mig_dual_write('canary');
SELECT * FROM birds ORDER BY id;
SELECT count(*) AS nothing_of_it_remains FROM bird_log;
SET ROLE canary_app;
UPDATE birds SET name = name;
RESET ROLE;
SELECT count(*) FROM birds2;
SELECT action FROM mig_rollback('canary', 'defined');
SELECT action FROM mig_drop('canary');
DROP TABLE birds, birds2, bird_log;
DROP FUNCTION log_bird();
DROP ROLE canary_app;
