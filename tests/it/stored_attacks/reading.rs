//! Code that PostgreSQL runs where a table is only read, and code that runs inside our own steps.

use super::{EVIL, Stage, migrated};
use crate::common::patience::until;

/// A constant in an index predicate is computed by whoever plans a query of the table.
const INDEX_OF_EVIL: &str = "CREATE FUNCTION a.ev() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN 1; END$$";

#[test]
fn an_index_predicate_of_another_role_s_table_runs_as_nobody_else() {
    let stage = Stage::installed("it_stored_index");
    stage.run("att", &format!("{EVIL}; {INDEX_OF_EVIL}"));
    stage.run(
        "att",
        "CREATE TABLE a.users (id int PRIMARY KEY); INSERT INTO a.users VALUES (1); GRANT ALL ON a.users TO PUBLIC; \
         CREATE INDEX ON a.users (id) WHERE a.ev() = 1",
    );
    stage.run(
        "postgres",
        "GRANT ALL ON SCHEMA public TO att; CREATE TABLE public.q (id int PRIMARY KEY, u int); INSERT INTO public.q VALUES (1, 1); \
         CREATE TABLE public.k (id int PRIMARY KEY, u int); INSERT INTO public.k VALUES (1, 1); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'public.q', 'public.q2'); \
         SELECT mig_define('r'); SELECT mig_add_table('r', 'public.k', 'public.k2', refs => '{\"u\": \"a.users\"}')",
    );
    stage.run(
        "att",
        "CREATE TABLE public.q2 (id int PRIMARY KEY, u int); GRANT ALL ON public.q2 TO PUBLIC; CREATE INDEX ON public.q2 (id) WHERE a.ev() = 1",
    );
    for call in [
        "mig_preflight('m')",
        "mig_create('m')",
        "mig_preflight('r')",
        "mig_create('r')",
        "mig_dual_write('r')",
        "mig_backfill('r', 'manual')",
        "mig_step('r', 60000)",
        "mig_check('r')",
        "mig_checklist('r')",
        "mig_switch('r', true)",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
    let count = |sql: &str| -> i64 { stage.admin().query_one(sql, &[]).unwrap().get(0) };
    let found = "SELECT count(*) FROM mig_preflight('m') WHERE check_name = 'target of another owner' AND severity = 'error'";
    assert_eq!(count(found), 1);
    // What cannot be read is said.
    let hidden = "SELECT count(*) FROM mig_check('r') WHERE source_value = 'not readable'";
    assert_eq!(count(hidden), 1);
    assert_eq!(
        count("SELECT count(*) FROM mig_status('r') WHERE phase = 'switched'"),
        1
    );
}

#[test]
fn a_scope_table_s_index_does_nothing_in_the_writer_s_session() {
    let stage = Stage::installed("it_stored_scope");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE TABLE a.pr (id int PRIMARY KEY); INSERT INTO a.pr VALUES (1); GRANT SELECT, REFERENCES ON a.pr TO PUBLIC",
    );
    stage.run(
        "vic",
        "CREATE TABLE v.t (id int PRIMARY KEY, x text); INSERT INTO v.t VALUES (1, 'x'); \
         CREATE TABLE v.t2 (pr int NOT NULL REFERENCES a.pr, id int, x text, PRIMARY KEY (pr, id)); SELECT mig_define('m', 'a.pr', '1', 'pr'); \
         SELECT mig_add_table('m', 'v.t', 'v.t2'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
    );
    stage.run(
        "att",
        "CREATE TABLE a.later (x int); GRANT ALL ON a.later TO PUBLIC; \
         CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN NULL; END$$; \
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION a.trg(); \
         CREATE FUNCTION a.ex() RETURNS void LANGUAGE plpgsql AS $$BEGIN INSERT INTO a.later VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END$$; \
         CREATE FUNCTION a.ev() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.ex(); RETURN 1; END$$; \
         CREATE INDEX ON a.pr (id) WHERE a.ev() = 1",
    );
    // PostgreSQL's own check of a foreign key runs such code in the writer's session; rows that are written below SQL need none.
    stage.run("postgres", "INSERT INTO v.t VALUES (3, 'q'), (4, 'q')");
    stage.require_no_new_superuser();
}

#[test]
fn a_cast_of_a_type_s_owner_runs_as_nobody_else() {
    let stage = Stage::installed("it_stored_cast");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE TYPE a.mood AS ENUM ('x', 'y'); GRANT USAGE ON TYPE a.mood TO PUBLIC",
    );
    stage.run(
        "postgres",
        "CREATE TABLE public.q (id int PRIMARY KEY, m a.mood[]); INSERT INTO public.q VALUES (1, '{x}'); \
         CREATE TABLE public.k (m a.mood PRIMARY KEY, x text); INSERT INTO public.k VALUES ('x', 'o'); \
         SELECT mig_define('p'); SELECT mig_add_table('p', 'public.q', 'public.q2'); SELECT mig_add_table('p', 'public.k', 'public.k2'); \
         SELECT mig_create('p'); SELECT mig_dual_write('p')",
    );
    let mut writer = stage.as_role("postgres");
    writer.batch_execute("UPDATE public.k SET x = 'p'").unwrap();
    stage.run(
        "att",
        "CREATE FUNCTION a.cj(a.mood) RETURNS json IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN '1'; END$$; \
         CREATE FUNCTION a.ct(a.mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN 'x'; END$$; \
         CREATE CAST (a.mood AS json) WITH FUNCTION a.cj(a.mood); CREATE CAST (a.mood AS text) WITH FUNCTION a.ct(a.mood) AS ASSIGNMENT",
    );
    for write in [
        "UPDATE public.k SET x = 'q'",
        "UPDATE public.q SET m = '{y}'",
    ] {
        let _ = writer.batch_execute(write);
        stage.require_no_new_superuser();
    }
    for call in [
        "mig_backfill('p', 'manual')",
        "mig_step('p', 60000)",
        "mig_check('p')",
        "mig_diff('p', 'public.k')",
        "mig_repair('p', dry_run => false)",
        "mig_switch('p')",
        "mig_rollback('p', 'created')",
        "mig_dual_write('p')",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
}

/// A lock of names holds against other sessions. In the step's own session no trigger of a user fires.
#[test]
fn a_step_s_triggers_land_on_no_other_table() {
    let stage = Stage::installed("it_stored_inside");
    stage.run(
        "att",
        "CREATE SCHEMA b; GRANT ALL ON SCHEMA b TO vic; \
         CREATE TABLE a.people (id serial PRIMARY KEY, mail text NOT NULL UNIQUE); \
         CREATE TABLE a.al (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, mail text NOT NULL UNIQUE); \
         INSERT INTO a.people (mail) VALUES ('m1'), ('m2'); INSERT INTO a.al (mail) VALUES ('m1')",
    );
    stage.run(
        "vic",
        "CREATE TABLE b.people (id serial PRIMARY KEY, mail text NOT NULL UNIQUE)",
    );
    stage.run(
        "att",
        "SELECT mig_define('m'); SELECT mig_add_table('m', 'a.people', 'a.al', id_mode => 'remap', unique_keys => '[[\"mail\"]]'); SELECT mig_create('m'); \
         CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
           IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'a.people'::regclass AND mode = 'ShareRowExclusiveLock') \
           THEN ALTER SCHEMA a RENAME TO x; ALTER SCHEMA b RENAME TO a; END IF; RETURN NULL; END$$; \
         CREATE TRIGGER t AFTER INSERT ON mig.m1_map FOR EACH STATEMENT EXECUTE FUNCTION a.trg()",
    );
    stage.run("att", "SELECT mig_dual_write('m')");
    assert_eq!(stage.code("att", "SELECT 'x.people'::regclass"), "3F000");
    assert_eq!(stage.triggers_of_ours("b.people"), 0);
}

/// The canary writes as applications do, over tables of others.
#[test]
fn the_canary_tries_roles_that_own_nothing() {
    let stage = Stage::installed("it_stored_canary");
    // Only roles that the owner may become are tried.
    stage.run("postgres", "GRANT app TO vic");
    stage.run(
        "vic",
        "CREATE TABLE v.t (id int PRIMARY KEY, x text); INSERT INTO v.t VALUES (1, 'x'); GRANT ALL ON v.t TO app; \
         CREATE FUNCTION v.remember() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('my.role', current_user, true); RETURN NEW; END$$; \
         CREATE TRIGGER s BEFORE INSERT OR UPDATE ON v.t FOR EACH ROW EXECUTE FUNCTION v.remember(); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'v.t', 'v.t2'); SELECT mig_create('m'); \
         CREATE FUNCTION v.accept() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
           IF current_setting('my.role', true) = 'app' THEN RAISE 'no'; END IF; RETURN true; END$$; \
         ALTER TABLE v.t2 ADD CONSTRAINT s CHECK (v.accept())",
    );
    assert_eq!(
        stage.code("postgres", "SELECT mig_dual_write('m')"),
        "55000"
    );
    stage.run("app", "UPDATE v.t SET x = 'y'");
}

/// A role that loses another's privileges loses them in open sessions, too.
#[test]
fn an_open_session_s_mirror_follows_a_role_s_rights() {
    let stage = Stage::installed("it_stored_inherit");
    stage.run("postgres", "GRANT vic TO att");
    stage.run("vic", &migrated("v.t", "m", "dual_write"));
    stage.run("postgres", "GRANT ALL ON v.t TO att");
    let mut session = stage.as_role("att");
    session
        .batch_execute("INSERT INTO v.t VALUES (101, 1)")
        .unwrap();
    stage.run("postgres", "ALTER TABLE v.t OWNER TO att");
    let before = session.batch_execute("INSERT INTO v.t VALUES (102, 1)");
    stage.run("postgres", "ALTER ROLE att NOINHERIT");
    let mut fresh = stage.as_role("att");
    let expected = fresh
        .batch_execute("INSERT INTO v.t VALUES (103, 1)")
        .is_ok();
    let after = session
        .batch_execute("INSERT INTO v.t VALUES (104, 1)")
        .is_ok();
    assert_eq!(after, expected, "{before:?}");
}

/// While a step holds its tables, their schemas keep their names, also if they had others at the first try.
#[test]
fn names_are_held_whenever_the_lock_is_had() {
    let stage = Stage::installed("it_stored_held");
    stage.run("att", &migrated("a.t", "m", "created"));
    let mut holder = stage.as_role("att");
    holder
        .batch_execute("BEGIN; LOCK a.t IN ROW EXCLUSIVE MODE")
        .unwrap();
    let mut step = stage.as_role("att");
    let pid: i32 = step
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let step = std::thread::spawn(move || {
        step.batch_execute("BEGIN; SELECT mig_dual_write('m')")
            .unwrap();
        step
    });
    let mut admin = stage.admin();
    let mut waits = |what: &str| {
        until(what, || {
            let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'relation' AND NOT granted)";
            admin.query_one(sql, &[&pid]).unwrap().get(0)
        });
    };
    waits("the step waits");
    stage.run("att", "ALTER SCHEMA a RENAME TO x");
    waits("the step waits again");
    stage.run("att", "ALTER SCHEMA x RENAME TO a");
    holder.batch_execute("COMMIT").unwrap();
    let _step = step.join().unwrap();
    let code = stage.code(
        "att",
        "SET lock_timeout = '300ms'; ALTER SCHEMA a RENAME TO stolen",
    );
    assert_eq!(code, "55P03");
}

/// A value becomes one of a type with the rights of whoever converts it, and the type can be another role's.
#[test]
fn a_type_of_another_role_runs_no_code_of_its_own() {
    let stage = Stage::installed("it_stored_types");
    stage.run("att", EVIL);
    let deep: String = (1..12)
        .map(|n| format!("CREATE TYPE a.r{n} AS (f a.r{}); ", n - 1))
        .collect();
    stage.run(
        "att",
        &format!(
            "CREATE DOMAIN a.dom AS int; CREATE TYPE a.mood AS ENUM ('x', 'y'); CREATE TYPE a.inner_mood AS ENUM ('x'); \
             CREATE TYPE a.r0 AS (f a.inner_mood); {deep}"
        ),
    );
    stage.run(
        "postgres",
        "CREATE TABLE public.pr (id a.dom PRIMARY KEY, x text); INSERT INTO public.pr VALUES (1, 'x'); \
         GRANT SELECT, REFERENCES ON public.pr TO att; \
         CREATE TABLE public.l (id int PRIMARY KEY, m a.mood[]); INSERT INTO public.l VALUES (1, '{x}'); \
         CREATE TABLE public.d (id int PRIMARY KEY, r a.r11); INSERT INTO public.d VALUES (1, NULL); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'public.pr', 'public.pr2'); SELECT mig_add_table('m', 'public.l', 'public.l2'); \
         SELECT mig_add_table('m', 'public.d', 'public.d2'); SELECT mig_create('m'); SELECT mig_dual_write('m'); GRANT SELECT ON public.pr2 TO att",
    );
    stage.run(
        "att",
        "CREATE FUNCTION a.ev() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN 1; END$$; \
         ALTER DOMAIN a.dom ADD CHECK (a.ev() = 1) NOT VALID; \
         CREATE FUNCTION a.ct(a.mood[]) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN 'x'; END$$; \
         CREATE CAST (a.mood[] AS text) WITH FUNCTION a.ct(a.mood[]); \
         CREATE FUNCTION a.cj(a.inner_mood) RETURNS json LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN '1'; END$$; \
         CREATE CAST (a.inner_mood AS json) WITH FUNCTION a.cj(a.inner_mood)",
    );
    for (role, call) in [
        ("att", "mig_define('s', 'public.pr', '1', 'pr')"),
        ("att", "mig_map('m', 'public.pr', '1')"),
        ("postgres", "mig_backfill('m', 'manual')"),
        ("postgres", "mig_step('m', 60000)"),
        ("postgres", "mig_check('m')"),
        ("postgres", "mig_checklist('m')"),
        ("postgres", "mig_diff('m', 'public.pr')"),
        ("postgres", "mig_diff('m', 'public.l')"),
        ("postgres", "mig_diff('m', 'public.d')"),
        ("postgres", "mig_repair('m', dry_run => false)"),
        ("postgres", "mig_switch('m', true)"),
        ("postgres", "mig_rollback('m', 'created')"),
        ("postgres", "mig_dual_write('m')"),
    ] {
        stage.code(role, &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
    // The owner of the types can be one who has the rights.
    stage.run(
        "postgres",
        "ALTER DOMAIN a.dom OWNER TO postgres; DROP CAST (a.mood[] AS text); DROP CAST (a.inner_mood AS json); \
         ALTER DOMAIN a.dom DROP CONSTRAINT dom_check; SELECT mig_dual_write('m'); SELECT mig_backfill('m', 'manual'); SELECT mig_step('m', 60000); SELECT mig_assert('m')",
    );
}

/// PostgreSQL looks at a type's nesting when it is made, and not when one in the middle grows.
#[test]
fn types_nested_deeper_than_the_stack_end_in_an_answer() {
    const SEGMENTS: usize = 6;
    const DEEP: usize = 2500;
    let stage = Stage::installed("it_stored_nested");
    let mut att = stage.as_role("att");
    for s in 0..=SEGMENTS {
        att.batch_execute(&format!("CREATE TYPE a.g{s} AS ()"))
            .unwrap();
    }
    att.batch_execute(&format!(
        "CREATE TABLE a.t (id int PRIMARY KEY, x a.g{SEGMENTS}); INSERT INTO a.t VALUES (1)"
    ))
    .unwrap();
    for s in (1..=SEGMENTS).rev() {
        att.batch_execute(&format!("CREATE DOMAIN a.g{s}_0 AS a.g{}", s - 1))
            .unwrap();
        for first in (1..=DEEP).step_by(500) {
            att.batch_execute(&format!(
                "DO $$BEGIN FOR i IN {first}..{} LOOP EXECUTE format('CREATE DOMAIN a.g{s}_%s AS a.g{s}_%s[]', i, i - 1); END LOOP; END$$",
                first + 499
            ))
            .unwrap();
        }
        att.batch_execute(&format!("ALTER TYPE a.g{s} ADD ATTRIBUTE x a.g{s}_{DEEP}"))
            .unwrap();
    }
    assert_eq!(
        stage.code("att", "SELECT mig_define('sc', 'a.t', '1', 'id')"),
        "00000"
    );
}

/// A mirror locks the rows that its row refers to. The parent belongs to another role, whose index has a function in its condition.
#[test]
fn an_index_of_the_parent_runs_nothing_when_a_child_is_written() {
    let stage = Stage::installed("it_parents_index");
    stage.run("att", &format!("{EVIL}; {INDEX_OF_EVIL}"));
    stage.run(
        "att",
        "CREATE TABLE a.p (id int NOT NULL); CREATE UNIQUE INDEX ON a.p (id) WHERE a.ev() = 1; ALTER TABLE a.p ADD PRIMARY KEY (id); \
         INSERT INTO a.p VALUES (1); GRANT SELECT, REFERENCES ON a.p TO vic; \
         SELECT mig_define('p'); SELECT mig_add_table('p', 'a.p', 'a.p2'); SELECT mig_create('p'); SELECT mig_dual_write('p')",
    );
    stage.run(
        "vic",
        "CREATE TABLE v.c (id int PRIMARY KEY, p_id int REFERENCES a.p); \
         SELECT mig_define('c'); SELECT mig_add_table('c', 'v.c', 'v.c2'); SELECT mig_create('c'); SELECT mig_dual_write('c')",
    );
    let mut vic = stage.as_role("vic");
    vic.batch_execute("CALL mig_run('c')").unwrap();
    vic.batch_execute("SELECT mig_switch('c')").unwrap();
    stage
        .admin()
        .batch_execute("INSERT INTO v.c VALUES (1, 1); INSERT INTO v.c2 VALUES (2, 1); UPDATE v.c SET p_id = NULL")
        .unwrap();
    stage.require_no_new_superuser();
}
