-- From backfilled to the end and back again: both ways, one, none; every step with its refusals.
SET client_min_messages = warning;
-- Numbers of mappings start at 1.
DROP EXTENSION IF EXISTS pg_mig CASCADE;
CREATE EXTENSION pg_mig;
DROP SCHEMA IF EXISTS cut CASCADE;
CREATE SCHEMA cut;
SET search_path = cut, public;
CREATE ROLE cut_reader;
CREATE ROLE cut_app;
GRANT USAGE ON SCHEMA cut TO cut_reader, cut_app;
CREATE TABLE rounds (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, size int GENERATED ALWAYS AS (length(slug)) STORED);
CREATE TABLE subs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, round_id int REFERENCES rounds ON UPDATE CASCADE ON DELETE CASCADE, mail text NOT NULL UNIQUE, legacy text);
GRANT SELECT ON rounds TO cut_reader;
GRANT ALL ON rounds, subs TO cut_app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA cut TO cut_app;
INSERT INTO rounds (slug) SELECT 's' || g FROM generate_series(1, 20) g;
INSERT INTO subs (round_id, mail, legacy) SELECT 1 + g % 20, 'M' || g || '@x', 'old ' || g FROM generate_series(1, 200) g;
CREATE FUNCTION differences() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT count(*) FROM ((SELECT id, slug FROM rounds EXCEPT ALL SELECT id, slug FROM project_rounds WHERE project_id = '00000000-0000-0000-0000-000000000001')
      UNION ALL (SELECT id, slug FROM project_rounds WHERE project_id = '00000000-0000-0000-0000-000000000001' EXCEPT ALL SELECT id, slug FROM rounds)) d)
    + (SELECT count(*) FROM ((SELECT id, round_id, lower(mail) FROM subs EXCEPT ALL SELECT id, round_id, email FROM project_subs WHERE project_id = '00000000-0000-0000-0000-000000000001')
      UNION ALL (SELECT id, round_id, email FROM project_subs WHERE project_id = '00000000-0000-0000-0000-000000000001' EXCEPT ALL SELECT id, round_id, lower(mail) FROM subs)) d);
END
$$;
\set project '00000000-0000-0000-0000-000000000001'
\set other '00000000-0000-0000-0000-000000000002'

-- A mapping that cannot go back says so before the switch.
SELECT mig_define('cut', 'projects', :'project');
SELECT mig_add_table('cut', 'rounds', 'project_rounds');
SELECT mig_add_table('cut', 'subs', 'project_subs', columns => '{"email": "lower(mail)", "mail": null, "legacy": null}');
SELECT severity, check_name, detail, hint FROM mig_preflight('cut') WHERE check_name = 'no way back';
SELECT count(*) FROM mig_create('cut');
SELECT problem FROM mig_status('cut');
SELECT count(*) FROM mig_switch('cut');
SELECT count(*) FROM mig_dual_write('cut');
SELECT mig_step('cut', 600000) > 0 AS copied;
SELECT count(*) FROM mig_switch('cut', force => true);
\echo :SQLSTATE
SELECT count(*) FROM mig_rollback('cut', 'defined');
SELECT count(*) FROM mig_drop('cut');

SELECT mig_define('cut', 'projects', :'project');
SELECT mig_add_table('cut', 'rounds', 'project_rounds');
SELECT mig_add_table('cut', 'subs', 'project_subs', columns => '{"email": {"up": "lower(mail)", "down": "email"}, "mail": null, "legacy": null}');
SELECT check_name FROM mig_preflight('cut') WHERE check_name = 'no way back';
SELECT count(*) FROM mig_create('cut');
SELECT count(*) FROM mig_dual_write('cut');
SELECT mig_step('cut', 600000) > 0 AS copied;
SELECT mig_reads();

-- The gate: differences, and force that is recorded.
ALTER TABLE project_subs DISABLE TRIGGER ALL;
UPDATE project_subs SET email = 'damaged' WHERE id = 7;
ALTER TABLE project_subs ENABLE TRIGGER ALL;
SELECT count(*) FROM mig_switch('cut');
\echo :SQLSTATE
SELECT action FROM mig_switch('cut', force => true);
SELECT mig_reads();
SELECT what FROM mig.history WHERE phase = 'switched';
SELECT action FROM mig_switch('cut');
SELECT action FROM mig_rollback('cut');
SELECT mig_reads();
UPDATE subs SET mail = mail WHERE id = 7;
SELECT differences();
SELECT action FROM mig_switch('cut');
SELECT phase, state, problem, next_step FROM mig_status('cut');

-- Both ways. What an expression made keeps its old form as long as it still gives the new one.
UPDATE subs SET mail = 'Upper@X' WHERE id = 1;
SELECT email FROM project_subs WHERE id = 1;
UPDATE project_subs SET round_id = 3 WHERE id = 1;
SELECT round_id, mail, legacy FROM subs WHERE id = 1;
UPDATE project_subs SET email = 'other@x' WHERE id = 1;
SELECT round_id, mail, legacy FROM subs WHERE id = 1;
-- The mapping says what a new row is, also for a write of the new side.
UPDATE project_subs SET email = 'MiXed@x' WHERE id = 1;
SELECT s.mail, t.email FROM subs s JOIN project_subs t USING (id) WHERE id = 1;
INSERT INTO project_rounds (project_id, slug) VALUES (:'project', 'new') RETURNING id, slug, size;
INSERT INTO rounds (slug) VALUES ('old') RETURNING id, slug, size;
INSERT INTO project_rounds (project_id, slug) VALUES (:'other', 'of another project') RETURNING id;
SELECT count(*) FROM rounds;
BEGIN;
INSERT INTO project_subs (project_id, round_id, email) VALUES (:'project', 2, 'a@x');
SAVEPOINT s;
DELETE FROM rounds WHERE id = 2;
ROLLBACK TO s;
UPDATE rounds SET id = id + 1000 WHERE id = 4;
UPDATE project_rounds SET id = id + 1000 WHERE id = 5;
DELETE FROM project_rounds WHERE id = 6;
UPDATE subs SET mail = 'b@x' WHERE mail = 'a@x';
COMMIT;
SELECT differences();
SELECT slug FROM project_rounds WHERE project_id = :'other';
-- TRUNCATE would take the other project's rows with it.
TRUNCATE project_rounds CASCADE;
\echo :SQLSTATE
BEGIN;
TRUNCATE rounds CASCADE;
SELECT differences(), (SELECT count(*) FROM project_rounds), (SELECT count(*) FROM project_subs);
ROLLBACK;
BEGIN;
DELETE FROM project_rounds WHERE project_id = :'other';
TRUNCATE project_rounds CASCADE;
SELECT differences(), (SELECT count(*) FROM rounds), (SELECT count(*) FROM subs);
ROLLBACK;
SELECT differences();
SELECT count(*) FROM mig_check('cut') WHERE ok IS NOT TRUE;

-- A mirror that somebody touched: nothing passed it, so it goes in anew; something did, so nothing moves on.
ALTER TABLE project_subs DISABLE TRIGGER "!mig_4_reverse_update";
SELECT state, problem, next_step FROM mig_status('cut');
SELECT count(*) FROM mig_stop('cut');
SELECT count(*) FROM mig_rollback('cut');
SELECT action FROM mig_switch('cut');
SELECT state, problem FROM mig_status('cut');
ALTER TABLE project_subs DISABLE TRIGGER "!mig_4_reverse_update";
UPDATE project_subs SET email = 'passed@x' WHERE id = 1;
SELECT count(*) FROM mig_switch('cut');
\echo :SQLSTATE
SELECT count(*) FROM mig_rollback('cut', 'created');
UPDATE subs SET mail = 'passed@x' WHERE id = 1;
SELECT action FROM mig_switch('cut');

-- The end of dual writing: a straggler fails loudly, also where no row would be touched.
SELECT action FROM mig_stop('cut');
SELECT action FROM mig_stop('cut');
INSERT INTO rounds (slug) VALUES ('late');
\echo :SQLSTATE
UPDATE subs SET mail = 'late' WHERE false;
COPY subs (mail) FROM PROGRAM 'echo late';
TRUNCATE rounds CASCADE;
SELECT phase, state, problem, next_step FROM mig_status('cut');
INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000003', 'third');
INSERT INTO project_rounds (project_id, slug) VALUES ('00000000-0000-0000-0000-000000000003', 's1') RETURNING id;

-- Back: created, changed, deleted, unique values handed on, a key that moved.
INSERT INTO project_rounds (project_id, slug) SELECT :'project', 'n' || g FROM generate_series(1, 50) g;
UPDATE project_rounds SET slug = 'n1 was here' WHERE slug = 'n1';
UPDATE project_rounds SET slug = 'n1' WHERE slug = 's1' AND project_id = :'project';
UPDATE project_rounds SET slug = 's1' WHERE slug = 's2';
DELETE FROM project_rounds WHERE slug IN ('s7', 's8');
INSERT INTO project_rounds (project_id, slug) VALUES (:'project', 's7');
UPDATE project_rounds SET id = id + 2000 WHERE slug = 's9';
UPDATE project_subs SET round_id = (SELECT id FROM project_rounds WHERE slug = 's7') WHERE id % 50 = 1;
INSERT INTO project_subs (project_id, round_id, email) SELECT :'project', id, 'at ' || slug FROM project_rounds WHERE slug LIKE 'n%';
SELECT differences() > 100 AS far_apart;
SELECT action FROM mig_rollback('cut');
SELECT mig_wait('cut');
SELECT phase, state, problem FROM mig_status('cut');
SELECT differences();
SELECT count(*) FROM subs WHERE legacy IS NOT NULL;
INSERT INTO rounds (slug) VALUES ('both sides are live');
SELECT differences();

-- A way back that is given up; and one that goes further than switched.
SELECT action FROM mig_stop('cut');
SELECT mig_configure('cut', '{"delay_ms": 3600000}');
SELECT action FROM mig_rollback('cut', 'backfilled');
SELECT mig_cancel('cut');
SELECT phase, next_step FROM mig_status('cut');
SELECT count(*) FROM mig_archive('cut', force => true);
SELECT action FROM mig_detach('cut');
SELECT state, next_step FROM mig_status('cut');
SELECT action FROM mig_stop('cut');
SELECT state, problem FROM mig_status('cut');
ALTER TABLE rounds DISABLE TRIGGER "!mig_3_guard_row";
SELECT state, problem, next_step FROM mig_status('cut');
SELECT count(*) FROM mig_rollback('cut');
SELECT action FROM mig_stop('cut');
SELECT state, problem FROM mig_status('cut');
INSERT INTO project_rounds (project_id, slug) VALUES (:'project', 'only new');
SELECT differences();
SELECT mig_configure('cut', '{"delay_ms": null}');
SELECT action FROM mig_rollback('cut', 'backfilled');
SELECT mig_wait('cut');
SELECT phase, state, problem FROM mig_status('cut');
SELECT differences();
SELECT mig_reads();
SELECT action FROM mig_rollback('cut', 'switched');
SELECT action FROM mig_switch('cut');
SELECT action FROM mig_stop('cut');

-- The archive.
CREATE VIEW outside AS SELECT slug FROM rounds;
CREATE TABLE outsider (id int REFERENCES rounds);
SELECT count(*) FROM mig_archive('cut');
\echo :SQLSTATE
SELECT mig_configure('cut', '{"archive_after_days": 0}');
SELECT count(*) FROM mig_archive('cut');
\echo :SQLSTATE
DROP VIEW outside;
DROP TABLE outsider;
SELECT count(*) FROM mig_archive('cut', suffix => '');
SELECT * FROM mig_archive('cut', compat_views => true);
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
-- The whole checklist at the end of the way; what the server beside it does is left out.
SELECT phase, item, ok FROM mig_checklist('cut') WHERE item !~ '^(statements|transactions|sessions|connections|size)';
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'cut'::regnamespace ORDER BY 1;
SELECT * FROM rounds WHERE id = 1;
SELECT id, round_id, mail, legacy FROM subs WHERE id = 2;
SELECT relname, reloptions, relacl FROM pg_class WHERE relnamespace = 'cut'::regnamespace AND relkind = 'v' ORDER BY 1;
SET ROLE cut_app;
INSERT INTO rounds (slug) VALUES ('x');
\echo :SQLSTATE
UPDATE subs SET mail = 'x' WHERE id = 2;
INSERT INTO project_subs (project_id, email) VALUES (:'other', 'drawn') RETURNING id;
INSERT INTO project_rounds (project_id, slug) VALUES (:'other', 'drawn too') RETURNING id;
RESET ROLE;
INSERT INTO rounds_archive (slug) VALUES ('x');
SELECT phase, state, problem, next_step FROM mig_status('cut');

-- And from there back to the start of the end.
SELECT action FROM mig_rollback('cut');
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'cut'::regnamespace ORDER BY 1;
SELECT column_name, column_default, is_identity FROM information_schema.columns WHERE table_schema = 'cut' AND column_name = 'id' AND table_name NOT LIKE 'm%' ORDER BY table_name;
SELECT action FROM mig_archive('cut', suffix => '_old');
SELECT action FROM mig_rollback('cut', 'backfilled');
SELECT mig_wait('cut');
SELECT phase FROM mig_status('cut');
SELECT differences();
INSERT INTO subs (round_id, mail) VALUES (3, 'after all') RETURNING id;
SELECT action FROM mig_switch('cut');
SELECT action FROM mig_stop('cut');
SELECT action FROM mig_archive('cut', compat_views => true);
SELECT * FROM mig_drop('cut', archives => true);
\echo :SQLSTATE
SELECT target, action FROM mig_drop('cut', archives => true, force => true);
SELECT what FROM mig.history ORDER BY id DESC LIMIT 1;

-- Nothing is left but the new tables, their sequences and the views.
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'cut'::regnamespace AND relkind <> 'i' ORDER BY 1;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE '!mig%' ORDER BY 1, 2;
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'mig'::regnamespace AND relname ~ '^m[0-9]') AS views,
       (SELECT count(*) FROM mig.mapping) + (SELECT count(*) FROM mig.migration) + (SELECT count(*) FROM mig.job) + (SELECT count(*) FROM mig.check_result)
         + (SELECT count(*) FROM mig.leftover) + (SELECT count(*) FROM mig.row_error) AS rows,
       (SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'mig.migration'::regclass) AS locks,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_mig worker') AS workers;
INSERT INTO project_rounds (project_id, slug) VALUES (:'project', 'goes on') RETURNING slug;

-- A target of the user's own that draws its ids elsewhere: refused until both sides draw from one sequence.
CREATE TABLE a (id serial PRIMARY KEY, v text);
INSERT INTO a (v) VALUES ('one'), ('two');
CREATE TABLE new_a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text);
SELECT mig_define('ids');
SELECT mig_add_table('ids', 'a', 'new_a');
SELECT action FROM mig_create('ids');
SELECT count(*) FROM mig_dual_write('ids');
SELECT mig_step('ids') > 0 AS copied;
SELECT count(*) FROM mig_switch('ids');
ALTER TABLE new_a ALTER COLUMN id DROP IDENTITY;
ALTER TABLE new_a ALTER COLUMN id SET DEFAULT nextval('a_id_seq');
SELECT count(*) FROM mig_switch('ids');
INSERT INTO new_a (v) VALUES ('three') RETURNING id;
INSERT INTO a (v) VALUES ('four') RETURNING id;
SELECT * FROM a FULL JOIN new_a USING (id, v) ORDER BY id;
SELECT phase, count(*) FROM mig_plan('ids') GROUP BY phase ORDER BY phase;
SELECT action FROM mig_plan('ids') WHERE phase = 'archived';
SELECT action FROM mig_rollback('ids', 'defined');
SELECT count(*) FROM mig_drop('ids');
DROP SCHEMA cut CASCADE;
DROP ROLE cut_reader, cut_app;
DELETE FROM projects WHERE slug = 'third';
