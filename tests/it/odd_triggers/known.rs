//! Triggers that a session knows, and that change under it; and calls by hand.

use super::FUNCTIONS;
use crate::common::cluster::Cluster;
use postgres::Client;

/// The application's write, and what becomes of it.
fn write(app: &mut Client) -> String {
    match app.batch_execute("INSERT INTO t (id, v) VALUES (500, 'a'); DELETE FROM t WHERE id = 500")
    {
        Ok(()) => "passed".into(),
        Err(e) => e.code().expect("the connection lives").code().to_owned(),
    }
}

/// What is done to our trigger, and what the next write of a session says that has written before.
const CHANGES: [(&str, &str); 10] = [
    (
        "DROP TRIGGER \"!mig_1_forward_row\" ON t; CREATE TRIGGER \"!mig_1_forward_row\" AFTER INSERT OR UPDATE OR DELETE ON t \
      FOR EACH STATEMENT EXECUTE FUNCTION mig.mirror('1', 'forward')",
        "39P01",
    ),
    (
        "DROP TRIGGER \"!mig_1_forward_row\" ON t; CREATE TRIGGER \"!mig_1_forward_row\" BEFORE INSERT ON t \
      FOR EACH ROW EXECUTE FUNCTION mig.mirror('1', 'forward')",
        "39P01",
    ),
    (
        "DROP TRIGGER \"!mig_1_forward_row\" ON t; CREATE TRIGGER \"!mig_1_forward_row\" AFTER INSERT ON t \
      FOR EACH ROW EXECUTE FUNCTION mig.mirror('1', 'forward')",
        "42501",
    ),
    (
        "ALTER TRIGGER \"!mig_1_forward_row\" ON t RENAME TO other",
        "42501",
    ),
    (
        "UPDATE pg_trigger SET tgtype = tgtype | 2 WHERE tgname = '!mig_1_forward_row'",
        "39P01",
    ),
    (
        "UPDATE pg_trigger SET tgtype = tgtype & ~1::smallint WHERE tgname = '!mig_1_forward_row'",
        "39P01",
    ),
    (
        "UPDATE pg_trigger SET tgnargs = 0, tgargs = '' WHERE tgname = '!mig_1_forward_row'",
        "42501",
    ),
    (
        "UPDATE pg_trigger SET tgargs = '\\x2b3100666f727761726400' WHERE tgname = '!mig_1_forward_row'",
        "42501",
    ),
    (
        "UPDATE pg_trigger SET tgattr = '2' WHERE tgname = '!mig_1_forward_row'",
        "42501",
    ),
    (
        "UPDATE pg_trigger SET tgname = 'forward' WHERE tgname = '!mig_1_forward_row'",
        "42501",
    ),
];

#[test]
fn a_session_sees_what_became_of_a_trigger_that_it_knows() {
    let cluster = Cluster::start("it_odd_known", "");
    for (n, (change, expected)) in CHANGES.iter().enumerate() {
        let database = format!("known_{n}");
        let mut client = cluster.database(&database);
        client
            .batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't_new')")
            .unwrap();
        for step in ["create", "dual_write"] {
            client
                .batch_execute(&format!("SELECT mig_{step}('m')"))
                .unwrap();
        }
        let mut app = cluster.connect(&database);
        assert_eq!(write(&mut app), "passed");
        client
            .batch_execute(&format!(
                "SET allow_system_table_mods = on; {change}; ALTER TABLE t SET (fillfactor = 90)"
            ))
            .unwrap();
        assert_eq!(write(&mut app), *expected, "{change}");
        // What the HINT says helps.
        client.batch_execute("SELECT mig_detach('m')").unwrap();
        if !change.contains("tgname = '") && !change.contains("RENAME") || change.contains("tgattr")
        {
            assert_eq!(write(&mut app), "passed", "{change}");
        }
    }
}

#[test]
fn our_functions_are_called_by_nobody_but_triggers() {
    let cluster = Cluster::start("it_odd_calls", "");
    let mut client = cluster.database("calls");
    for function in FUNCTIONS {
        let code = |client: &mut Client, sql: &str| {
            let refused = client.batch_execute(sql).expect_err("it is refused");
            refused
                .code()
                .expect("the connection lives")
                .code()
                .to_owned()
        };
        assert_eq!(
            code(&mut client, &format!("SELECT mig.{function}()")),
            "0A000"
        );
        assert_eq!(
            code(
                &mut client,
                &format!(
                    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION mig.{function}()"
                )
            ),
            "42P17"
        );
    }
}
