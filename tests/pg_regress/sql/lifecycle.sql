-- The quick start of the README, word for word, and every step a second time.
SELECT mig_define('cover', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('cover', 'round_metadata', 'project_rounds');
SELECT mig_add_table('cover', 'sign_ups', 'project_sign_ups');
SELECT mig_add_table('cover', 'submissions', 'project_submissions', unique_keys => '[["user_id", "round_id"]]');
SELECT mig_add_table('cover', 'song_selection_votes', 'project_votes');
SELECT mig_add_table('cover', 'email_reminders_sent', 'project_email_reminders');
SELECT phase, next_step FROM mig_status();
SELECT severity, check_name, relation FROM mig_preflight() WHERE severity <> 'info';
SELECT count(*) > 30 AS has_a_plan, count(DISTINCT phase) AS phases FROM mig_plan();
SELECT ddl FROM mig_ddl() ddl WHERE ddl LIKE 'CREATE TABLE%votes%';
SELECT * FROM mig_create();
SELECT * FROM mig_create();
SELECT phase, next_step FROM mig_status();
\d project_sign_ups
SELECT * FROM mig_dual_write();
SELECT * FROM mig_dual_write();
SELECT phase, next_step FROM mig_status();
-- The mirror is at work before anything is copied.
INSERT INTO round_metadata (slug) VALUES ('fresh');
SELECT slug, project_id FROM project_rounds;
SELECT check_name, ok FROM mig_check(relation => 'round_metadata') WHERE ok IS NOT TRUE;
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait('cover', '120 s');
SELECT phase, state, pct, problem, next_step FROM mig_status();
SELECT mig_backfill() IS NOT NULL AS same_job;
SELECT source, check_name, source_value, target_value FROM mig_check() WHERE ok IS NOT TRUE;
SELECT count(*) AS checks, bool_and(ok) AS all_true FROM mig_check();
SELECT mig_assert();
SELECT last_check ~ '^full clean' AS last_check_is_clean FROM mig_status();
\d project_sign_ups
\d project_votes
-- Both sides by hand.
SELECT count(*) FROM ((SELECT id, round_id, user_id, email FROM sign_ups EXCEPT ALL SELECT id, round_id, user_id, email FROM project_sign_ups)
  UNION ALL (SELECT id, round_id, user_id, email FROM project_sign_ups EXCEPT ALL SELECT id, round_id, user_id, email FROM sign_ups)) d;
SELECT count(*) FROM ((SELECT * FROM song_selection_votes EXCEPT ALL SELECT submission_id, user_id, points FROM project_votes)
  UNION ALL (SELECT submission_id, user_id, points FROM project_votes EXCEPT ALL SELECT * FROM song_selection_votes)) d;
-- Live writes of every kind stay in step: cascades, key changes, upserts, TRUNCATE.
DELETE FROM round_metadata WHERE id = 3;
UPDATE round_metadata SET id = 1003 WHERE slug = 'fresh';
INSERT INTO round_metadata (id, slug) VALUES (5, 'again') ON CONFLICT (id) DO UPDATE SET slug = excluded.slug;
MERGE INTO round_metadata r USING (VALUES (6)) v(id) ON r.id = v.id WHEN MATCHED THEN UPDATE SET settings = '{"merged": true}';
TRUNCATE email_reminders_sent;
SELECT count(*) AS checks, bool_and(ok) AS all_true FROM mig_check();
-- Somebody writes behind our back: the check names it.
ALTER TABLE project_rounds DISABLE TRIGGER ALL;
UPDATE project_rounds SET slug = 'wrong' WHERE id = 7;
ALTER TABLE project_rounds ENABLE TRIGGER ALL;
SELECT source, check_name, target_value FROM mig_check() WHERE NOT ok;
SELECT mig_assert();
\echo :SQLSTATE
-- Demoted triggers are seen.
ALTER TABLE sign_ups DISABLE TRIGGER USER;
SELECT phase, problem, next_step FROM mig_status();
ALTER TABLE sign_ups ENABLE TRIGGER USER;
SELECT problem FROM mig_status();
SELECT check_name, target_value FROM mig_check('cover', 'quick', 'sign_ups') WHERE NOT ok;
-- And back, step by step.
SELECT * FROM mig_rollback('cover');
SELECT count(*) FROM project_rounds;
\d project_sign_ups
SELECT tgname FROM pg_trigger WHERE tgrelid = 'sign_ups'::regclass AND NOT tgisinternal;
SELECT phase, next_step FROM mig_status();
SELECT * FROM mig_rollback('cover', 'defined');
SELECT to_regclass('project_rounds') IS NULL AS gone;
SELECT * FROM mig_rollback('cover');
SELECT * FROM mig_drop('cover');
SELECT count(*) FROM mig.migration;
SELECT phase, what FROM mig.history ORDER BY id;
