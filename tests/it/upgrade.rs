//! ALTER EXTENSION UPDATE: what is updated is what is installed fresh, and a migration under way goes on.

use crate::common::cluster::Cluster;
use crate::main_job::mirrored;
use crate::wait::{all_differences, backfilled, refused, until_sql, yes};
use postgres::Client;
use std::collections::BTreeSet;

/// Scripts of versions that were given to users.
const FIRST: &str = "0.1.0";

fn facts(client: &mut Client) -> BTreeSet<String> {
    client
        .batch_execute(include_str!("../upgrade/facts.sql"))
        .unwrap();
    let rows = client.query("SELECT pg_temp.facts()", &[]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

fn database(cluster: &Cluster, name: &str) -> Client {
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute(&format!("CREATE DATABASE {name} OWNER team"))
        .unwrap();
    let mut client = cluster.connect(name);
    // Whatever is made, he is granted.
    client
        .batch_execute(
            "ALTER DEFAULT PRIVILEGES FOR ROLE team, postgres GRANT ALL ON TABLES TO stranger; \
             ALTER DEFAULT PRIVILEGES FOR ROLE team, postgres GRANT ALL ON FUNCTIONS TO stranger; \
             ALTER DEFAULT PRIVILEGES FOR ROLE team, postgres GRANT ALL ON SEQUENCES TO stranger",
        )
        .unwrap();
    cluster.connect_as(name, "team")
}

#[test]
fn an_update_is_a_fresh_install_and_a_migration_goes_on() {
    let cluster = Cluster::start("it_upgrade", "");
    cluster.offer("tests/upgrade/pg_mig--0.1.0.sql");
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute(
            "CREATE ROLE team LOGIN; CREATE ROLE stranger LOGIN; CREATE ROLE friend LOGIN",
        )
        .unwrap();
    let mut fresh = database(&cluster, "fresh");
    fresh
        .batch_execute("CREATE EXTENSION pg_mig; SELECT mig_allow('friend')")
        .unwrap();
    let now = facts(&mut fresh);
    assert!(now.len() > 300, "{} facts", now.len());
    // No superuser updates it, either.
    let mut old = database(&cluster, "old");
    old.batch_execute(&format!("CREATE EXTENSION pg_mig VERSION '{FIRST}'"))
        .unwrap();
    // What mig_allow of that version did for a friend.
    let allowed = "SELECT string_agg(format('GRANT EXECUTE ON %s %s TO friend', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure), ';') \
                   || ';GRANT USAGE, CREATE ON SCHEMA mig TO friend; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mig TO friend' \
                   FROM pg_proc p, aclexplode(p.proacl) x WHERE x.grantee = 'team'::regrole AND x.is_grantable";
    let allowed: String = old.query_one(allowed, &[]).unwrap().get(0);
    old.batch_execute(&allowed).unwrap();
    assert_ne!(
        facts(&mut old),
        now,
        "a version back something is different"
    );
    old.batch_execute("ALTER EXTENSION pg_mig UPDATE").unwrap();
    let updated = facts(&mut old);
    let differ: Vec<&String> = now.symmetric_difference(&updated).collect();
    assert_eq!(differ, Vec::<&String>::new());
    under_way(&cluster);
}

/// A table that is newer is not in a dump of that version.
const UNDUMPED: &str = "UPDATE pg_extension SET (extconfig, extcondition) = ( \
       SELECT array_agg(u.o ORDER BY u.n), array_agg(u.c ORDER BY u.n) FROM unnest(extconfig, extcondition) WITH ORDINALITY u(o, c, n) \
       WHERE u.o::regclass::text !~ 'new_column') WHERE extname = 'pg_mig'";

/// A migration with the objects of the first version and the library of this one: mirrors work, everything else says what to
/// do, and after it all goes to the end.
fn under_way(cluster: &Cluster) {
    // Columns that are newer have nothing to say of a migration that keeps its ids, nor of what the mirrors do.
    mirrored(cluster, "begun", 1000)
        .batch_execute(&format!(
            "ALTER EXTENSION pg_mig DROP VIEW mig.changes; ALTER EXTENSION pg_mig DROP VIEW mig.metrics; ALTER EXTENSION pg_mig DROP VIEW mig.status; ALTER EXTENSION pg_mig DROP VIEW mig.drift; \
             ALTER EXTENSION pg_mig DROP VIEW mig.standing; DROP VIEW mig.standing CASCADE; \
             ALTER TABLE mig.mapping DROP COLUMN settled, DROP COLUMN author, DROP COLUMN objects, DROP COLUMN known_schema, DROP COLUMN known_name; ALTER TABLE mig.migration DROP COLUMN search_path; ALTER EXTENSION pg_mig DROP VIEW mig.history; DROP VIEW mig.history; ALTER TABLE mig.step_log DROP COLUMN owner; {UNDUMPED}"
        ))
        .unwrap();
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE DATABASE moved").unwrap();
    let mut client = cluster.connect("moved");
    client
        .batch_execute(&format!("CREATE EXTENSION pg_mig VERSION '{FIRST}'"))
        .unwrap();
    // Its tables hold what those of that version held.
    cluster.copy_by_dump("begun", "moved", "postgres");
    client
        .batch_execute("INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'meanwhile')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 1 FROM project_sign_ups WHERE email = 'meanwhile'"
    ));
    let (code, detail, hint) = refused(&mut client, "SELECT mig_backfill()");
    assert_eq!(
        (code.as_str(), hint.as_str()),
        ("55000", "ALTER EXTENSION pg_mig UPDATE;")
    );
    assert!(detail.contains(FIRST), "{detail}");
    assert!(yes(
        &mut client,
        "SELECT phase = 'dual_write' FROM mig_status()"
    ));
    // The state stays open for older sessions: their mirrors may read it as the application.
    let elder = cluster.connect("moved");
    let open = "SELECT has_table_privilege('stranger', 'mig.mapping', 'SELECT')";
    client
        .batch_execute("ALTER EXTENSION pg_mig UPDATE")
        .unwrap();
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
    // This session is older than the update: it might have a library whose mirror waits for no copy.
    let locked = "SELECT count(*) > 10 FROM email_reminders_sent WHERE xmax::text <> '0'";
    assert!(yes(&mut client, locked));
    client.batch_execute("SELECT mig_switch()").unwrap();
    // It might also take a table that several others become for one old table's.
    let mut later = cluster.connect("moved");
    later
        .batch_execute(
            "CREATE TABLE a (id uuid PRIMARY KEY DEFAULT gen_random_uuid()); CREATE TABLE b (id uuid PRIMARY KEY DEFAULT gen_random_uuid()); \
             SELECT mig_define('pair'); SELECT mig_add_table('pair', 'a', 'ab', columns => '{\"kind\": \"1\"}'); \
             SELECT mig_add_table('pair', 'b', 'ab', columns => '{\"kind\": \"2\"}')",
        )
        .unwrap();
    let (code, detail, _) = refused(&mut later, "SELECT mig_create('pair')");
    assert_eq!(code, "55000");
    assert!(detail.contains("old sessions"), "{detail}");
    assert!(yes(&mut later, open));
    drop((client, elder));
    let gone =
        "SELECT NOT EXISTS (SELECT FROM mig_preflight('pair') WHERE check_name = 'old sessions')";
    until_sql(&mut later, gone);
    later.batch_execute("SELECT mig_create('pair')").unwrap();
    assert!(!yes(&mut later, open));

    let mut client = mirrored(cluster, "new", 1000);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert!(!yes(&mut client, locked));
}
