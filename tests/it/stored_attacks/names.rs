//! Names that mean something else at the next moment, and names of others.

use super::{EVIL, Stage, migrated};
use crate::common::patience::until;

#[test]
fn nobody_stops_the_writes_of_a_table_that_is_not_his() {
    let stage = Stage::installed("it_stored_triggers");
    for (table, name, phase) in [
        ("a.t", "m", "dual_write"),
        ("a.b", "b", "backfilled"),
        ("a.s", "n", "stopped"),
    ] {
        stage.run("att", &migrated(table, name, phase));
    }
    stage.run(
        "att",
        "CREATE TABLE a.c (id int PRIMARY KEY, x text); SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'x::int', 'y::text', replaces => 'x'); SELECT mig_create('c'); SELECT mig_dual_write('c')",
    );
    let tables = ["a.t", "a.b", "a.s", "a.c"];
    for table in tables {
        stage.run("postgres", &format!("ALTER TABLE {table} OWNER TO vic"));
        stage.run(
            "vic",
            &format!(
                "DO $$DECLARE n name; BEGIN FOR n IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgname ~ 'mig_' LOOP \
                   EXECUTE format('DROP TRIGGER %I ON {table}', n); END LOOP; END$$"
            ),
        );
    }
    for call in [
        "mig_dual_write('m')",
        "mig_dual_write('b')",
        "mig_switch('b', true)",
        "mig_stop('n')",
        "mig_rollback('n')",
        "mig_dual_write('c')",
        "mig_switch('c', true)",
        "mig_detach('m')",
    ] {
        stage.code("att", &format!("SELECT {call}"));
        for table in tables {
            assert_eq!(stage.triggers_of_ours(table), 0, "{call}: {table}");
        }
    }
    stage.run(
        "vic",
        "INSERT INTO a.t VALUES (100, 1); INSERT INTO a.b VALUES (100, 1); INSERT INTO a.s VALUES (100, 1); INSERT INTO a.c (id, x) VALUES (100, '1')",
    );
}

#[test]
fn nobody_learns_keys_or_takes_names_of_others() {
    let stage = Stage::installed("it_stored_names");
    stage.run(
        "vic",
        "CREATE TABLE v.people (ssn text PRIMARY KEY, name text); INSERT INTO v.people VALUES ('123', 'bob'); GRANT SELECT (name) ON v.people TO att; \
         CREATE TABLE v.hidden (id int PRIMARY KEY); INSERT INTO v.hidden VALUES (1); ALTER TABLE v.hidden ENABLE ROW LEVEL SECURITY; \
         GRANT SELECT ON v.hidden TO att; CREATE TABLE v.open (id int PRIMARY KEY); INSERT INTO v.open VALUES (1); GRANT REFERENCES (id) ON v.open TO att",
    );
    for (n, (table, value, code)) in [
        ("v.people", "123", "42501"),
        ("v.people", "124", "42501"),
        ("v.hidden", "1", "42501"),
        ("v.hidden", "2", "42501"),
        ("v.open", "1", "00000"),
        ("v.open", "2", "22023"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = format!("SELECT mig_define('o{n}', '{table}', '{value}')");
        assert_eq!(stage.code("att", &call), code, "{call}");
    }
    stage.run(
        "att",
        "CREATE TABLE a.x (id int PRIMARY KEY); SELECT mig_define('sq')",
    );
    for (target, code) in [
        ("v.t2", "42501"),
        ("v.people", "42501"),
        ("nowhere.t", "3F000"),
        ("a.t2", "00000"),
    ] {
        let call = format!("SELECT mig_add_table('sq', 'a.x', '{target}')");
        assert_eq!(stage.code("att", &call), code, "{call}");
    }
    // Jobs of others are not there.
    stage.run("vic", "CREATE TABLE v.j (id int PRIMARY KEY, x int)");
    let mut vic = stage.as_role("vic");
    let job: i64 = vic
        .query_one("SELECT mig_set_not_null('v.j', 'x')", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        stage.code("stranger", &format!("SELECT mig_wait({job})")),
        "42704"
    );
    stage.run("vic", &format!("SELECT mig_wait({job})"));
}

/// A plan names its tables, and a schema can get another name while a session keeps the plan.
#[test]
fn a_schema_of_another_name_leads_a_mirror_to_no_other_table() {
    let stage = Stage::installed("it_stored_schema");
    stage.run("att", EVIL);
    stage.run(
        "postgres",
        "CREATE TABLE a.projects (id int PRIMARY KEY); INSERT INTO a.projects VALUES (1); GRANT SELECT, REFERENCES ON a.projects TO att",
    );
    stage.run(
        "att",
        "CREATE TABLE a.s (id int PRIMARY KEY, x text); INSERT INTO a.s VALUES (1, 'x'); SELECT mig_define('m', 'a.projects', '1'); \
         SELECT mig_add_table('m', 'a.s', 'a.s2'); SELECT mig_create('m'); \
         ALTER TABLE a.s2 ADD FOREIGN KEY (project_id) REFERENCES a.projects; SELECT mig_dual_write('m')",
    );
    let mut att = stage.as_role("att");
    att.batch_execute(
        "INSERT INTO a.s VALUES (10, 'n'); ALTER SCHEMA a RENAME TO b; CREATE SCHEMA a; CREATE TABLE a.pp AS SELECT 1 AS id; \
         CREATE VIEW a.projects AS SELECT id FROM a.pp WHERE b.evil()",
    )
    .unwrap();
    att.batch_execute("INSERT INTO b.s VALUES (11, 'n')")
        .unwrap();
    stage.require_no_new_superuser();
}

/// Between the check of a table and the planning of the statement that writes it, its name can become another table's.
#[test]
fn a_name_that_changes_hands_before_the_plan_is_made_leads_nowhere() {
    let stage = Stage::installed("it_stored_plan");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "GRANT ALL ON SCHEMA a TO postgres; CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN PERFORM b.evil(); RETURN NEW; END$$",
    );
    stage.run(
        "postgres",
        "CREATE TABLE a.t (id int PRIMARY KEY, x int); INSERT INTO a.t VALUES (1, 1); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t_new'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
    );
    let mut lock = stage.as_role("postgres");
    lock.batch_execute("BEGIN; INSERT INTO a.t_new VALUES (2, 9)")
        .unwrap();
    let mut writer = stage.as_role("postgres");
    let pid: i32 = writer
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let write = std::thread::spawn(move || writer.batch_execute("INSERT INTO a.t VALUES (2, 2)"));
    let mut admin = stage.admin();
    until("the write waits for the row of its key", || {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)";
        admin.query_one(sql, &[&pid]).unwrap().get(0)
    });
    stage.run(
        "att",
        "ALTER SCHEMA a RENAME TO b; CREATE SCHEMA a; CREATE TABLE a.t_new (id int PRIMARY KEY, x int); INSERT INTO a.t_new VALUES (2, 9); \
         CREATE TRIGGER t BEFORE INSERT OR UPDATE ON a.t_new FOR EACH ROW EXECUTE FUNCTION b.trg(); GRANT ALL ON SCHEMA a TO PUBLIC; \
         GRANT ALL ON a.t_new TO PUBLIC",
    );
    lock.batch_execute("COMMIT").unwrap();
    let written = write.join().unwrap();
    stage.require_no_new_superuser();
    let error = written.unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().code().code(),
        "42501",
        "{error:?}"
    );
}

/// A relation of another role under the name of a target is not read.
#[test]
fn a_view_under_the_target_s_name_runs_nothing() {
    let stage = Stage::installed("it_stored_target");
    stage.run("att", EVIL);
    stage.run(
        "postgres",
        "GRANT ALL ON SCHEMA public TO att; CREATE TABLE public.q (id int PRIMARY KEY, x int); INSERT INTO public.q VALUES (1, 1); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'public.q', 'public.q2')",
    );
    stage.run(
        "att",
        "CREATE VIEW public.q2 AS SELECT 1 AS id, 2 AS x WHERE a.evil()",
    );
    for call in ["mig_preflight", "mig_plan", "mig_ddl", "mig_create"] {
        stage.code("postgres", &format!("SELECT {call}('m')"));
        stage.require_no_new_superuser();
    }
    let found = "SELECT EXISTS (SELECT FROM mig_preflight('m') WHERE severity = 'error' AND check_name = 'kind of table')";
    assert!(
        stage
            .admin()
            .query_one(found, &[])
            .unwrap()
            .get::<_, bool>(0)
    );
    assert_eq!(stage.code("postgres", "SELECT mig_create('m')"), "0A000");
}
