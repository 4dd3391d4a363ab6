//! Every way to break a migration that we could think of, each behind the mirror's back: it is named by the right check and
//! by no other, and mended.

use super::{count, doubts, failed};
use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;
use std::collections::BTreeSet;

enum Mend {
    /// `mig_repair` makes it right.
    Repair,
    /// It is no data: whoever did it undoes it.
    Undo(&'static str),
}

struct Damage {
    what: &'static str,
    sql: &'static str,
    /// The checks that have to name it, and no others.
    named: &'static [&'static str],
    mend: Mend,
}

const fn data(what: &'static str, sql: &'static str, named: &'static [&'static str]) -> Damage {
    Damage {
        what,
        sql,
        named,
        mend: Mend::Repair,
    }
}

const fn state(
    what: &'static str,
    sql: &'static str,
    named: &'static [&'static str],
    undo: &'static str,
) -> Damage {
    Damage {
        what,
        sql,
        named,
        mend: Mend::Undo(undo),
    }
}

const DIFFERENT: &[&str] = &["rows different"];

const DATA: [Damage; 27] = [
    data(
        "a row is missing",
        "DELETE FROM project_stars WHERE note_id = 7",
        &["rows", "rows missing"],
    ),
    data(
        "a row with all that hangs on it is missing",
        "DELETE FROM project_stars WHERE note_id IN (SELECT id FROM project_notes WHERE song_id = 9); DELETE FROM project_notes WHERE song_id = 9; DELETE FROM project_songs WHERE id = 9",
        &["rows", "rows missing"],
    ),
    data(
        "a row too many",
        "INSERT INTO project_stars VALUES (:p, 7, 2)",
        &["rows", "rows extra"],
    ),
    data(
        "one row in another's place",
        "UPDATE project_stars SET n = 3 WHERE note_id = 8",
        &["rows missing", "rows extra"],
    ),
    data(
        "int",
        "UPDATE project_songs SET plays = 6 WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "null instead of the default",
        "UPDATE project_songs SET plays = NULL WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "the default instead of null",
        "UPDATE project_songs SET mood = 'loud' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "text",
        "UPDATE project_songs SET slug = slug || ' ' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "numeric, by its image",
        "UPDATE project_songs SET price = 1.00 WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "numeric made by an expression, by value",
        "UPDATE project_songs SET cost = 1.01 WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "float, zero with a sign",
        "UPDATE songs SET rating = 0 WHERE id = 1; UPDATE project_songs SET rating = '-0' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "boolean",
        "UPDATE project_songs SET loud = NOT loud WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "date",
        "UPDATE project_songs SET born = born + 1 WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "timestamptz, a microsecond",
        "UPDATE project_songs SET heard_at = heard_at + interval '1 microsecond' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "interval, equal and another",
        "UPDATE project_songs SET long = '1 month' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "jsonb, a number's digits",
        "UPDATE project_songs SET extra = '{\"n\": 1.00}' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "json, a blank",
        "UPDATE project_songs SET raw = '{\"a\":1}' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "bytea",
        "UPDATE project_songs SET cover = '\\x0100' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "array, another order",
        "UPDATE project_songs SET tags = '{b,a}' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "array, null instead of empty",
        "UPDATE songs SET tags = '{}' WHERE id = 2; UPDATE project_songs SET tags = NULL WHERE id = 2",
        DIFFERENT,
    ),
    data(
        "enum",
        "UPDATE project_songs SET mood = 'loud' WHERE id = 2",
        DIFFERENT,
    ),
    data(
        "point, which has no hash function",
        "UPDATE project_songs SET place = '(2,1)' WHERE id = 1",
        DIFFERENT,
    ),
    data(
        "a child of another parent",
        "UPDATE project_notes SET song_id = 12 WHERE id = 3",
        DIFFERENT,
    ),
    data(
        "a child of nobody",
        "UPDATE project_notes SET song_id = 4711 WHERE id = 3",
        &["rows different", "orphans of song_id -> public.songs"],
    ),
    data(
        "a child of nobody outside",
        "UPDATE project_notes SET author = gen_random_uuid() WHERE id = 3",
        &["rows different", "orphans of author -> public.users"],
    ),
    data(
        "an orphan without a foreign key",
        "UPDATE project_songs SET owner = gen_random_uuid() WHERE id = 3",
        &["rows different", "orphans of owner -> public.users"],
    ),
    data(
        "a parent is missing, its children are not",
        "DELETE FROM project_songs WHERE id = 5",
        &["rows", "rows missing", "orphans of song_id -> public.songs"],
    ),
];

const STATE: [Damage; 22] = [
    state(
        "sequence behind",
        "SELECT setval('songs_id_seq', 100)",
        &[],
        "SELECT setval('songs_id_seq', 300)",
    ),
    state(
        "rows past the sequence on the new side",
        "INSERT INTO project_songs (project_id, id, slug) VALUES (:o, 5000, 'far')",
        &["sequences"],
        "DELETE FROM project_songs WHERE id = 5000",
    ),
    state(
        "mirror disabled",
        "ALTER TABLE songs DISABLE TRIGGER \"!mig_1_forward_row\"",
        &["mirror triggers"],
        "SELECT mig_dual_write()",
    ),
    state(
        "mirror demoted",
        "ALTER TABLE songs DISABLE TRIGGER ALL; ALTER TABLE songs ENABLE TRIGGER ALL",
        &["mirror triggers"],
        "SELECT mig_dual_write()",
    ),
    state(
        "mirror disabled and enabled again",
        "ALTER TABLE songs DISABLE TRIGGER \"!mig_1_forward_row\"; ALTER TABLE songs ENABLE ALWAYS TRIGGER \"!mig_1_forward_row\"",
        &["mirror triggers"],
        "SELECT mig_dual_write()",
    ),
    state(
        "mirror dropped",
        "DROP TRIGGER \"!mig_3_forward_row\" ON stars",
        &["mirror triggers"],
        "SELECT mig_dual_write()",
    ),
    state(
        "column added",
        "ALTER TABLE project_notes ADD COLUMN late int",
        &["shape"],
        "ALTER TABLE project_notes DROP COLUMN late",
    ),
    state(
        "default dropped",
        "ALTER TABLE project_songs ALTER plays DROP DEFAULT",
        &["column defaults"],
        "ALTER TABLE project_songs ALTER plays SET DEFAULT 5",
    ),
    state(
        "grant added",
        "GRANT SELECT ON project_songs TO proof_stranger",
        &["owner and grants"],
        "REVOKE SELECT ON project_songs FROM proof_stranger",
    ),
    state(
        "grant on one column added",
        "GRANT UPDATE (slug) ON project_songs TO proof_stranger",
        &["owner and grants"],
        "REVOKE UPDATE (slug) ON project_songs FROM proof_stranger",
    ),
    state(
        "grant lost",
        "REVOKE SELECT ON project_songs FROM proof_reader",
        &["owner and grants"],
        "GRANT SELECT ON project_songs TO proof_reader",
    ),
    state(
        "owner changed",
        "ALTER TABLE project_stars OWNER TO proof_stranger",
        &["owner and grants"],
        "ALTER TABLE project_stars OWNER TO postgres",
    ),
    state(
        "policy dropped",
        "DROP POLICY reads ON project_songs",
        &["row-level security"],
        "CREATE POLICY reads ON project_songs FOR SELECT TO proof_reader USING (loud)",
    ),
    state(
        "policy loosened",
        "ALTER POLICY reads ON project_songs USING (true)",
        &["row-level security"],
        "ALTER POLICY reads ON project_songs USING (loud)",
    ),
    state(
        "row-level security off",
        "ALTER TABLE project_songs DISABLE ROW LEVEL SECURITY",
        &["row-level security"],
        "ALTER TABLE project_songs ENABLE ROW LEVEL SECURITY",
    ),
    state(
        "index dropped",
        "DROP INDEX project_songs_project_id_born_idx",
        &["indexes"],
        "CREATE INDEX project_songs_project_id_born_idx ON project_songs (project_id, born)",
    ),
    state(
        "index invalid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'project_songs_project_id_born_idx'::regclass",
        &["indexes"],
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'project_songs_project_id_born_idx'::regclass",
    ),
    state(
        "check constraint dropped",
        "ALTER TABLE project_songs DROP CONSTRAINT songs_plays_check",
        &["check constraints"],
        "ALTER TABLE project_songs ADD CONSTRAINT songs_plays_check CHECK (plays >= 0)",
    ),
    state(
        "constraint not validated",
        "ALTER TABLE project_songs DROP CONSTRAINT songs_plays_check, ADD CONSTRAINT songs_plays_check CHECK (plays >= 0) NOT VALID",
        &["check constraints"],
        "ALTER TABLE project_songs VALIDATE CONSTRAINT songs_plays_check",
    ),
    state(
        "foreign key dropped",
        "ALTER TABLE project_notes DROP CONSTRAINT project_notes_author_fkey",
        &["foreign keys"],
        "ALTER TABLE project_notes ADD CONSTRAINT project_notes_author_fkey FOREIGN KEY (author) REFERENCES users DEFERRABLE INITIALLY DEFERRED",
    ),
    state(
        "foreign key not enforced",
        "ALTER TABLE project_notes DISABLE TRIGGER ALL",
        &["foreign keys"],
        "ALTER TABLE project_notes ENABLE TRIGGER ALL",
    ),
    state(
        "no replica identity",
        "ALTER TABLE project_songs REPLICA IDENTITY NOTHING",
        &["replication"],
        "ALTER TABLE project_songs REPLICA IDENTITY DEFAULT",
    ),
];

const P: &str = "'00000000-0000-0000-0000-000000000001'";
const OTHER: &str = "'00000000-0000-0000-0000-000000000002'";

/// Behind everybody's back: no foreign key's action, no check, no mirror of the new tables.
fn break_it(client: &mut Client, d: &Damage) {
    let sql = d.sql.replace(":p", P).replace(":o", OTHER);
    let sides = "project_songs project_notes project_stars".split(' ');
    let quiet = |word: &str| {
        let all = sides
            .clone()
            .map(|t| format!("ALTER TABLE {t} {word} TRIGGER ALL;"));
        all.collect::<String>()
    };
    let sql = match d.mend {
        Mend::Repair => format!(
            "BEGIN; {} {sql}; {} COMMIT",
            quiet("DISABLE"),
            quiet("ENABLE")
        ),
        Mend::Undo(_) => sql,
    };
    client
        .batch_execute(&sql)
        .unwrap_or_else(|e| panic!("{}: {e:?}", d.what));
}

fn mend(client: &mut Client, d: &Damage) {
    match d.mend {
        Mend::Repair => {
            let dry = count(
                client,
                "SELECT coalesce(sum(rows), 0)::bigint FROM mig_repair()",
            );
            let done = count(
                client,
                "SELECT coalesce(sum(rows), 0)::bigint FROM mig_repair(dry_run => false)",
            );
            assert!(dry > 0 && dry == done, "{}: {dry} {done}", d.what);
        }
        Mend::Undo(sql) => client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{}: {e:?}", d.what)),
    }
}

fn backfilled_database(cluster: &Cluster, name: &str) -> Client {
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .unwrap();
    let mut client = cluster.connect(name);
    client.batch_execute(include_str!("damage.sql")).unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(doubts(&mut client), Vec::<String>::new());
    client
}

/// Breaks it, looks whether exactly the right checks say so, mends it, and looks again.
fn named_and_mended(client: &mut Client, d: &Damage) {
    break_it(client, d);
    let expected: BTreeSet<String> = d.named.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(failed(client, "mig_check()"), expected, "{}", d.what);
    if !expected.is_empty() {
        assert_eq!(
            refused(client, "SELECT mig_assert()").0,
            "22000",
            "{}",
            d.what
        );
    }
    mend(client, d);
    assert_eq!(doubts(client), Vec::<String>::new(), "{}", d.what);
}

#[test]
fn every_damage_is_named_by_its_check_and_data_is_repaired() {
    let cluster = Cluster::start("it_damage", "");
    let mut client = backfilled_database(&cluster, "damage");
    let images = count(
        &mut client,
        "SELECT count(*) FROM mig_check(mode => 'quick') WHERE check_name = 'columns compared by value' AND source_value = 'cost'",
    );
    assert_eq!(
        images, 1,
        "1.0 against 1.00 is no difference where a type was chosen"
    );
    for d in DATA.iter().chain(&STATE) {
        named_and_mended(&mut client, d);
    }
    println!("{} kinds of damage", DATA.len() + STATE.len());
    // What is not data, the quick mode sees as well, and a row count.
    for d in STATE.iter().filter(|d| !d.named.is_empty()) {
        break_it(&mut client, d);
        let expected: BTreeSet<String> = d.named.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(
            failed(&mut client, "mig_check(mode => 'quick')"),
            expected,
            "{}",
            d.what
        );
        mend(&mut client, d);
    }
    // With both sides live the same rows are found and repaired, and the old tables stay as they are.
    client.simple_query("SELECT mig_switch()").unwrap();
    let old = "SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (SELECT s::text || xmin || ctid AS x FROM songs s \
        UNION ALL SELECT n::text || xmin || ctid FROM notes n UNION ALL SELECT t::text || xmin || ctid FROM stars t) all_rows";
    for d in DATA.iter().filter(|d| !d.sql.contains("UPDATE songs")) {
        // ENABLE TRIGGER ALL demotes mirrors: leave ours alone.
        let sql = d.sql.replace(":p", P);
        let before: String = client.query_one(old, &[]).unwrap().get(0);
        client
            .batch_execute(&behind_both(&sql))
            .unwrap_or_else(|e| panic!("{}: {e:?}", d.what));
        let found = failed(&mut client, "mig_check()");
        let expected = d
            .named
            .iter()
            .map(|n| (*n).to_owned())
            .chain(["mirror triggers".to_owned()]);
        assert_eq!(found, expected.collect::<BTreeSet<_>>(), "{}", d.what);
        mend(&mut client, d);
        client.simple_query("SELECT mig_switch()").unwrap();
        assert_eq!(doubts(&mut client), Vec::<String>::new(), "{}", d.what);
        let after: String = client.query_one(old, &[]).unwrap().get(0);
        assert_eq!(before, after, "{}: the old tables are as they were", d.what);
    }
}

/// With all triggers of the new tables off, ours too, which is drift.
fn behind_both(sql: &str) -> String {
    let tables = ["project_songs", "project_notes", "project_stars"];
    let word = |w: &str| -> String {
        tables
            .iter()
            .map(|t| format!("ALTER TABLE {t} {w} TRIGGER ALL;"))
            .collect()
    };
    format!(
        "BEGIN; {} {sql}; {} COMMIT",
        word("DISABLE"),
        word("ENABLE")
    )
}

#[test]
fn a_key_that_another_project_holds_is_named_and_never_overwritten() {
    let cluster = Cluster::start("it_held_key", "");
    let mut client = backfilled_database(&cluster, "held");
    client
        .batch_execute(&format!(
            "BEGIN; ALTER TABLE project_songs DISABLE TRIGGER ALL; DELETE FROM project_songs WHERE id = 20; \
             INSERT INTO project_songs (project_id, id, slug) VALUES ({OTHER}, 20, 'theirs'); ALTER TABLE project_songs ENABLE TRIGGER ALL; COMMIT"
        ))
        .unwrap();
    let orphans = "orphans of song_id -> public.songs".to_owned();
    let named = |more: &[&str]| -> BTreeSet<String> {
        let rows = ["rows", "rows missing"].iter().chain(more);
        rows.map(|n| (*n).to_owned())
            .chain([orphans.clone()])
            .collect()
    };
    assert_eq!(failed(&mut client, "mig_check()"), named(&[]));
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    let (code, detail, _) = refused(&mut client, "SELECT mig_wait()");
    assert_eq!(code, "55000");
    assert!(detail.contains("1 rows cannot be copied"), "{detail}");
    assert!(yes(
        &mut client,
        "SELECT sqlstate = '23505' AND key = '{20}' FROM mig.errors"
    ));
    assert!(yes(
        &mut client,
        "SELECT state = 'failed' AND next_step = 'SELECT * FROM mig_repair(''proof'', dry_run => false);' FROM mig_status()"
    ));
    assert!(yes(
        &mut client,
        "SELECT slug = 'theirs' FROM project_songs WHERE id = 20"
    ));
    assert_eq!(failed(&mut client, "mig_check()"), named(&["errors"]));
    assert_eq!(refused(&mut client, "SELECT mig_switch()").0, "55000");
    client
        .batch_execute("DELETE FROM project_songs WHERE id = 20")
        .unwrap();
    client
        .simple_query("SELECT mig_repair(dry_run => false)")
        .unwrap();
    assert_eq!(doubts(&mut client), Vec::<String>::new());
    client.simple_query("SELECT mig_switch()").unwrap();
}

#[test]
fn the_end_is_proven_too() {
    let cluster = Cluster::start("it_endproof", "");
    let mut client = backfilled_database(&cluster, "ending");
    client.simple_query("SELECT mig_switch()").unwrap();
    client.simple_query("SELECT mig_stop()").unwrap();
    client
        .batch_execute(&format!(
            "INSERT INTO project_songs (project_id, slug) VALUES ({P}, 'new one'); DELETE FROM project_stars WHERE note_id = 1; \
             UPDATE project_notes SET body = 'changed' WHERE id = 2"
        ))
        .unwrap();
    // What the new tables did alone is news, not a fault.
    assert_eq!(failed(&mut client, "mig_check()"), BTreeSet::new());
    let news = count(
        &mut client,
        "SELECT count(*) FROM mig_check() WHERE ok IS NULL AND check_name ~ '^rows (missing|extra|different)'",
    );
    assert_eq!(news, 3);
    assert_eq!(refused(&mut client, "SELECT mig_repair()").0, "55000");
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 FROM mig_diff('proof', 'notes') WHERE kind = 'different' AND key = '{\"id\": 2}' \
        AND source_row->>'body' = 'note 2' AND target_row->>'body' = 'changed'"
    ));
    client
        .batch_execute("ALTER TABLE songs DISABLE TRIGGER ALL")
        .unwrap();
    assert!(failed(&mut client, "mig_check()").contains("mirror triggers"));
    client.batch_execute("SELECT mig_stop()").unwrap();

    client
        .batch_execute("SELECT mig_archive(compat_views => true, force => true)")
        .unwrap();
    assert_eq!(failed(&mut client, "mig_check()"), BTreeSet::new());
    let view: String = client
        .query_one("SELECT pg_get_viewdef('songs'::regclass)", &[])
        .unwrap()
        .get(0);
    let wrong = [
        (
            "another row filter",
            format!(
                "CREATE OR REPLACE VIEW songs WITH (security_invoker = true) AS {} AND t.id > 5",
                view.trim_end_matches(';')
            ),
        ),
        (
            "rights of the owner",
            "ALTER VIEW songs RESET (security_invoker)".to_owned(),
        ),
        (
            "a grant",
            "GRANT SELECT ON songs TO proof_stranger".to_owned(),
        ),
        (
            "writes pass",
            "DROP TRIGGER \"!mig_1_guard_view\" ON songs".to_owned(),
        ),
        ("gone", "DROP VIEW songs".to_owned()),
    ];
    for (what, sql) in wrong {
        client
            .batch_execute(&format!("BEGIN; {sql}"))
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let found = failed(&mut client, "mig_check()");
        assert_eq!(
            found,
            BTreeSet::from(["view under the old name".to_owned()]),
            "{what}"
        );
        client.batch_execute("ROLLBACK").unwrap();
    }
    // The way back proves itself.
    client
        .batch_execute("SELECT mig_rollback('proof', 'switched')")
        .unwrap();
    backfilled(&mut client);
    assert_eq!(doubts(&mut client), Vec::<String>::new());
}
