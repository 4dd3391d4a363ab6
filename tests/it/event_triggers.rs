//! Event triggers of others: theirs see the names that they see in any session, and one that refuses DDL does not keep mig_detach away.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;

const SCHEMA: &str = "
CREATE TABLE ddl_log(event text, tag text);
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO ddl_log VALUES (tg_event, tg_tag); END';
CREATE FUNCTION log_end() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO ddl_log SELECT tg_event, object_identity FROM pg_event_trigger_ddl_commands(); END';
CREATE FUNCTION log_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO ddl_log SELECT tg_event, object_identity FROM pg_event_trigger_dropped_objects(); END';
CREATE EVENT TRIGGER log_start ON ddl_command_start EXECUTE FUNCTION log_ddl();
CREATE EVENT TRIGGER log_end ON ddl_command_end EXECUTE FUNCTION log_end();
CREATE EVENT TRIGGER log_drop ON sql_drop EXECUTE FUNCTION log_drop();
CREATE TABLE p(id int PRIMARY KEY, v text);
CREATE TABLE t(id serial PRIMARY KEY, p int REFERENCES p, v text DEFAULT 'd');
CREATE INDEX ON t(v);
INSERT INTO p SELECT g, 'v' FROM generate_series(1, 10) g;
INSERT INTO t(p) SELECT g FROM generate_series(1, 10) g;
SELECT mig_define('m', options => '{\"archive_after_days\": 0, \"drop_after_days\": 0}');
SELECT mig_add_table('m', 'p', 'p_new');
SELECT mig_add_table('m', 't', 't_new');
";

fn start(name: &'static str, role: &str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute(&format!(
            "CREATE EXTENSION pg_mig; {SCHEMA} CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner; SELECT mig_allow('owner'); \
             DO $$ BEGIN IF '{role}' = 'owner' THEN PERFORM mig_drop('m'); END IF; END $$; \
             ALTER TABLE p OWNER TO owner; ALTER TABLE t OWNER TO owner"
        ))
        .unwrap();
    let mut client = cluster.connect_as("postgres", role);
    if role == "owner" {
        let paths = "ALTER FUNCTION log_ddl() SET search_path = public; ALTER FUNCTION log_end() SET search_path = public; ALTER FUNCTION log_drop() SET search_path = public";
        let define = SCHEMA.split_once("SELECT mig_define").unwrap().1;
        client
            .batch_execute(&format!("SELECT mig_define{define}"))
            .unwrap();
        let warned = "SELECT count(*) = 3 FROM mig_preflight('m') WHERE check_name = 'event trigger' AND severity = 'warning'";
        assert!(yes(&mut client, warned));
        admin.batch_execute(paths).unwrap();
        assert!(yes(&mut client, &warned.replace("= 3", "= 0")));
    }
    (cluster, client)
}

fn whole_life(name: &'static str, role: &str) {
    let (_cluster, mut client) = start(name, role);
    for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
        client
            .batch_execute(&format!("SELECT {call}('m')"))
            .expect(call);
    }
    backfilled(&mut client);
    client
        .batch_execute(
            "SELECT mig_switch('m'); SELECT mig_rollback('m', 'created'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')",
        )
        .unwrap();
    backfilled(&mut client);
    client
        .batch_execute("SELECT mig_switch('m'); SELECT mig_stop('m'); SELECT mig_rollback('m')")
        .unwrap();
    backfilled(&mut client);
    client
        .batch_execute(
            "SELECT mig_stop('m'); SELECT mig_archive('m', compat_views => true); SELECT mig_drop('m', archives => true)",
        )
        .unwrap();
    let logged = "SELECT count(*) FILTER (WHERE event = 'ddl_command_end' AND tag = 'public.t_new') > 0 AND count(*) FILTER (WHERE event = 'sql_drop') > 0 FROM ddl_log";
    client.batch_execute("RESET ROLE").unwrap();
    let mut admin = _cluster.connect("postgres");
    assert!(yes(&mut admin, logged));
}

#[test]
fn event_triggers_see_their_names_in_every_step() {
    whole_life("it_event_admin", "postgres");
}

#[test]
fn event_triggers_see_their_names_in_steps_of_the_owner() {
    whole_life("it_event_owner", "owner");
}

#[test]
fn one_that_refuses_ddl_stops_neither_the_application_nor_the_detach() {
    let (cluster, mut client) = start("it_event_refuses", "postgres");
    for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
        client
            .batch_execute(&format!("SELECT {call}('m')"))
            .expect(call);
    }
    backfilled(&mut client);
    client.batch_execute("SELECT mig_switch('m')").unwrap();
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no DDL today''; END'; \
             CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()",
        )
        .unwrap();
    let mut app = cluster.connect("postgres");
    app.batch_execute("INSERT INTO t(p) VALUES (1); INSERT INTO t_new(id, p) VALUES (1000, 1); UPDATE t_new SET v = 'x'; DELETE FROM t WHERE id = 1000")
        .unwrap();
    for call in ["mig_stop('m')", "mig_rollback('m')"] {
        assert_eq!(
            refused(&mut client, &format!("SELECT {call}")).0,
            "P0001",
            "{call}"
        );
    }
    client.batch_execute("SELECT mig_detach('m')").unwrap();
    app.batch_execute("INSERT INTO t(p, v) VALUES (1, 'alone')")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM t_new WHERE v = 'alone')"
    ));
    client
        .batch_execute("DROP EVENT TRIGGER refuse; SELECT mig_rollback('m', 'defined')")
        .unwrap();
    let left = "SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgname ~ 'mig_') AND to_regclass('t_new') IS NULL";
    assert!(yes(&mut client, left));
}
