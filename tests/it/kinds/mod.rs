//! Kinds of tables: what is not the server's own heap, or not one table, is refused by name, at once and in mid-run. Leaves of partitioned
//! tables are tables.

mod leaves;

use crate::common::cluster::Cluster;
use crate::wait::{refused, yes};
use postgres::Client;

fn start(name: &'static str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut client = cluster.connect("postgres");
    client.batch_execute(include_str!("setup.sql")).unwrap();
    (cluster, client)
}

/// Preflight names the kind; the plan and mig_create refuse it.
fn assert_refused(client: &mut Client, m: &str, name: &str, what: &str, role: &str) {
    let found = format!(
        "SELECT count(*) = 1 FROM mig_preflight('{m}') WHERE severity = 'error' AND check_name = 'kind of table' AND relation = '{name}'::regclass AND detail ~ 'is {what}.* as a {role}'"
    );
    assert!(yes(client, &found), "{name} {what} {role}");
    for call in ["mig_create", "mig_plan"] {
        let (code, detail, hint) = refused(client, &format!("SELECT * FROM {call}('{m}')"));
        assert_eq!(code, "0A000", "{call} {name} {what} {role}");
        assert!(detail.starts_with(&format!("It is {what}")), "{detail}");
        assert!(!hint.is_empty());
    }
}

#[test]
fn a_target_or_source_that_is_no_ordinary_table_is_refused_by_name() {
    let (_cluster, mut client) = start("it_kinds");
    client
        .batch_execute("CREATE TABLE src (id int PRIMARY KEY, v text)")
        .unwrap();
    let columns = "(id int PRIMARY KEY, v text)";
    for (n, (make, what)) in [
        (
            format!("CREATE TABLE NAME {columns} PARTITION BY RANGE (id)"),
            "a partitioned table",
        ),
        (
            "CREATE FOREIGN TABLE NAME (id int, v text) SERVER far".into(),
            "a foreign table",
        ),
        ("CREATE VIEW NAME AS SELECT * FROM src".into(), "a view"),
        (
            "CREATE MATERIALIZED VIEW NAME AS SELECT * FROM src".into(),
            "a materialized view",
        ),
        (
            format!("CREATE TABLE NAME {columns}; CREATE TABLE NAME_kid () INHERITS (NAME)"),
            "a table with the child",
        ),
        (
            format!("CREATE TABLE NAME {columns} USING xheap"),
            "a table of access method xheap",
        ),
        (
            format!("CREATE TABLE NAME {columns}; CALL manage('NAME')"),
            "a table that something else manages",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("kind{n}");
        client.batch_execute(&make.replace("NAME", &name)).unwrap();
        client
            .batch_execute(&format!(
                "SELECT mig_define('t{n}'); SELECT mig_add_table('t{n}', 'src', '{name}')"
            ))
            .unwrap();
        assert_refused(&mut client, &format!("t{n}"), &name, what, "target");
        client
            .batch_execute(&format!(
                "SELECT mig_drop('t{n}'); SELECT mig_define('s{n}')"
            ))
            .unwrap();
        let add = format!("SELECT mig_add_table('s{n}', '{name}', 'new{n}')");
        if n < 4 {
            let code = refused(&mut client, &add).0;
            assert!(["0A000", "42809"].contains(&code.as_str()), "{code}");
        } else {
            client.batch_execute(&add).unwrap();
            assert_refused(&mut client, &format!("s{n}"), &name, what, "source");
        }
    }
}

#[test]
fn what_keys_refer_to_may_be_partitioned_and_not_managed_elsewhere() {
    let (_cluster, mut client) = start("it_kinds_parents");
    for (n, (make, what)) in [
        ("CREATE TABLE NAME (id int PRIMARY KEY) USING xheap", Some("a table of access method xheap")),
        ("CREATE TABLE NAME (id int PRIMARY KEY); CALL manage('NAME')", Some("a table that something else manages")),
        ("CREATE TABLE NAME (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE NAME_leaf PARTITION OF NAME DEFAULT", None),
        ("CREATE TABLE NAME (id int PRIMARY KEY); CREATE TABLE NAME_kid () INHERITS (NAME)", None),
    ]
    .into_iter()
    .enumerate()
    {
        let parent = format!("parent{n}");
        client
            .batch_execute(&format!(
                "{}; INSERT INTO {parent} VALUES (1), (2); CREATE TABLE src{n} (id int PRIMARY KEY, p int REFERENCES {parent}, v text); \
                 INSERT INTO src{n} SELECT g, 1 + g % 2, 'v' FROM generate_series(1, 10) g; CREATE TABLE plain{n} (id int PRIMARY KEY, v text); \
                 INSERT INTO plain{n} VALUES (1, 'v'); \
                 SELECT mig_define('k{n}'); SELECT mig_add_table('k{n}', 'src{n}', 'dst{n}'); \
                 SELECT mig_define('s{n}', '{parent}', '1'); SELECT mig_add_table('s{n}', 'plain{n}', 'scoped{n}')",
                make.replace("NAME", &parent)
            ))
            .unwrap();
        for (m, role) in [("k", "table that a foreign key refers to"), ("s", "scope table")] {
            let m = format!("{m}{n}");
            match what {
                Some(what) => assert_refused(&mut client, &m, &parent, what, role),
                None => live(&mut client, &m),
            }
        }
    }
}

/// The whole life, with writes on both sides in each phase.
fn live(client: &mut Client, m: &str) {
    for call in ["mig_create", "mig_dual_write"] {
        client
            .batch_execute(&format!("SELECT {call}('{m}')"))
            .unwrap();
    }
    let source = format!("(SELECT source::text FROM mig.tables WHERE migration = '{m}')");
    let name: String = client
        .query_one(&format!("SELECT {source}"), &[])
        .unwrap()
        .get(0);
    client
        .batch_execute(&format!(
            "UPDATE {name} SET v = 'w' WHERE id = 1; INSERT INTO {name}(id, v) VALUES (100, 'new')"
        ))
        .unwrap();
    while yes(client, &format!("SELECT mig_step('{m}', 10000) > 0")) {}
    assert!(
        yes(
            client,
            &format!("SELECT bool_and(ok) FROM mig_check('{m}')")
        ),
        "{m}"
    );
    client
        .batch_execute(&format!("SELECT mig_switch('{m}'); UPDATE {name} SET v = 'x'; DELETE FROM {name} WHERE id = 100; SELECT mig_assert('{m}'); SELECT mig_stop('{m}')"))
        .unwrap();
    assert!(
        yes(
            client,
            &format!("SELECT state = 'ok' FROM mig_status('{m}')")
        ),
        "{m}"
    );
}

#[test]
fn a_table_that_becomes_another_kind_in_mid_run_is_drift() {
    let (_cluster, mut client) = start("it_kinds_drift");
    client
        .batch_execute(
            "SET default_table_access_method = xheap; CREATE TABLE scope (id int PRIMARY KEY) USING heap; INSERT INTO scope VALUES (1); \
             CREATE TABLE other (id int PRIMARY KEY) USING heap; INSERT INTO other VALUES (1); \
             CREATE TABLE src (id int PRIMARY KEY, o int REFERENCES other, v text) USING heap; INSERT INTO src SELECT g, 1, 'v' FROM generate_series(1, 10) g; \
             SELECT mig_define('m', 'scope', '1'); SELECT mig_add_table('m', 'src', 'dst')",
        )
        .unwrap();
    for call in ["mig_create", "mig_dual_write", "", "mig_switch"] {
        match call {
            "" => while yes(&mut client, "SELECT mig_step('m', 10000) > 0") {},
            call => client
                .batch_execute(&format!("SELECT {call}('m')"))
                .unwrap(),
        }
        for table in ["src", "dst", "scope", "other"] {
            client
                .batch_execute(&format!("CALL manage('{table}')"))
                .unwrap();
            let seen = format!(
                "SELECT state = 'failed' AND problem ~ '{table} is a table that something else manages.* now' FROM mig_status('m')"
            );
            assert!(yes(&mut client, &seen), "{call} {table}");
            client
                .batch_execute(&format!("CALL release('{table}')"))
                .unwrap();
            client.batch_execute("UPDATE src SET v = v || 'x'").unwrap();
        }
        assert!(
            yes(&mut client, "SELECT state = 'ok' FROM mig_status('m')"),
            "{call}"
        );
    }
    client
        .batch_execute("BEGIN; ALTER TABLE other SET ACCESS METHOD xheap")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT problem ~ 'other is a table of access method xheap now' FROM mig_status('m')"
    ));
    client
        .batch_execute("ROLLBACK; SELECT mig_stop('m'); CALL manage('dst')")
        .unwrap();
    // Now it may be distributed.
    assert!(yes(&mut client, "SELECT state = 'ok' FROM mig_status('m')"));
}
