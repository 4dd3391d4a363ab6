//! A mirror writes as the owner of the table that it writes. Its errors tell the application which constraint it was, and no value
//! that the application's role may not read.

mod after;

use crate::common::cluster::Cluster;
use crate::wait::{until, yes};
use postgres::Client;

/// What only the written table refuses: made there when the mirror is in.
const REFUSES: [&str; 7] = [
    "ADD CONSTRAINT small CHECK (x < 100)",
    "ALTER note SET NOT NULL",
    "ADD CONSTRAINT once UNIQUE (ssn, u)",
    "ADD CONSTRAINT known FOREIGN KEY (ssn, k) REFERENCES person",
    "ADD CONSTRAINT apart EXCLUDE USING btree (ssn WITH =, e WITH =)",
    "ADD CONSTRAINT whole UNIQUE (id, ssn)",
    "ADD CONSTRAINT late CHECK (x <> 55) NOT VALID",
];

/// A write, the SQLSTATE that it fails with, and the constraint that is named.
const WRITES: [(&str, &str, Option<&str>); 8] = [
    ("UPDATE o SET x = 200", "23514", Some("small")),
    ("UPDATE o SET note = NULL", "23502", None),
    ("UPDATE o SET u = 5", "23505", Some("once")),
    ("UPDATE o SET k = 99", "23503", Some("known")),
    ("UPDATE o SET e = 5", "23P01", Some("apart")),
    ("DELETE FROM o", "23503", Some("holds")),
    ("UPDATE o SET z = 60", "22P02", None),
    ("UPDATE o SET z = 70", "23514", Some("spoken")),
];

/// What the application is told, in one text, with the fields that applications go by.
struct Said {
    code: String,
    constraint: Option<String>,
    table: Option<String>,
    context: String,
    all: String,
}

fn said(client: &mut Client, sql: &str) -> Said {
    let error = client.simple_query(sql).expect_err(sql);
    let db = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
    Said {
        code: db.code().code().to_owned(),
        constraint: db.constraint().map(str::to_owned),
        table: db.table().map(str::to_owned),
        context: text(db.where_()),
        all: format!("{db:?}"),
    }
}

/// Each write that fails on the other side, as one role.
fn fail(cluster: &Cluster, database: &str, role: &str, from: &str, to: &str) {
    let mut app = cluster.connect_as(database, role);
    for (sql, code, constraint) in WRITES {
        let sql = sql.replace(" o", &format!(" {from}"));
        let said = said(&mut app, &sql);
        let told = format!("{role}: {sql}: {}", said.all);
        assert_eq!(
            (said.code.as_str(), said.constraint.as_deref()),
            (code, constraint),
            "{told}"
        );
        // Where both sides are mirrored, a foreign key is checked after the application's statement, as whoever wrote.
        let context = match code {
            "23503" if from == "o_new" => String::new(),
            _ => format!("mirror of public.{from} to public.{to}"),
        };
        assert_eq!(said.context, context, "{told}");
        let table = match constraint {
            Some("holds") => Some("holder"),
            Some("spoken") => Some("o_new"),
            Some(_) => Some(to),
            None => (code == "23502").then_some(to),
        };
        assert_eq!(said.table.as_deref(), table, "{told}");
        let secret = said.all.contains("SECRET");
        assert_eq!(secret, role == "reader", "{told}");
    }
}

/// What a function sees of an error inside is all of it.
fn catch(client: &mut Client) {
    client
        .batch_execute("BEGIN; SET LOCAL ROLE dml; UPDATE o SET z = 80; RESET ROLE")
        .unwrap();
    assert!(yes(client, "SELECT bool_and(m = -5) FROM o_new"));
    client.batch_execute("ROLLBACK").unwrap();
}

fn refuse(client: &mut Client, table: &str, begin: bool) {
    for what in REFUSES {
        let undo = match what.split(' ').collect::<Vec<_>>()[..] {
            ["ADD", "CONSTRAINT", name, ..] => format!("DROP CONSTRAINT {name} CASCADE"),
            _ => "ALTER note DROP NOT NULL".into(),
        };
        let what = if begin { what } else { &undo };
        client
            .batch_execute(&format!("ALTER TABLE {table} {what}"))
            .unwrap();
    }
    client
        .batch_execute(&if begin {
            format!("CREATE TABLE holder (id int, ssn text, CONSTRAINT holds FOREIGN KEY (id, ssn) REFERENCES {table} (id, ssn)); INSERT INTO holder SELECT id, ssn FROM {table}")
        } else {
            "DROP TABLE holder".to_owned()
        })
        .unwrap();
}

fn all_fail(cluster: &Cluster, client: &mut Client, from: &str, to: &str) {
    refuse(client, to, true);
    for (path, make, undo) in [
        ("below SQL", String::new(), String::new()),
        (
            "by SQL",
            format!("ALTER TABLE {to} ADD COLUMN aside int DEFAULT 0"),
            format!("ALTER TABLE {to} DROP COLUMN aside"),
        ),
    ] {
        client.batch_execute(&make).unwrap();
        for role in ["dml", "cols", "hidden", "reader"] {
            println!("{from} to {to}, {path}, {role}");
            fail(cluster, "leaks", role, from, to);
        }
        client.batch_execute(&undo).unwrap();
    }
    refuse(client, to, false);
}

fn start(cluster: &Cluster) -> Client {
    let mut client = cluster.database("leaks");
    client.batch_execute(include_str!("leaks.sql")).unwrap();
    for m in ["m", "c"] {
        for step in ["create", "dual_write", "backfill"] {
            client
                .batch_execute(&format!("SELECT mig_{step}('{m}')"))
                .unwrap();
        }
        assert!(yes(&mut client, &format!("SELECT mig_wait('{m}')")));
    }
    client
}

#[test]
fn an_error_of_a_mirror_names_the_constraint_and_shows_no_value() {
    let cluster = Cluster::start("it_leaks", "");
    let mut client = start(&cluster);
    all_fail(&cluster, &mut client, "o", "o_new");
    catch(&mut client);
    // The new table has all grants and policies of the old one.
    until("the locks", || {
        client.batch_execute("SELECT mig_switch('m')").is_ok()
    });
    all_fail(&cluster, &mut client, "o_new", "o");
    let log = std::fs::read_to_string(format!("{}/server.log", cluster.host())).unwrap();
    assert!(
        log.contains("no such person: SECRET"),
        "the operator finds the whole error"
    );
    columns(&cluster);
}

/// One table, whose own executor hides its rows; a conversion is ours.
fn columns(cluster: &Cluster) {
    for role in ["dml", "cols", "hidden", "reader"] {
        let mut app = cluster.connect_as("leaks", role);
        let said = said(&mut app, "UPDATE kept SET z = 60");
        assert_eq!(said.code, "22P02", "{}", said.all);
        assert_eq!(
            said.context,
            "old and new columns of public.kept kept in step"
        );
        assert_eq!(
            said.all.contains("SECRET"),
            role == "reader",
            "{role}: {}",
            said.all
        );
    }
}
