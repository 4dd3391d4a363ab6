//! Tables, views and jobs that change hands.

use super::{EVIL, Stage};
use crate::common::patience::until;
use crate::wait::yes;
use postgres::Client;

#[test]
fn whoever_gets_a_table_gets_no_code_of_its_former_owner_s() {
    let stage = Stage::installed("it_stored_owner");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1::int'; \
         CREATE TABLE a.c (id int PRIMARY KEY, x text); GRANT INSERT ON a.c TO app; SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'a.f(x)', 'y::text', replaces => 'x'); SELECT mig_create('c'); SELECT mig_dual_write('c'); \
         CREATE TABLE a.t (id int PRIMARY KEY, x text); GRANT INSERT ON a.t TO app; SELECT mig_define('t'); \
         SELECT mig_add_table('t', 'a.t', 'a.t2', columns => '{\"y\": \"a.f(x)\", \"x\": null}'); SELECT mig_create('t'); SELECT mig_dual_write('t')",
    );
    // As long as the tables are their author's, all is well.
    stage.run(
        "app",
        "INSERT INTO a.c VALUES (1, '1'); INSERT INTO a.t VALUES (1, '1')",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.c OWNER TO postgres; ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.t2 OWNER TO postgres",
    );
    stage.run(
        "att",
        "CREATE OR REPLACE FUNCTION a.f(text) RETURNS int VOLATILE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN $1::int; END$$",
    );
    // Writes go on, and nothing but the application's own values is stored.
    for table in ["a.c", "a.t"] {
        stage.run("app", &format!("INSERT INTO {table} VALUES (2, '2')"));
        stage.require_no_new_superuser();
    }
    assert!(yes(
        &mut stage.admin(),
        "SELECT (SELECT count(*) FROM a.t2) = 1 AND (SELECT y IS NULL FROM a.c WHERE id = 2)"
    ));
    stage.run("postgres", "SELECT mig_detach('c'); SELECT mig_detach('t')");
    stage.run(
        "app",
        "INSERT INTO a.c VALUES (3, '3'); INSERT INTO a.t VALUES (3, '3')",
    );
}

/// Every step asks, not the triggers alone; and PostgreSQL's own functions can run what somebody stored.
#[test]
fn no_step_runs_a_former_owner_s_code_as_the_new_owner() {
    let stage = Stage::installed("it_stored_taken");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE VIEW a.ev AS SELECT a.evil() AS e; CREATE FUNCTION a.fine(int) RETURNS boolean LANGUAGE sql AS 'SELECT a.evil()'; \
         CREATE TABLE a.x (id int PRIMARY KEY, x text); INSERT INTO a.x VALUES (1, '1'); GRANT INSERT ON a.x TO app; SELECT mig_define('x'); \
         SELECT mig_add_table('x', 'a.x', 'a.x2', columns => '{\"y\": \"table_to_xml(''a.ev''::text::regclass, true, true, '''')::text\"}'); \
         SELECT mig_create('x'); SELECT mig_dual_write('x'); \
         CREATE TABLE a.k (id int PRIMARY KEY, x int CHECK (a.fine(x))); INSERT INTO a.k VALUES (1, 1); GRANT INSERT ON a.k TO app; SELECT mig_define('k'); \
         SELECT mig_add_table('k', 'a.k', 'a.k2'); SELECT mig_create('k'); SELECT mig_dual_write('k'); \
         CREATE FUNCTION a.f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1::int'; \
         CREATE TABLE a.c (id int PRIMARY KEY, x text); INSERT INTO a.c VALUES (1, '1'); SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'a.f(x)'); SELECT mig_create('c'); SELECT mig_dual_write('c')",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.x OWNER TO postgres; ALTER TABLE a.x2 OWNER TO postgres; ALTER TABLE a.k OWNER TO postgres; ALTER TABLE a.k2 OWNER TO postgres; \
         ALTER TABLE a.c OWNER TO postgres",
    );
    stage.run(
        "att",
        "CREATE OR REPLACE FUNCTION a.f(text) RETURNS int VOLATILE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN $1::int; END$$",
    );
    for table in ["a.x", "a.k"] {
        stage.code("app", &format!("INSERT INTO {table} VALUES (2, '2')"));
        stage.require_no_new_superuser();
    }
    for name in ["x", "k", "c"] {
        for call in [
            "mig_backfill('{}', 'manual')",
            "mig_step('{}', 60000)",
            "mig_check('{}')",
            "mig_repair('{}', dry_run => false)",
            "mig_checklist('{}')",
            "mig_switch('{}', true)",
        ] {
            stage.code("postgres", &format!("SELECT {}", call.replace("{}", name)));
            stage.require_no_new_superuser();
        }
        stage.run("postgres", &format!("SELECT mig_detach('{name}')"));
    }
}

#[test]
fn a_superuser_s_step_leaves_the_objects_of_others_alone() {
    let stage = Stage::installed("it_stored_others");
    stage.run("postgres", "GRANT CREATE ON SCHEMA public TO att, vic");
    // An index of another table has the name of one that is not built yet.
    stage.run(
        "att",
        "CREATE TABLE public.z (id int PRIMARY KEY, x int); CREATE INDEX ON public.z (x); SELECT mig_define('z'); \
         SELECT mig_add_table('z', 'public.z', 'public.z2'); SELECT mig_create('z'); SELECT mig_dual_write('z')",
    );
    stage.run(
        "vic",
        "CREATE TABLE public.other (x int); CREATE INDEX z2_x_idx ON public.other (x)",
    );
    stage.run("postgres", "SELECT mig_rollback('z')");
    let there: bool = stage
        .admin()
        .query_one("SELECT to_regclass('public.z2_x_idx') IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert!(there);
    // A forged archive names another role's view, a forged layout another migration's map.
    stage.run(
        "inst",
        "CREATE TABLE i.s (id int PRIMARY KEY, x int); CREATE INDEX ON i.s (x); SELECT mig_define('tpl'); \
         SELECT mig_add_table('tpl', 'i.s', 'i.t'); SELECT mig_create('tpl')",
    );
    stage.run("vic", "CREATE VIEW v.important AS SELECT 1 AS one");
    stage.run(
        "inst",
        "INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (950, 'forged', 'inst', 'archived'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, spec, layout, archived, copied) \
           OVERRIDING SYSTEM VALUE SELECT 950, 950, 1, source, target_schema, target_name, target, true, spec, layout, \
           '{\"name\": {\"schema\": \"v\", \"name\": \"important\"}, \"indexes\": [], \"sequences\": [], \"view\": true}', true \
           FROM mig.mapping p WHERE p.source = 'i.s'::regclass",
    );
    assert_ne!(
        stage.code("postgres", "SELECT mig_rollback('forged')"),
        "00000"
    );
    // An index whose text is no column's name is built by the owner alone.
    stage.run(
        "inst",
        "CREATE FUNCTION i.evil(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
           IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE inst SUPERUSER; END IF; RETURN true; END$$; \
         CREATE DOMAIN i.ed AS int CHECK (i.evil(VALUE)); CREATE TABLE i.g (id int PRIMARY KEY, x int); CREATE TABLE i.g2 (id int PRIMARY KEY, x int); \
         INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (951, 'g', 'inst', 'created'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, id_mode, spec, layout) OVERRIDING SYSTEM VALUE \
           SELECT 951, 951, 1, 'i.g'::regclass, 'i', 'g2', 'i.g2'::regclass, false, p.id_mode, p.spec, \
             jsonb_set(layout, '{indexes,0,columns,0,text}', to_jsonb('((''{1}''::i.ed[])[1])'::text)) FROM mig.mapping p WHERE p.source = 'i.s'::regclass AND p.id < 900; \
         CREATE VIEW mig.m951_forward AS SELECT g.id, g.x, g.id AS \"mig:k1\", g.ctid AS \"mig:ctid\", g.xmin AS \"mig:xmin\", g.cmin AS \"mig:cmin\" FROM i.g; \
         CREATE VIEW mig.m951_reverse AS SELECT g.id, g.x, g.id AS \"mig:k1\", g.ctid AS \"mig:ctid\", g.xmin AS \"mig:xmin\", g.cmin AS \"mig:cmin\" FROM i.g2 g",
    );
    for call in [
        "mig_dual_write('g')",
        "mig_backfill('g', 'manual')",
        "mig_step('g', 60000)",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
    let there: bool = stage
        .admin()
        .query_one("SELECT to_regclass('v.important') IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert!(there);
}

/// The views are not all that has to be handed over.
#[test]
fn a_former_owner_s_map_runs_nothing_as_the_new_owner() {
    let stage = Stage::installed("it_stored_handover");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN NEW; END$$; \
         CREATE TABLE a.t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, x text); INSERT INTO a.t (x) VALUES ('x'); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', id_mode => 'remap'); SELECT mig_create('m'); SELECT mig_dual_write('m'); \
         CREATE TRIGGER t BEFORE INSERT ON mig.m1_map FOR EACH ROW EXECUTE FUNCTION a.trg()",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.t2 OWNER TO postgres; \
         ALTER VIEW mig.m1_forward OWNER TO postgres; ALTER VIEW mig.m1_reverse OWNER TO postgres",
    );
    stage.run("postgres", "INSERT INTO a.t (x) VALUES ('y')");
    stage.require_no_new_superuser();
    assert!(yes(
        &mut stage.admin(),
        "SELECT count(*) = 0 FROM a.t2 WHERE x = 'y'"
    ));
}

/// A row that refers to a new id may write to the list of these ids, and the list's owner could put a trigger there.
#[test]
fn a_list_of_ids_of_another_owner_is_refused() {
    let stage = Stage::installed("it_stored_map_owner");
    stage.run("vic", "CREATE TABLE v.p (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); GRANT ALL ON v.p TO att");
    stage.run(
        "att",
        "CREATE TABLE a.c (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, p int REFERENCES v.p)",
    );
    stage.run(
        "postgres",
        "SELECT mig_define('m'); SELECT mig_add_table('m', 'v.p', 'v.p2', id_mode => 'remap'); \
         SELECT mig_add_table('m', 'a.c', 'a.c2', id_mode => 'remap')",
    );
    let found =
        "SELECT severity, detail FROM mig_preflight('m') WHERE check_name = 'different owners'";
    let found = stage.admin().query(found, &[]).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert!(
        matches!(found[..], [("error", detail)] if detail.contains("v.p, which belongs to role")),
        "{found:?}"
    );
    assert_eq!(stage.code("postgres", "SELECT mig_create('m')"), "55000");
    stage.run("postgres", "ALTER TABLE v.p OWNER TO att; GRANT ALL ON SCHEMA v TO att; SELECT mig_create('m'); SELECT mig_dual_write('m')");
    stage.run(
        "att",
        "INSERT INTO a.c (p) SELECT id FROM v.p; INSERT INTO v.p DEFAULT VALUES",
    );
}

/// Whoever stores an expression must have the rights that it runs with, also after the table got another owner.
#[test]
fn a_former_owner_s_expressions_run_as_nobody_else() {
    let stage = Stage::installed("it_stored_texts");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN $1; END$$; \
         CREATE TABLE a.t (id int PRIMARY KEY, x int); INSERT INTO a.t VALUES (1, 1); CREATE TABLE a.k (LIKE a.t INCLUDING ALL); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', columns => '{\"y\": \"a.f(x)\"}', filter => 'a.f(x) > 0'); \
         SELECT mig_define('c'); SELECT mig_add_column('c', 'a.k', 'y', 'int', up => 'a.f(x)', down => 'a.f(y)', replaces => 'x'); \
         SELECT mig_create('c'); SELECT mig_rollback('c', 'defined')",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.k OWNER TO postgres",
    );
    for migration in ["m", "c"] {
        for call in [
            "mig_preflight",
            "mig_create",
            "mig_dual_write",
            "mig_plan",
            "mig_ddl",
        ] {
            stage.code("postgres", &format!("SELECT {call}('{migration}')"));
            stage.require_no_new_superuser();
        }
        for call in ["mig_preflight", "mig_create"] {
            let call = format!("SELECT {call}('{migration}')");
            assert_eq!(stage.code("postgres", &call), "55000", "{call}");
        }
    }
    // The owner takes them over by giving them.
    stage.run(
        "postgres",
        "SELECT mig_drop('m'); SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', columns => '{\"y\": \"x + 1\"}'); SELECT mig_create('m')",
    );
}

/// An index job of one role does not run as the table's next owner.
#[test]
fn a_job_of_a_former_owner_does_not_run_as_the_new_one() {
    let stage = Stage::installed("it_stored_job");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE TABLE a.t (id int PRIMARY KEY, x text); INSERT INTO a.t VALUES (1, '1'); CREATE TABLE a.go (); GRANT SELECT ON a.go TO PUBLIC; \
         CREATE FUNCTION a.ex() RETURNS void LANGUAGE plpgsql AS $$BEGIN \
           IF to_regclass('a.begun') IS NULL THEN RETURN; END IF; \
           IF current_user = 'att' THEN RAISE EXCEPTION USING ERRCODE = '55P03', MESSAGE = 'wait'; END IF; PERFORM a.evil(); END$$; \
         CREATE FUNCTION a.f(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.ex(); RETURN $1; END$$; \
         BEGIN; SELECT mig_create_index($$CREATE INDEX tix ON a.t ((x || a.f('k')))$$); CREATE TABLE a.begun (); COMMIT",
    );
    let mut admin = stage.admin();
    let job = |admin: &mut Client, wanted: &str| -> bool {
        let sql = format!("SELECT EXISTS (SELECT FROM mig.jobs WHERE {wanted})");
        admin.query_one(&sql, &[]).unwrap().get(0)
    };
    until("the job waits", || {
        job(&mut admin, "waiting_for IS NOT NULL")
    });
    stage.run("postgres", "ALTER TABLE a.t OWNER TO postgres");
    until("the job has ended", || job(&mut admin, "state = 'failed'"));
    stage.require_no_new_superuser();
    assert!(job(&mut admin, "error ~ 'postgres'"));
}

/// The target may get another owner, whose triggers then meet our writes.
#[test]
fn a_target_s_new_owner_gets_no_writes_of_the_source_s() {
    let stage = Stage::installed("it_stored_new_owner");
    stage.run(
        "vic",
        "CREATE TABLE v.q (id int PRIMARY KEY, x int, g int GENERATED ALWAYS AS (x) STORED); INSERT INTO v.q VALUES (1, 1); \
         CREATE TABLE v.secret (x int); SELECT mig_define('m'); SELECT mig_add_table('m', 'v.q', 'v.q2'); SELECT mig_create('m'); \
         SELECT mig_dual_write('m'); SELECT mig_backfill('m', 'manual'); GRANT ALL ON SCHEMA v TO att",
    );
    stage.run("postgres", "ALTER TABLE v.q2 OWNER TO att");
    stage.run(
        "att",
        "CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF current_user = 'vic' THEN GRANT SELECT ON v.secret TO att; END IF; RETURN NEW; END$$; \
         GRANT ALL ON v.q2 TO vic; CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON v.q2 FOR EACH ROW EXECUTE FUNCTION a.trg()",
    );
    for call in [
        "INSERT INTO v.q VALUES (2, 2)",
        "SELECT mig_step('m', 1000)",
        "SELECT mig_check('m')",
        "SELECT mig_repair('m', dry_run => false)",
        "SELECT mig_rollback('m', 'created')",
    ] {
        stage.code("vic", call);
    }
    let granted: bool = stage
        .admin()
        .query_one(
            "SELECT has_table_privilege('att', 'v.secret', 'SELECT')",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(!granted);
}

/// A default is in no view, and a view that is handed over may say something else than the stored text.
#[test]
fn a_text_that_is_in_no_view_needs_its_author() {
    let stage = Stage::installed("it_stored_default");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.d() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN 1; END$$; \
         CREATE FUNCTION a.f(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN true; END$$; \
         CREATE TABLE a.k (id int PRIMARY KEY, x int); INSERT INTO a.k VALUES (1, 1); \
         SELECT mig_define('c'); SELECT mig_add_column('c', 'a.k', 'y', 'int', up => 'x', down => 'y', column_default => 'a.d()', replaces => 'x'); \
         SELECT mig_create('c'); SELECT mig_dual_write('c'); SELECT mig_backfill('c', 'manual'); SELECT mig_step('c', 60000); SELECT mig_switch('c'); \
         CREATE TABLE a.t (id int PRIMARY KEY, x int); INSERT INTO a.t VALUES (1, 1); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', unique_keys => '[[\"x\"]]', filter => 'a.f(x)'); SELECT mig_create('m'); \
         CREATE OR REPLACE RULE \"_RETURN\" AS ON SELECT TO mig.m1_forward DO INSTEAD \
           SELECT t.id, t.x, t.id AS \"mig:k1\", t.ctid AS \"mig:ctid\", t.xmin AS \"mig:xmin\", t.cmin AS \"mig:cmin\" FROM a.t",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.k OWNER TO postgres; ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.t2 OWNER TO postgres; \
         ALTER VIEW mig.m1_forward OWNER TO postgres; ALTER VIEW mig.m1_reverse OWNER TO postgres; ALTER VIEW mig.columns_1 OWNER TO postgres",
    );
    for call in [
        "mig_stop('c')",
        "mig_preflight('m')",
        "mig_dual_write('m')",
        "mig_plan('m')",
        "mig_rollback('m', 'defined')",
        "mig_create('m')",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.code("postgres", "INSERT INTO a.k (id) VALUES (7)");
        stage.require_no_new_superuser();
    }
}

/// A job that goes on for another role looks names up where that role does.
#[test]
fn a_job_that_is_taken_over_has_the_path_of_its_new_role() {
    let stage = Stage::installed("it_stored_path");
    stage.run(
        "att",
        "CREATE FUNCTION a.f(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; GRANT USAGE ON SCHEMA a TO vic; \
         CREATE TABLE a.t (id int PRIMARY KEY, x text); INSERT INTO a.t VALUES (1, 'x')",
    );
    stage.run(
        "vic",
        "CREATE FUNCTION v.f(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'",
    );
    let mut holder = stage.as_role("att");
    holder
        .batch_execute("BEGIN; LOCK a.t IN ROW EXCLUSIVE MODE")
        .unwrap();
    stage.run(
        "att",
        "SET search_path = a, i; SELECT mig_add_check('a.t', 'c', 'f(x)')",
    );
    let mut admin = stage.admin();
    let is = |admin: &mut Client, sql: &str| -> bool { admin.query_one(sql, &[]).unwrap().get(0) };
    until("the worker waits for the table", || {
        is(
            &mut admin,
            "SELECT EXISTS (SELECT FROM mig.jobs WHERE at_work AND waiting_for IS NOT NULL)",
        )
    });
    admin
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'pg_mig%'")
        .unwrap();
    until("the worker is gone", || {
        is(
            &mut admin,
            "SELECT NOT EXISTS (SELECT FROM mig.jobs WHERE at_work)",
        )
    });
    holder.batch_execute("COMMIT").unwrap();
    stage.run("postgres", "ALTER TABLE a.t OWNER TO vic");
    stage.run(
        "vic",
        "SET search_path = v, i; SELECT mig_add_check('a.t', 'c', 'f(x)')",
    );
    until("the job has ended", || {
        is(
            &mut admin,
            "SELECT NOT EXISTS (SELECT FROM mig.jobs WHERE state NOT IN ('done', 'failed'))",
        )
    });
    assert!(is(
        &mut admin,
        "SELECT pg_get_constraintdef(oid) LIKE '%v.f(%' FROM pg_constraint WHERE conname = 'c'"
    ));
}
