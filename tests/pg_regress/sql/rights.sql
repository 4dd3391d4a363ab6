-- Three roles: who installs, who owns the tables, who writes as the application.
CREATE ROLE mig_owner LOGIN;
CREATE ROLE mig_app LOGIN;
CREATE ROLE mig_stranger LOGIN;
CREATE SCHEMA shop AUTHORIZATION mig_owner;
GRANT USAGE ON SCHEMA shop TO mig_app, mig_stranger;
SET ROLE mig_owner;
CREATE TABLE shop.projects (id uuid PRIMARY KEY);
INSERT INTO shop.projects VALUES ('00000000-0000-0000-0000-000000000001');
CREATE TABLE shop.rounds (id serial PRIMARY KEY, slug text UNIQUE);
INSERT INTO shop.rounds (slug) SELECT 'r' || g FROM generate_series(1, 100) g;
ALTER TABLE shop.rounds ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON shop.rounds TO mig_app USING (true) WITH CHECK (slug <> '');
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.rounds TO mig_app;
GRANT USAGE ON SEQUENCE shop.rounds_id_seq TO mig_app;
-- Without being allowed, nothing goes.
SELECT mig_define('shop');
\echo :SQLSTATE
SELECT mig_allow('mig_owner');
\echo :SQLSTATE
RESET ROLE;
SELECT mig_allow('mig_owner');
GRANT SELECT ON public.projects TO mig_owner;
SET SESSION AUTHORIZATION mig_owner;
SELECT mig_define('shop', 'public.projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('shop', 'shop.rounds', 'project_rounds');
SELECT mig_add_table('shop', 'public.sign_ups', 'mine');
\echo :SQLSTATE
SELECT severity, check_name FROM mig_preflight() WHERE severity = 'error';
-- A scope table of somebody else needs REFERENCES, and that is found now, not at the end of the backfill.
SELECT mig_create();
\echo :SQLSTATE
RESET SESSION AUTHORIZATION;
GRANT REFERENCES ON public.projects TO mig_owner;
SET SESSION AUTHORIZATION mig_owner;
SELECT * FROM mig_create();
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT phase, problem FROM mig_status();
RESET SESSION AUTHORIZATION;
SELECT grantee::text, privilege_type FROM information_schema.table_privileges WHERE table_name = 'project_rounds' AND grantee <> 'mig_owner' ORDER BY 1, 2;
REVOKE ALL ON shop.project_rounds FROM mig_app;
-- The application writes the old table only, with no right on the new one, and with traps in its path.
SET SESSION AUTHORIZATION mig_app;
CREATE TEMP TABLE mapping (id int);
CREATE TEMP TABLE project_rounds (id int);
SET search_path = pg_temp, shop, public;
INSERT INTO shop.rounds (slug) VALUES ('from the app');
UPDATE shop.rounds SET slug = 'changed' WHERE id = 1;
DELETE FROM shop.rounds WHERE id = 2;
SELECT count(*) FROM shop.project_rounds;
\echo :SQLSTATE
SELECT mig_rollback('shop');
\echo :SQLSTATE
SELECT phase FROM mig_status();
RESET search_path;
RESET SESSION AUTHORIZATION;
-- A stranger cannot put our trigger on a table of his own to reach the target.
SET SESSION AUTHORIZATION mig_stranger;
CREATE TEMP TABLE forged (id int PRIMARY KEY, slug text);
CREATE TRIGGER "!mig_1_forward_row" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION mig.mirror('1');
\echo :SQLSTATE
UPDATE mig.mapping SET target = 'forged';
\echo :SQLSTATE
SELECT count(*) FROM mig.leftover;
\echo :SQLSTATE
RESET SESSION AUTHORIZATION;
CREATE TABLE forged (id int PRIMARY KEY, slug text);
CREATE TRIGGER some_trigger AFTER INSERT ON public.forged FOR EACH ROW EXECUTE FUNCTION mig.mirror('1');
INSERT INTO public.forged VALUES (1, 'x');
\echo :SQLSTATE
DROP TABLE forged, public.forged;
-- Another owner's migration is not ours to change, not even when allowed to run our own.
SELECT mig_allow('mig_stranger');
SET SESSION AUTHORIZATION mig_stranger;
SELECT mig_configure('shop', '{"delay_ms": 5}');
\echo :SQLSTATE
SELECT mig_check('shop');
\echo :SQLSTATE
SELECT mig_check_start('shop');
\echo :SQLSTATE
SELECT mig_diff('shop', 'shop.rounds');
\echo :SQLSTATE
SELECT mig_repair('shop');
\echo :SQLSTATE
SELECT mig_checklist('shop');
\echo :SQLSTATE
SELECT mig_drop('shop');
\echo :SQLSTATE
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION mig_owner;
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT count(*) FROM ((SELECT id, slug FROM shop.rounds EXCEPT ALL SELECT id, slug FROM shop.project_rounds) UNION ALL (SELECT id, slug FROM shop.project_rounds EXCEPT ALL SELECT id, slug FROM shop.rounds)) d;
SELECT action FROM mig_rollback('shop', 'defined');
SELECT action FROM mig_drop('shop');
RESET SESSION AUTHORIZATION;
-- A superuser runs the migration of another role's tables: new objects are that role's, and so are expressions.
CREATE FUNCTION shop.who(text) RETURNS text STABLE LANGUAGE sql AS 'SELECT current_user::text';
SELECT mig_define('super', 'shop.projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('super', 'shop.rounds', 'project_rounds', columns => '{"ran_as": "shop.who(slug)"}');
SELECT action FROM mig_create();
SELECT action FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
UPDATE shop.rounds SET slug = 'by the superuser' WHERE id = 10;
SELECT DISTINCT ran_as FROM shop.project_rounds;
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT regexp_replace(relname, '\d+', 'N') AS relname, relowner::regrole FROM pg_class WHERE relname IN ('project_rounds', 'm' || (SELECT max(id) FROM mig.mapping) || '_forward') AND relowner <> 10 ORDER BY relname LIKE 'm%', relowner::regrole::text;
-- In the middle of a migration the extension stays; CASCADE takes the mirrors with it, and the application goes on.
\set VERBOSITY terse
DROP EXTENSION pg_mig;
\set VERBOSITY default
\echo :SQLSTATE
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION pg_mig CASCADE;
INSERT INTO shop.rounds (slug) VALUES ('without a mirror');
ROLLBACK;
SELECT action FROM mig_rollback('super', 'defined');
SELECT action FROM mig_drop('super');
DROP FUNCTION shop.who;
-- FORCE ROW LEVEL SECURITY would hide rows from the owner: refused.
ALTER TABLE shop.rounds FORCE ROW LEVEL SECURITY;
SET SESSION AUTHORIZATION mig_owner;
SELECT mig_define('forced');
SELECT mig_add_table('forced', 'shop.rounds', 'r2');
SELECT mig_create();
\echo :SQLSTATE
SELECT action FROM mig_drop('forced');
RESET SESSION AUTHORIZATION;
-- No function is SECURITY DEFINER, and each has its search_path pinned, or pins it itself (mirrors, the procedure that commits, and what reads its caller's).
SELECT count(*) FILTER (WHERE prosecdef) AS definer, string_agg(proname, ',') FILTER (WHERE proconfig IS NULL) AS unpinned
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'pg_mig';
SELECT count(*) AS without_comment FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
WHERE e.extname = 'pg_mig' AND obj_description(p.oid, 'pg_proc') IS NULL;
-- DROP EXTENSION goes when nothing is under way.
DROP OWNED BY mig_owner, mig_app, mig_stranger CASCADE;
DROP ROLE mig_owner, mig_app, mig_stranger;
DROP EXTENSION pg_mig;
SELECT to_regnamespace('mig') IS NULL AS gone;
-- A role that is no superuser installs it (the extension is trusted) and does everything.
CREATE ROLE mig_tenant LOGIN;
SELECT format('GRANT CREATE ON DATABASE %I TO mig_tenant', current_database()) \gexec
CREATE SCHEMA tenant AUTHORIZATION mig_tenant;
SET SESSION AUTHORIZATION mig_tenant;
SET search_path = tenant;
CREATE EXTENSION pg_mig;
CREATE TABLE projects (id int PRIMARY KEY);
INSERT INTO projects VALUES (1);
CREATE TABLE a (id serial PRIMARY KEY, v text);
INSERT INTO a (v) SELECT 'v' || g FROM generate_series(1, 1000) g;
CREATE TABLE b (id serial PRIMARY KEY, a_id int NOT NULL REFERENCES a ON DELETE CASCADE);
INSERT INTO b (a_id) SELECT id FROM a;
SELECT mig_define('tenant', 'projects', '1');
SELECT mig_add_table('tenant', 'a', 'project_a'), mig_add_table('tenant', 'b', 'project_b');
SELECT action FROM mig_create();
SELECT action FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
DELETE FROM a WHERE id < 10;
SELECT source, check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE;
SELECT count(*) FROM project_b;
SELECT phase, problem FROM mig_status();
SELECT action FROM mig_rollback('tenant', 'defined');
SELECT action FROM mig_drop('tenant');
DROP EXTENSION pg_mig;
RESET SESSION AUTHORIZATION;
RESET search_path;
DROP OWNED BY mig_tenant CASCADE;
DROP ROLE mig_tenant;
-- A schema of that name that is not ours makes the installation fail.
CREATE SCHEMA mig;
CREATE EXTENSION pg_mig;
\echo :SQLSTATE
DROP SCHEMA mig;
