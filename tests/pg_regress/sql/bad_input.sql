-- Each refusal: SQLSTATE, DETAIL, HINT, and nothing changed.
SELECT mig_create();
\echo :SQLSTATE
SELECT mig_define('cover', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_define('cover');
\echo :SQLSTATE
SELECT mig_define(NULL::text);
\echo :SQLSTATE
SELECT mig_configure('cover', NULL);
\echo :SQLSTATE
SELECT mig_rollback(NULL);
\echo :SQLSTATE
SELECT mig_backfill(driver => NULL);
\echo :SQLSTATE
SELECT mig_define('');
\echo :SQLSTATE
SELECT mig_create('covr');
\echo :SQLSTATE
SELECT * FROM mig_status('covr');
\echo :SQLSTATE
SELECT mig_create('cover');
\echo :SQLSTATE
-- scopes
SELECT mig_define('x', 'projects');
\echo :SQLSTATE
SELECT mig_define('x', 'projects', 'not-a-uuid');
\echo :SQLSTATE
SELECT mig_define('x', 'projects', '00000000-0000-0000-0000-00000000dead');
\echo :SQLSTATE
SELECT mig_define('x', 'song_selection_votes', '1');
\echo :SQLSTATE
-- options
SELECT mig_define('x', options => '{"batch_row": 10}');
\echo :SQLSTATE
SELECT mig_configure('cover', '{"batch_rows": 0}');
\echo :SQLSTATE
SELECT mig_configure('cover', '{"max_replication_lag": 10}');
SELECT mig_configure('cover', '{"max_wal_rate": "fast"}');
SELECT mig_configure('cover', '{"throttle_query": true}');
\echo :SQLSTATE
SELECT mig_configure('cover', '[]');
\echo :SQLSTATE
SELECT mig_define('{"migration": "x", "tabels": []}'::jsonb);
\echo :SQLSTATE
SELECT mig_define('{"migration": "x", "tables": [{"source": "sign_ups", "target": "t1"}, {"source": "sign_ups", "target": "t2"}]}'::jsonb);
\echo :SQLSTATE
-- sources
CREATE VIEW a_view AS SELECT 1 AS id;
CREATE TEMP TABLE a_temp (id int PRIMARY KEY);
CREATE TABLE no_key (id int);
CREATE TABLE parent (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS id;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE a_foreign (id int) SERVER nowhere;
SELECT mig_add_table('cover', 'a_view', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'a_matview', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'a_foreign', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'a_temp', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'no_key', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'parent', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'pg_class', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'mig.mapping', 't');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'sign_ups', 'sign_ups');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'sign_ups', 'a.b.c');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'nothing_here', 't');
\echo :SQLSTATE
-- mappings
SELECT mig_add_table('cover', 'sign_ups', 'project_sign_ups');
SELECT mig_add_table('cover', 'sign_ups', 'other');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 'project_sign_ups');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', unique_keys => '[["user"]]');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', unique_keys => '"user_id"');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"urll": null}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"id": null}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": {"upp": "url"}}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', refs => '{"round_id": "no_such_table"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', id_mode => 'remap', columns => '{"id": "md5(url)::uuid"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', id_mode => 'preserv');
\echo :SQLSTATE
-- expressions
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "url) FROM projects; DELETE FROM projects; SELECT (1"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "url, id"}');
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "url) , (id"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "(SELECT max(slug) FROM public.projects)"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "random()"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "max(url)"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "generate_series(1, 2)"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "no_such_column + 1"}');
\echo :SQLSTATE
SELECT mig_add_table('cover', 'submissions', 't', columns => '{"u": "url -- comment"}', filter => 'url');
\echo :SQLSTATE
SELECT count(*) AS still_there FROM projects;
-- wrong phase
SELECT mig_backfill();
\echo :SQLSTATE
SELECT mig_check();
\echo :SQLSTATE
SELECT mig_dual_write();
\echo :SQLSTATE
SELECT mig_wait();
\echo :SQLSTATE
SELECT mig_step();
\echo :SQLSTATE
SELECT mig_pause(), mig_resume(), mig_cancel();
SELECT mig_rollback('cover', 'creatd');
\echo :SQLSTATE
SELECT mig_rollback('cover', 'backfilled');
\echo :SQLSTATE
SELECT mig_backfill(driver => 'wrker');
\echo :SQLSTATE
-- two migrations, none named
SELECT mig_define('second');
SELECT mig_backfill();
\echo :SQLSTATE
SELECT * FROM mig_drop('second');
-- a target that stands with another shape
CREATE TABLE project_sign_ups (id bigint PRIMARY KEY, project_id text);
SELECT mig_create();
\echo :SQLSTATE
DROP TABLE project_sign_ups;
-- a scope column that is there already
ALTER TABLE submissions ADD COLUMN project_id int;
SELECT mig_add_table('cover', 'submissions', 't');
\echo :SQLSTATE
ALTER TABLE submissions DROP COLUMN project_id;
-- doubles that a new unique key refuses
SELECT mig_add_table('cover', 'email_reminders_sent', 'project_email_reminders', unique_keys => '[["kind"]]');
TRUNCATE email_reminders_sent;
INSERT INTO email_reminders_sent (kind) VALUES ('double'), ('double');
SELECT severity, check_name, detail FROM mig_preflight() WHERE severity = 'error';
SELECT mig_create();
\echo :SQLSTATE
SELECT to_regclass('project_sign_ups') IS NULL AS nothing_made;
SELECT phase FROM mig_status();
SELECT mig_check('cover', 'fulll');
\echo :SQLSTATE
SELECT mig_check('cover', 'sample', sample => 0);
\echo :SQLSTATE
SELECT mig_check('cover', NULL);
\echo :SQLSTATE
SELECT mig_check('cover', relation => 'pg_class');
\echo :SQLSTATE
SELECT mig_check_start('cover', driver => 'wrker');
\echo :SQLSTATE
SELECT mig_diff('cover', 'round_metadata', 0);
\echo :SQLSTATE
SELECT mig_diff('cover', NULL);
\echo :SQLSTATE
SELECT mig_diff('cover', 'pg_class');
\echo :SQLSTATE
SELECT mig_repair('cover', dry_run => NULL);
\echo :SQLSTATE
SELECT mig_repair('cover', 'projects');
\echo :SQLSTATE
SELECT mig_checklist('nobody');
\echo :SQLSTATE
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT mig_repair('cover', dry_run => false);
\echo :SQLSTATE
ROLLBACK;
\echo :SQLSTATE
SELECT mig_ddl('cover', 'switch');
\echo :SQLSTATE
SELECT mig.mirror();
\echo :SQLSTATE
SELECT * FROM mig_drop('cover');
DELETE FROM email_reminders_sent WHERE kind = 'double';
DROP VIEW a_view; DROP TABLE no_key, parent; DROP MATERIALIZED VIEW a_matview;
DROP FOREIGN DATA WRAPPER nothing CASCADE;
