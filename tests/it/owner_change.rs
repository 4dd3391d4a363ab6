//! `ALTER TABLE … OWNER TO` a role that lacks the rights of the former owner, in mid-run: mirrors run nothing for a role that could not do it
//! itself, and the application had no part in that. Its writes go on, it is drift at once, and the way on makes both sides equal.

use crate::common::cluster::Cluster;
use crate::wait::{refused, yes};
use postgres::Client;

const OWNERS: &str = "CREATE ROLE a; CREATE ROLE b; CREATE ROLE app LOGIN; GRANT ALL ON SCHEMA public TO a, b; SELECT mig_allow('a'); \
    CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g; ALTER TABLE t OWNER TO a; GRANT ALL ON t TO app";

/// The table under way to another one, as its owner defined it; for `app`, a session that has written it already.
fn under_way(cluster: &Cluster, database: &str) -> (Client, Client) {
    let mut admin = cluster.database(database);
    admin.batch_execute(OWNERS).unwrap();
    for step in [
        "SET ROLE a",
        "SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        "CALL mig_run('m')",
        "RESET ROLE",
    ] {
        admin.batch_execute(step).unwrap();
    }
    let mut app = cluster.connect_as(database, "app");
    app.batch_execute("INSERT INTO t VALUES (100, 'mirrored')")
        .unwrap();
    assert_eq!(differences(&mut admin), 0);
    (admin, app)
}

fn differences(client: &mut Client) -> i64 {
    let sql = "SELECT count(*) FROM ((TABLE t EXCEPT ALL TABLE t2) UNION ALL (TABLE t2 EXCEPT ALL TABLE t)) d";
    client.query_one(sql, &[]).unwrap().get(0)
}

fn problem_is(client: &mut Client, pattern: &str) {
    let sql = format!("SELECT state = 'failed' AND problem ~ '{pattern}' FROM mig_status('m')");
    assert!(yes(client, &sql), "{pattern}");
}

/// Writes of every kind to one side.
const WRITES: &str = "INSERT INTO {t} VALUES (101, 'passes'); UPDATE {t} SET v = 'passes' WHERE id = 3; DELETE FROM {t} WHERE id = 4; \
    UPDATE {t} SET id = 50 WHERE id = 5; INSERT INTO {t} VALUES (3, 'again') ON CONFLICT (id) DO UPDATE SET v = 'passes twice'";

/// Gives everything to the new owner, as the HINTs say.
fn hand_over(admin: &mut Client, call: &str) {
    let (code, detail, hint) = refused(admin, call);
    assert!(
        code == "55000" && detail.contains("lacks rights"),
        "{detail}"
    );
    admin.batch_execute(&hint).unwrap();
    for _ in ["m1_forward", "m1_reverse"] {
        let (_, _, hint) = refused(admin, call);
        let sql = hint.split_once("ALTER TABLE").unwrap().1;
        admin.batch_execute(&format!("ALTER TABLE {sql}")).unwrap();
    }
}

#[test]
fn writes_go_on_and_the_way_on_finds_their_rows() {
    let cluster = Cluster::start("it_owner_change", "");
    let (mut admin, mut app) = under_way(&cluster, "owner_change");
    admin.batch_execute("ALTER TABLE t OWNER TO b").unwrap();
    problem_is(
        &mut admin,
        "whose owner a has rights that the owner b has not",
    );
    app.batch_execute(&WRITES.replace("{t}", "t")).unwrap();
    app.batch_execute("TRUNCATE t").unwrap();
    app.batch_execute("INSERT INTO t VALUES (1, 'only this')")
        .unwrap();
    problem_is(&mut admin, "let writes pass");
    assert!(differences(&mut admin) > 0);
    assert_eq!(refused(&mut admin, "SELECT mig_switch('m')").0, "55000");
    hand_over(&mut admin, "SELECT mig_dual_write('m')");
    // Mirrors work again, and what passed is not forgotten before they were installed again.
    app.batch_execute("INSERT INTO t VALUES (2, 'mirrored')")
        .unwrap();
    problem_is(&mut admin, "let writes pass");
    admin.batch_execute("SELECT mig_dual_write('m')").unwrap();
    assert!(yes(
        &mut admin,
        "SELECT problem IS NULL FROM mig_status('m')"
    ));
    assert_eq!(refused(&mut admin, "SELECT mig_switch('m')").0, "55000");
    admin
        .batch_execute("SELECT mig_repair('m', dry_run => false)")
        .unwrap();
    assert_eq!(differences(&mut admin), 0);
    admin.batch_execute("SELECT mig_switch('m')").unwrap();
    app.batch_execute("INSERT INTO t VALUES (3, 'mirrored')")
        .unwrap();
    assert_eq!(differences(&mut admin), 0);
}

/// Nobody but the operator knows which side is right; here it is the new one, and no row of it is lost.
#[test]
fn writes_go_on_while_both_sides_live() {
    let cluster = Cluster::start("it_owner_both", "");
    let (mut admin, mut app) = under_way(&cluster, "owner_both");
    admin.batch_execute("SELECT mig_switch('m')").unwrap();
    app.batch_execute(
        "UPDATE t2 SET v = 'mirrored' WHERE id = 1; UPDATE t SET v = 'mirrored' WHERE id = 2",
    )
    .unwrap();
    admin.batch_execute("ALTER TABLE t OWNER TO b").unwrap();
    app.batch_execute(&WRITES.replace("{t}", "t2")).unwrap();
    problem_is(&mut admin, "let writes pass");
    for call in [
        "SELECT mig_repair('m', dry_run => false)",
        "SELECT mig_rollback('m', 'defined')",
    ] {
        assert_eq!(refused(&mut admin, call).0, "55000", "{call}");
    }
    hand_over(&mut admin, "SELECT mig_switch('m')");
    let (code, detail, hint) = refused(&mut admin, "SELECT mig_switch('m')");
    assert!(
        code == "55000" && detail.contains("let writes pass"),
        "{detail}"
    );
    assert!(hint.contains("SELECT * FROM mig_stop('m');"), "{hint}");
    let repair = "SELECT mig_repair('m', dry_run => false)";
    assert_eq!(refused(&mut admin, repair).0, "55000");
    admin.batch_execute("SELECT mig_stop('m')").unwrap();
    admin
        .batch_execute("SELECT mig_rollback('m', 'switched')")
        .unwrap();
    admin.batch_execute("CALL mig_run('m')").unwrap();
    assert_eq!(differences(&mut admin), 0);
    assert!(yes(
        &mut admin,
        "SELECT v = 'passes twice' FROM t WHERE id = 3"
    ));
    assert!(yes(
        &mut admin,
        "SELECT phase = 'switched' AND problem IS NULL FROM mig_status('m')"
    ));
}

/// Expressions of the former owner do not run as the new one, and the application's values are stored as they are.
#[test]
fn writes_go_on_where_columns_of_one_table_are_kept_in_step() {
    let cluster = Cluster::start("it_owner_columns", "");
    let mut admin = cluster.database("owner_columns");
    admin.batch_execute(OWNERS).unwrap();
    for step in [
        "SET ROLE a",
        "CREATE FUNCTION twice(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1 || $1'",
        "SELECT mig_define('m'); SELECT mig_add_column('m', 't', 'w', 'text', up => 'public.twice(v)'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        "CALL mig_run('m')",
        "RESET ROLE",
    ] {
        admin.batch_execute(step).unwrap();
    }
    let mut app = cluster.connect_as("owner_columns", "app");
    app.batch_execute("INSERT INTO t (id, v) VALUES (100, 'x')")
        .unwrap();
    assert!(yes(&mut admin, "SELECT w = 'xx' FROM t WHERE id = 100"));
    admin.batch_execute("ALTER TABLE t OWNER TO b").unwrap();
    problem_is(&mut admin, "belongs to role a");
    app.batch_execute("INSERT INTO t (id, v) VALUES (101, 'y'); UPDATE t SET v = 'z' WHERE id = 1")
        .unwrap();
    problem_is(&mut admin, "let writes pass");
    let (code, detail, _) = refused(&mut admin, "SELECT mig_dual_write('m')");
    assert!(
        code == "55000" && detail.contains("would run as \"b\""),
        "{detail}"
    );
    // The new owner reads the expressions and gives them anew: writes go on all the while.
    for step in [
        "SELECT mig_detach('m')",
        "SELECT mig_rollback('m', 'defined')",
        "SELECT mig_drop('m')",
        "GRANT EXECUTE ON FUNCTION twice TO b",
        "SELECT mig_define('m'); SELECT mig_add_column('m', 't', 'w', 'text', up => 'public.twice(v)'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
        "CALL mig_run('m')",
    ] {
        admin
            .batch_execute(step)
            .unwrap_or_else(|e| panic!("{step}: {e:?}"));
        app.batch_execute("UPDATE t SET v = v || 'x' WHERE id = 1")
            .unwrap();
    }
    assert!(yes(&mut admin, "SELECT bool_and(w = v || v) FROM t"));
}
