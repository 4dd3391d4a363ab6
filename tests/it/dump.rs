//! A dump in mid-migration, by the owner who is no superuser and by a superuser; and an extension that goes.

use crate::common::cluster::{Cluster, shell};
use crate::main_job::ready;
use crate::wait::{all_differences, at_full_speed, backfilled, go_slowly, refused, until_sql, yes};
use postgres::Client;

/// A database of a role that is no superuser, with the five tables half copied and a worker at work.
fn halfway(cluster: &Cluster) -> Client {
    let mut admin = cluster.connect("postgres");
    for sql in [
        "CREATE ROLE team LOGIN",
        "CREATE DATABASE app OWNER team",
        "CREATE DATABASE by_team OWNER team",
        "CREATE DATABASE by_postgres",
        "CREATE DATABASE later OWNER team",
    ] {
        admin.batch_execute(sql).unwrap();
    }
    let mut client = cluster.connect_as("app", "team");
    client
        .batch_execute(include_str!("../common/schema.sql"))
        .unwrap();
    client
        .batch_execute("SELECT pg_temp.fill(2000); CREATE EXTENSION pg_mig")
        .unwrap();
    ready(&mut client);
    go_slowly(&mut client, "cover", 1000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    until_sql(
        &mut client,
        "SELECT bool_or(copied) AND sum(rows_done) > 500 FROM mig.tables",
    );
    client
}

/// The copy says what runs in it and what does not, its mirrors work, and its backfill goes to the end.
fn goes_on(client: &mut Client) {
    assert!(yes(
        client,
        "SELECT phase = 'dual_write' AND state = 'failed' AND problem ~ 'no job runs here' AND next_step = 'SELECT mig_backfill(''cover'');' FROM mig_status()"
    ));
    assert!(yes(client, "SELECT count(job) = 0 FROM mig.progress"));
    assert!(yes(
        client,
        "SELECT count(*) = 0 FROM mig_check() WHERE NOT ok"
    ));
    client
        .batch_execute("INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'in the copy')")
        .unwrap();
    assert!(yes(
        client,
        "SELECT count(*) = 1 FROM project_sign_ups WHERE email = 'in the copy'"
    ));
    at_full_speed(client, "cover");
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(client);
    assert_eq!(all_differences(client).1, 0);
    client.simple_query("SELECT mig_assert()").unwrap();
}

#[test]
fn a_dump_in_mid_migration_restores_and_goes_on() {
    let cluster = Cluster::start("it_dump", "");
    let mut client = halfway(&cluster);
    cluster.copy_by_dump("app", "by_team", "team");
    cluster.copy_by_dump("app", "by_postgres", "postgres");
    goes_on(&mut cluster.connect_as("by_team", "team"));
    goes_on(&mut cluster.connect("by_postgres"));
    at_full_speed(&mut client, "cover");
    backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop()")
        .unwrap();
    // Later on: guards come along, and the way back works in the copy.
    cluster.copy_by_dump("app", "later", "team");
    let mut copy = cluster.connect_as("later", "team");
    assert!(yes(
        &mut copy,
        "SELECT phase = 'stopped' AND state = 'ok' AND problem IS NULL FROM mig_status()"
    ));
    assert_eq!(refused(&mut copy, "DELETE FROM sign_ups").0, "55000");
    copy.batch_execute("UPDATE project_sign_ups SET email = 'new' WHERE id = 1")
        .unwrap();
    copy.simple_query("SELECT mig_rollback('cover')").unwrap();
    backfilled(&mut copy);
    assert_eq!(all_differences(&mut copy).1, 0);
}

#[test]
fn the_extension_stays_while_it_is_needed_and_goes_without_harm() {
    let cluster = Cluster::start("it_goes", "");
    let mut client = halfway(&cluster);
    client.simple_query("SELECT mig_cancel()").unwrap();
    let (code, detail, hint) = refused(&mut client, "DROP EXTENSION pg_mig");
    assert!(
        code == "2BP01"
            && detail.contains("!mig_1_forward_row on table round_metadata")
            && hint.contains("CASCADE"),
        "{code} {detail}"
    );
    let before: i64 = client
        .query_one("SELECT count(*) FROM project_sign_ups", &[])
        .unwrap()
        .get(0);
    client
        .batch_execute("SET client_min_messages = error; DROP EXTENSION pg_mig CASCADE")
        .unwrap();
    for sql in [
        "INSERT INTO sign_ups (round_id, user_id, email) VALUES (1, gen_random_uuid(), 'alone')",
        "UPDATE round_metadata SET title = 'alone' WHERE id = 1",
        "DELETE FROM submissions WHERE id = (SELECT min(id::text)::uuid FROM submissions)",
        "TRUNCATE email_reminders_sent",
    ] {
        client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    // What was copied stays, nothing follows, and a fresh start is possible.
    assert!(yes(
        &mut client,
        &format!("SELECT count(*) = {before} FROM project_sign_ups")
    ));
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_trigger WHERE tgname ~ '^!mig'"
    ));
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_namespace WHERE nspname = 'mig'"
    ));
    client
        .batch_execute("DROP TABLE project_rounds, project_sign_ups, project_submissions, project_votes, project_email_reminders CASCADE; CREATE EXTENSION pg_mig")
        .unwrap();
    ready(&mut client);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(all_differences(&mut client).1, 0);
}

/// Tables of `vic`, in a database of `inst`, who is a member of vic and installs: one migration of tables with an id map, one of columns.
fn in_the_installers_database(cluster: &Cluster) -> Client {
    let mut admin = cluster.connect("postgres");
    for sql in [
        "CREATE ROLE vic LOGIN",
        "CREATE ROLE inst LOGIN CREATEDB IN ROLE vic",
        "CREATE DATABASE of_inst OWNER inst",
    ] {
        admin.batch_execute(sql).unwrap();
    }
    let mut inst = cluster.connect_as("of_inst", "inst");
    inst.batch_execute(
        "CREATE EXTENSION pg_mig; CREATE SCHEMA shop AUTHORIZATION vic; SET ROLE vic;
         CREATE TABLE shop.old_orders (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, note text);
         CREATE TABLE shop.videos (id int PRIMARY KEY, facts text);
         INSERT INTO shop.old_orders (note) SELECT 'note ' || g FROM generate_series(1, 50) g;
         INSERT INTO shop.videos SELECT g, 'fact ' || g FROM generate_series(1, 50) g;
         RESET ROLE;
         SELECT mig_define('orders');
         SELECT mig_add_table('orders', 'shop.old_orders', 'shop.new_orders', id_mode => 'remap');
         SELECT mig_create('orders'); SELECT mig_dual_write('orders');
         SELECT mig_define('words'); SELECT mig_add_column('words', 'shop.videos', 'words', 'text', up => 'upper(facts)');
         SELECT mig_create('words'); SELECT mig_dual_write('words')",
    )
    .unwrap();
    inst
}

/// What restores as the installer cannot give the objects in our schema away.
fn restore_as_installer(cluster: &Cluster, from: &str, to: &str) -> Client {
    let server = format!("-h {} -U inst", cluster.host());
    let said = shell(&format!(
        "$pg_bin/createdb {server} {to}; $pg_bin/pg_dump {server} -Fc {from} >$work/{to}.dump; $pg_bin/pg_restore {server} -d {to} $work/{to}.dump 2>&1 || true; rm $work/{to}.dump"
    ));
    assert!(said.contains("permission denied for schema mig"), "{said}");
    cluster.connect_as(to, "inst")
}

fn run_to_the_end(client: &mut Client, migration: &str) {
    client
        .batch_execute(&format!("SELECT mig_backfill('{migration}')"))
        .unwrap();
    until_sql(
        client,
        &format!("SELECT phase = 'backfilled' FROM mig_status('{migration}')"),
    );
    client
        .batch_execute(&format!("SELECT mig_switch('{migration}')"))
        .unwrap();
}

/// PostgreSQL gives an object away only to a role that may create in its schema. So the restore leaves the views and the id map to the
/// role that restores.
#[test]
fn a_restore_that_could_not_give_the_views_away_is_seen_and_mended() {
    let cluster = Cluster::start("it_dump_inst", "");
    drop(in_the_installers_database(&cluster));
    let mut copy = restore_as_installer(&cluster, "of_inst", "copy_of_inst");
    let next: Vec<String> = copy
        .query("SELECT next_step FROM mig_status() WHERE state = 'failed' AND problem ~ 'belongs to role inst' ORDER BY 1", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(
        next,
        [
            "SELECT * FROM mig_dual_write('orders');",
            "SELECT * FROM mig_dual_write('words');"
        ]
    );
    copy.batch_execute("INSERT INTO shop.old_orders (note) VALUES ('passes')")
        .unwrap();
    assert!(yes(
        &mut copy,
        "SELECT problem ~ 'let writes pass' FROM mig_status('orders')"
    ));
    for step in next {
        copy.batch_execute(&step).unwrap();
    }
    assert!(yes(
        &mut copy,
        "SELECT count(*) = 0 FROM mig_status() WHERE problem ~ 'belongs to role'"
    ));
    copy.batch_execute(
        "SET ROLE vic; INSERT INTO shop.old_orders (note) VALUES ('in the copy'); UPDATE shop.videos SET facts = 'new' WHERE id = 7; RESET ROLE",
    )
    .unwrap();
    assert!(yes(
        &mut copy,
        "SELECT count(*) = 1 FROM shop.new_orders WHERE note = 'in the copy'"
    ));
    assert!(yes(
        &mut copy,
        "SELECT words = 'NEW' FROM shop.videos WHERE id = 7"
    ));
    for migration in ["orders", "words"] {
        run_to_the_end(&mut copy, migration);
    }
    copy.batch_execute("INSERT INTO shop.new_orders (note) VALUES ('both ways')")
        .unwrap();
    assert!(yes(
        &mut copy,
        "SELECT count(*) = 1 FROM shop.old_orders WHERE note = 'both ways'"
    ));
}

/// The same with both sides live, where mig_switch mends it, and after mig_stop, where the way back does.
#[test]
fn views_that_were_not_given_away_are_mended_late_too() {
    let cluster = Cluster::start("it_dump_late", "");
    let mut inst = in_the_installers_database(&cluster);
    for migration in ["orders", "words"] {
        run_to_the_end(&mut inst, migration);
    }
    let mut copy = restore_as_installer(&cluster, "of_inst", "switched");
    assert!(yes(
        &mut copy,
        "SELECT next_step = 'SELECT * FROM mig_switch(''orders'');' FROM mig_status('orders')"
    ));
    for migration in ["orders", "words"] {
        copy.batch_execute(&format!("SELECT * FROM mig_switch('{migration}')"))
            .unwrap();
    }
    copy.batch_execute("INSERT INTO shop.old_orders (note) VALUES ('from old'); INSERT INTO shop.new_orders (note) VALUES ('from new')")
        .unwrap();
    assert!(yes(
        &mut copy,
        "SELECT array_agg(note ORDER BY note) = '{from new,from old}' FROM shop.old_orders JOIN shop.new_orders USING (note) WHERE note ~ '^from'"
    ));
    inst.batch_execute("SELECT mig_stop('orders')").unwrap();
    let mut copy = restore_as_installer(&cluster, "of_inst", "stopped");
    copy.batch_execute(
        "INSERT INTO shop.new_orders (note) VALUES ('comes back'); SELECT mig_rollback('orders')",
    )
    .unwrap();
    until_sql(
        &mut copy,
        "SELECT phase = 'switched' AND state <> 'running' FROM mig_status('orders')",
    );
    assert!(yes(
        &mut copy,
        "SELECT count(*) = 1 FROM shop.old_orders WHERE note = 'comes back'"
    ));
}

/// No trigger of ours reads the view of a computed column any more: who owns the view makes no difference.
#[test]
fn after_the_stop_of_a_computed_column_the_owner_may_change() {
    let cluster = Cluster::start("it_dump_computed", "");
    let mut inst = in_the_installers_database(&cluster);
    run_to_the_end(&mut inst, "words");
    inst.batch_execute("SELECT mig_stop('words')").unwrap();
    cluster
        .connect("of_inst")
        .batch_execute("CREATE ROLE other; ALTER TABLE shop.videos OWNER TO other")
        .unwrap();
    assert!(yes(
        &mut inst,
        "SELECT phase = 'stopped' AND state = 'ok' AND problem IS NULL FROM mig_status('words')"
    ));
}

/// A new owner whose rights the old one lacks gets no text of the old one to run: the change is seen, and nothing is given away.
#[test]
fn a_table_that_changes_its_owner_is_drift() {
    let cluster = Cluster::start("it_dump_owner", "");
    let mut inst = in_the_installers_database(&cluster);
    let mut admin = cluster.connect("of_inst");
    admin
        .batch_execute("CREATE ROLE other; ALTER TABLE shop.old_orders OWNER TO other; ALTER TABLE shop.videos OWNER TO other")
        .unwrap();
    for (migration, object) in [("orders", "m1_forward"), ("words", "columns_1")] {
        assert!(yes(
            &mut inst,
            &format!(
                "SELECT state = 'failed' AND problem ~ 'reads mig.{object}, which belongs to role vic' FROM mig_status('{migration}')"
            )
        ));
        let (code, _, hint) = refused(&mut admin, &format!("SELECT mig_dual_write('{migration}')"));
        assert!(
            code == "55000" && hint.contains("OWNER TO"),
            "{code} {hint}"
        );
    }
    assert!(yes(
        &mut admin,
        "SELECT count(*) = 0 FROM pg_class WHERE relnamespace = 'mig'::regnamespace AND relowner = 'other'::regrole"
    ));
}

/// As in a project whose test database is made from a dump of the schema alone.
#[test]
fn a_dump_of_the_schema_alone_says_what_to_do_about_its_triggers() {
    let cluster = Cluster::start("it_dump_schema", "");
    let mut client = cluster.connect("postgres");
    client.batch_execute("CREATE DATABASE structure").unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE t(id int PRIMARY KEY, a text); CREATE TABLE v(id int PRIMARY KEY, a text); SELECT mig_define('t'); SELECT mig_add_table('t', 't', 't2'); \
             SELECT mig_create('t'); SELECT mig_define('v'); SELECT mig_add_column('v', 'v', 'b', 'text', up => 'a', down => 'b', replaces => 'a'); SELECT mig_create('v')",
        )
        .unwrap();
    client
        .batch_execute("SELECT mig_dual_write('t'); SELECT mig_dual_write('v')")
        .unwrap();
    let server = format!("-h {} -U postgres", cluster.host());
    shell(&format!(
        "$pg_bin/pg_dump {server} --schema-only postgres | $pg_bin/psql {server} -X -q -v ON_ERROR_STOP=1 structure"
    ));
    let mut copy = cluster.connect("structure");
    for write in ["INSERT INTO t VALUES (1, 'a')", "TRUNCATE t"] {
        let (code, detail, hint) = refused(&mut copy, write);
        assert_eq!(code, "42501");
        assert!(detail.contains("dumped without the rows"), "{detail}");
        let first = hint
            .split("; ")
            .next()
            .unwrap()
            .split_once(": ")
            .unwrap()
            .1
            .to_owned();
        assert!(first.starts_with("DROP TRIGGER"), "{hint}");
        copy.batch_execute(&first).unwrap();
        copy.batch_execute(write).unwrap();
    }
    // Columns of one table are kept in step all the same.
    copy.batch_execute("INSERT INTO v VALUES (1, 'a')").unwrap();
    assert!(yes(&mut copy, "SELECT b = 'a' FROM v"));
}
