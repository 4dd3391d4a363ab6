//! A table that another one replaces under its name, as tools that swap tables do: named at once, the application gets its writes back, the
//! ways back work, and no trigger of ours is left anywhere.

use crate::common::cluster::Cluster;
use crate::wait::{refused, yes};
use postgres::Client;

const PHASES: [&str; 5] = ["created", "dual_write", "backfilled", "switched", "stopped"];

/// How a table is replaced: whether the old one is dropped, and whether the new one gets its triggers.
const WAYS: [(bool, bool); 3] = [(true, true), (false, true), (false, false)];

fn start(name: &'static str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut client = cluster.connect("postgres");
    client.batch_execute(include_str!("replace.sql")).unwrap();
    (cluster, client)
}

/// Goes on to a phase, in a schema of its own that has the migration's name.
fn advance(client: &mut Client, m: &str, phase: &str) {
    for (reached, call) in [
        ("created", "mig_create"),
        ("dual_write", "mig_dual_write"),
        ("backfilled", ""),
        ("switched", "mig_switch"),
        ("stopped", "mig_stop"),
    ] {
        match call {
            "" => while yes(client, &format!("SELECT mig_step('{m}', 10000) > 0")) {},
            call => client
                .batch_execute(&format!("SELECT {call}('{m}')"))
                .unwrap(),
        }
        if reached == phase {
            return;
        }
    }
}

fn define(client: &mut Client, m: &str) {
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {m}; SET search_path = {m}, public; CREATE TABLE items (id int PRIMARY KEY, v text); \
             INSERT INTO items SELECT g, 'v' FROM generate_series(1, 5) g; SELECT mig_define('{m}'); SELECT mig_add_table('{m}', 'items', 'items_new')"
        ))
        .unwrap();
}

fn next_step(client: &mut Client, m: &str) -> String {
    let sql = format!("SELECT next_step FROM mig_status('{m}')");
    client.query_one(&sql, &[]).unwrap().get(0)
}

/// Nothing of ours is left in the schema.
fn assert_nothing_left(client: &mut Client, m: &str) {
    let left = format!(
        "SELECT count(*) = 0 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = '{m}'::regnamespace AND t.tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'mig'::regnamespace)"
    );
    assert!(yes(client, &left), "{m}");
}

/// A write passes, or its error says how the application gets its writes back.
fn write(client: &mut Client, m: &str, table: &str) {
    if let Err(e) = client.batch_execute(&format!("UPDATE {table} SET v = 'w' WHERE id = 1")) {
        let db = e.as_db_error().unwrap();
        let hint = db.hint().unwrap_or_default();
        assert!(
            hint.contains("mig_detach") || hint.starts_with("Write to"),
            "{m}: {db:?}"
        );
    }
}

#[test]
fn a_table_that_was_replaced_is_named_and_leaves_no_trigger() {
    let (_cluster, mut client) = start("it_replaced");
    let mut n = 0;
    for phase in PHASES {
        for side in ["items", "items_new"] {
            for (drops, triggers) in WAYS {
                n += 1;
                let m = format!("m{n}_{phase}");
                define(&mut client, &m);
                advance(&mut client, &m, phase);
                client
                    .batch_execute(&format!("CALL replace('{side}', {drops}, {triggers})"))
                    .unwrap();
                let seen = format!(
                    "SELECT state = 'failed' AND problem ~ 'was replaced' FROM mig_status('{m}')"
                );
                assert!(yes(&mut client, &seen), "{m} {side} {drops} {triggers}");
                write(&mut client, &m, "items");
                write(&mut client, &m, "items_new");
                if !["created", "stopped"].contains(&phase) {
                    for _ in 0..2 {
                        client
                            .batch_execute(&format!("SELECT mig_detach('{m}')"))
                            .unwrap();
                    }
                    client
                        .batch_execute("UPDATE items SET v = 'd'; UPDATE items_new SET v = 'd'")
                        .unwrap_or_else(|e| panic!("{m} {side} {drops} {triggers}: {e:?}"));
                }
                let next = next_step(&mut client, &m);
                client
                    .batch_execute(&next)
                    .unwrap_or_else(|e| panic!("{m} {side} {drops} {triggers}: {next}: {e:?}"));
                if next.contains("mig_rollback") {
                    client
                        .batch_execute(&format!("SELECT mig_drop('{m}')"))
                        .unwrap();
                }
                assert_nothing_left(&mut client, &m);
                client.batch_execute("UPDATE items SET v = 'e'").unwrap();
            }
        }
    }
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM mig.migration"));
}

#[test]
fn a_table_whose_columns_change_and_that_was_replaced_leaves_no_trigger() {
    let (_cluster, mut client) = start("it_replaced_columns");
    let mut n = 0;
    for phase in PHASES {
        for (drops, triggers) in WAYS {
            n += 1;
            let m = format!("m{n}_{phase}");
            client
                .batch_execute(&format!(
                    "CREATE SCHEMA {m}; SET search_path = {m}, public; CREATE TABLE items (id int PRIMARY KEY, v text); \
                     INSERT INTO items SELECT g, 'v' FROM generate_series(1, 5) g; SELECT mig_define('{m}'); \
                     SELECT mig_add_column('{m}', 'items', 'w', 'text', up => 'upper(v)', down => 'lower(w)', replaces => 'v')"
                ))
                .unwrap();
            advance(&mut client, &m, phase);
            client
                .batch_execute(&format!("CALL replace('items', {drops}, {triggers})"))
                .unwrap();
            let seen = format!(
                "SELECT state = 'failed' AND problem ~ 'was replaced' FROM mig_status('{m}')"
            );
            assert!(yes(&mut client, &seen), "{m} {drops} {triggers}");
            write(&mut client, &m, "items");
            if phase != "created" {
                client
                    .batch_execute(&format!("SELECT mig_detach('{m}')"))
                    .unwrap();
                client
                    .batch_execute("UPDATE items SET v = 'd'")
                    .unwrap_or_else(|e| panic!("{m} {drops} {triggers}: {e:?}"));
            }
            let next = next_step(&mut client, &m);
            client
                .batch_execute(&next)
                .unwrap_or_else(|e| panic!("{m} {drops} {triggers}: {next}: {e:?}"));
            if next.contains("mig_rollback") {
                client
                    .batch_execute(&format!("SELECT mig_drop('{m}')"))
                    .unwrap();
            }
            assert_nothing_left(&mut client, &m);
        }
    }
}

#[test]
fn a_trigger_of_ours_is_found_by_what_it_calls() {
    let (cluster, mut client) = start("it_found_triggers");
    client
        .batch_execute("CREATE ROLE app LOGIN; CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE postgres TO app, mallory; SELECT mig_allow('app')")
        .unwrap();
    let mut app = cluster.connect_as("postgres", "app");
    let mut mallory = cluster.connect_as("postgres", "mallory");
    define(&mut app, "m");
    advance(&mut app, "m", "dual_write");
    // Another name for a trigger is seen; the emergency stop finds it all the same.
    client
        .batch_execute("ALTER TRIGGER \"!mig_1_forward_row\" ON m.items RENAME TO zzz")
        .unwrap();
    assert!(yes(
        &mut app,
        "SELECT problem ~ 'is missing' FROM mig_status('m')"
    ));
    assert_eq!(refused(&mut app, "UPDATE items SET v = 'x'").0, "42501");
    app.batch_execute("SELECT mig_detach('m'); UPDATE items SET v = 'x'")
        .unwrap();
    app.batch_execute("SELECT mig_dual_write('m'); UPDATE items SET v = 'y'")
        .unwrap();
    assert!(yes(&mut app, "SELECT state = 'ok' FROM mig_status('m')"));
    // A trigger on a table of another role's, which could not have made it itself: no rights, and nobody is held up.
    mallory
        .batch_execute("CREATE SCHEMA own; CREATE TABLE own.t (id int PRIMARY KEY, v text)")
        .unwrap();
    client
        .batch_execute("CREATE TRIGGER forged AFTER INSERT OR UPDATE OR DELETE ON own.t FOR EACH ROW EXECUTE FUNCTION mig.mirror('1', 'forward')")
        .unwrap();
    assert_eq!(
        refused(&mut mallory, "INSERT INTO own.t VALUES (100, 'forged')").0,
        "42501"
    );
    assert!(yes(&mut app, "SELECT state = 'ok' FROM mig_status('m')"));
    mallory
        .batch_execute("BEGIN; LOCK TABLE own.t IN ACCESS SHARE MODE")
        .unwrap();
    app.batch_execute("SELECT mig_rollback('m', 'created')")
        .unwrap();
    assert!(yes(&mut app, "SELECT count(*) = 0 FROM items_new"));
    mallory
        .batch_execute(
            "ROLLBACK; DROP TRIGGER forged ON own.t; INSERT INTO own.t VALUES (1, 'mine')",
        )
        .unwrap();
    // On a table of a role that may act for the owner it holds up what would leave it, by name, until it is gone.
    advance_again(&mut app);
    client
        .batch_execute("CREATE TABLE public.copied (LIKE m.items INCLUDING ALL); CREATE TRIGGER kept AFTER INSERT ON copied FOR EACH ROW EXECUTE FUNCTION mig.mirror('1', 'forward')")
        .unwrap();
    assert!(yes(
        &mut app,
        "SELECT problem ~ 'kept on public.copied|kept on copied' FROM mig_status('m')"
    ));
    for call in ["mig_detach('m')", "mig_rollback('m', 'defined')"] {
        let (code, detail, hint) = refused(&mut app, &format!("SELECT {call}"));
        assert_eq!(
            (code.as_str(), detail.as_str()),
            ("42501", "Nothing was changed: the trigger would be left.")
        );
        assert!(
            hint.contains("DROP TRIGGER \"kept\" ON \"public\".\"copied\""),
            "{hint}"
        );
    }
    client.batch_execute("SELECT mig_detach('m')").unwrap();
    client
        .batch_execute("SELECT mig_rollback('m', 'defined'); SELECT mig_drop('m')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_trigger WHERE tgname = 'kept'"
    ));
    assert_nothing_left(&mut client, "m");
    // What an older version has left behind in phase "defined" goes with the migration.
    app.batch_execute("SELECT mig_define('m'); SELECT mig_add_table('m', 'items', 'items_new')")
        .unwrap();
    client
        .batch_execute("DO $$ BEGIN EXECUTE format('CREATE TRIGGER old AFTER INSERT OR UPDATE OR DELETE ON m.items FOR EACH ROW EXECUTE FUNCTION mig.mirror(%L, ''forward'')', (SELECT id FROM mig.mapping)); END $$")
        .unwrap();
    app.batch_execute("SELECT mig_detach('m'); UPDATE items SET v = 'z'; SELECT mig_drop('m')")
        .unwrap();
    assert_nothing_left(&mut client, "m");
}

fn advance_again(client: &mut Client) {
    client.batch_execute("SELECT mig_dual_write('m')").unwrap();
}
