-- Driving the backfill by hand; pausing, resuming, cancelling; starting in a transaction that rolls back.
CREATE TABLE big (id int PRIMARY KEY, body text, UNIQUE (body));
INSERT INTO big SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
SELECT mig_define('hand', options => '{"batch_rows": 500}');
SELECT mig_add_table('hand', 'big', 'big2');
SELECT count(*) FROM mig_create();
SELECT count(*) FROM mig_dual_write();
BEGIN;
SELECT mig_backfill() IS NOT NULL AS started;
ROLLBACK;
SELECT count(*) AS jobs FROM mig.job;
SELECT count(*) AS workers FROM pg_stat_activity WHERE backend_type = 'pg_mig worker';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT mig_step();
\echo :SQLSTATE
ROLLBACK;
SELECT mig_step(max_ms => 1) > 0 AS some;
SELECT phase, pct < 100 AS under_way, next_step FROM mig_status();
BEGIN;
SELECT mig_step(max_ms => 1) > 0 AS some;
ROLLBACK;
SELECT mig_pause();
SELECT mig_step();
SELECT state, next_step FROM mig_status();
SELECT mig_resume();
SELECT mig_pause();
-- mig_backfill goes on with a paused job as mig_resume does.
SELECT mig_backfill(driver => 'manual') IS NOT NULL AS same_job;
SELECT count(*) AS jobs, max(state) AS state FROM mig.job;
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CALL mig_run(max_runtime => '60 s');
RESET client_min_messages;
\set VERBOSITY default
SELECT phase, state, pct FROM mig_status();
SELECT mig_step();
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
\d big2
SELECT action FROM mig_rollback('hand');
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill(driver => 'manual') IS NOT NULL AS started;
SELECT mig_cancel();
SELECT phase, state, next_step FROM mig_status();
-- Whoever waits for a job in the transaction that starts it would wait for ever.
BEGIN;
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
ROLLBACK;
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
SELECT driver, state FROM mig.job ORDER BY id;
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
-- A table that is rewritten in between starts over, and loses nothing.
SELECT action FROM mig_rollback('hand');
SELECT count(*) FROM mig_dual_write();
SELECT mig_step(max_ms => 1) > 0 AS builds_the_index_while_the_target_is_small;
SELECT mig_step(max_ms => 1) > 0 AS some;
SELECT next_block > 0 AND NOT copied AS half_way FROM mig.tables;
VACUUM FULL big;
SET client_min_messages = warning;
CALL mig_run();
RESET client_min_messages;
SELECT phase FROM mig_status();
SELECT what FROM mig.history WHERE what LIKE '%starts over%';
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
-- An empty table is done at once.
SELECT action FROM mig_rollback('hand', 'defined');
TRUNCATE big;
SELECT count(*) FROM mig_create();
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
SELECT phase, pct FROM mig_status();
SELECT action FROM mig_rollback('hand', 'defined');
SELECT action FROM mig_drop('hand');
DROP TABLE big;
