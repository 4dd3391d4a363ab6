//! Rows outside a mapping's filter stay at home: nothing disappears with a filter.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;

fn start(name: &'static str) -> (Cluster, Client) {
    let cluster = Cluster::start(name, "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE ROLE app; CREATE TABLE t(id serial PRIMARY KEY, tenant int, n text); \
             INSERT INTO t(tenant, n) SELECT 1 + g % 2, 'n' FROM generate_series(1, 10) g; INSERT INTO t(n) VALUES ('null'); \
             GRANT SELECT, INSERT, UPDATE, DELETE ON t TO app; GRANT USAGE ON SEQUENCE t_id_seq TO app; \
             SELECT mig_define('t', options => '{\"archive_after_days\": 0, \"drop_after_days\": 0}'); \
             SELECT mig_add_table('t', 't', 't_new', filter => 'tenant = 1')",
        )
        .unwrap();
    (cluster, client)
}

fn to_stopped(client: &mut Client) {
    for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
        client
            .batch_execute(&format!("SELECT {call}('t')"))
            .unwrap();
    }
    backfilled(client);
    client
        .batch_execute("SELECT mig_switch('t'); SELECT mig_stop('t')")
        .unwrap();
}

#[test]
fn rows_outside_the_filter_are_counted_written_shown_and_kept() {
    let (cluster, mut client) = start("it_filter");
    let counted = "SELECT count(*) = 1 FROM mig_preflight('t') WHERE check_name = 'rows outside the filter' AND severity = 'warning' AND detail ~ 'leaves out 6 rows'";
    assert!(yes(&mut client, counted));
    to_stopped(&mut client);
    let mut app = cluster.connect("postgres");
    app.batch_execute("SET ROLE app").unwrap();
    for (sql, passes) in [
        ("UPDATE t SET n = 'x' WHERE tenant = 2", true),
        ("UPDATE t SET n = 'x' WHERE tenant IS NULL", true),
        (
            "INSERT INTO t(tenant, n) VALUES (2, 'new'), (NULL, 'new')",
            true,
        ),
        ("DELETE FROM t WHERE n = 'new'", true),
        (
            "UPDATE t SET tenant = 3 WHERE id = (SELECT min(id) FROM t WHERE tenant = 2)",
            true,
        ),
        ("UPDATE t SET n = 'x' WHERE tenant = 1", false),
        ("UPDATE t SET n = 'x'", false),
        ("DELETE FROM t WHERE tenant = 1", false),
        ("INSERT INTO t(tenant, n) VALUES (2, 'y'), (1, 'y')", false),
        ("UPDATE t SET tenant = 1 WHERE tenant = 2", false),
        ("UPDATE t SET tenant = 2 WHERE tenant = 1", false),
        (
            "MERGE INTO t USING (VALUES (1)) v(x) ON tenant = x WHEN MATCHED THEN DELETE",
            false,
        ),
    ] {
        if passes {
            app.batch_execute(sql).expect(sql);
            continue;
        }
        let (code, detail, hint) = refused(&mut app, sql);
        assert_eq!(code, "55000", "{sql}");
        assert_eq!(
            detail,
            "Rows that the mapping's filter takes live in public.t_new, the others in public.t."
        );
        assert_eq!(hint, "Write to public.t_new instead.");
    }
    assert_eq!(refused(&mut client, "TRUNCATE t").0, "55000");
    // The new table is written by itself.
    app.batch_execute(
        "UPDATE t_new SET n = 'moved'; INSERT INTO t_new(id, tenant, n) VALUES (100, 1, 'moved')",
    )
    .unwrap();

    let (code, detail, hint) =
        refused(&mut client, "SELECT mig_archive('t', compat_views => true)");
    assert_eq!(
        (code.as_str(), detail.as_str()),
        ("55000", "Only in the old tables: 6 rows of public.t.")
    );
    let call = "SELECT * FROM mig_archive('t', compat_views => true, force => true)";
    assert!(hint.contains(call), "{hint}");
    client.batch_execute(call).unwrap();
    let all = "SELECT count(*) = 12 AND count(*) FILTER (WHERE n = 'moved') = 6 AND count(*) FILTER (WHERE tenant IS DISTINCT FROM 1) = 6 FROM t";
    assert!(yes(&mut app, all), "the view shows both");
    let (code, detail, _) = refused(&mut app, "UPDATE t SET n = 'v'");
    assert_eq!(
        (code.as_str(), detail.as_str()),
        (
            "55000",
            "Rows that the mapping's filter takes live in public.t_new, the others in public.t_archive."
        )
    );
    app.batch_execute("UPDATE t_archive SET n = 'home' WHERE tenant = 2")
        .unwrap();
    let (code, detail, hint) = refused(&mut client, "SELECT mig_drop('t', archives => true)");
    assert_eq!(
        (code.as_str(), detail.as_str()),
        (
            "55000",
            "Only in the old tables: 6 rows of public.t_archive."
        )
    );
    let call = "SELECT * FROM mig_drop('t', archives => true, force => true)";
    assert!(hint.contains(call), "{hint}");
    client.batch_execute(call).unwrap();
    assert!(yes(
        &mut app,
        "SELECT count(*) = 6 AND to_regclass('t_archive') IS NULL FROM t"
    ));
}

#[test]
fn the_way_back_keeps_what_was_written_at_home() {
    let (_cluster, mut client) = start("it_filter_back");
    to_stopped(&mut client);
    client
        .batch_execute("INSERT INTO t(id, tenant, n) VALUES (50, 2, 'home'); UPDATE t_new SET n = 'moved' WHERE id = 2; DELETE FROM t_new WHERE id = 4; SELECT mig_rollback('t')")
        .unwrap();
    backfilled(&mut client);
    client.batch_execute("SELECT mig_assert('t')").unwrap();
    let right = "SELECT count(*) = 11 AND count(*) FILTER (WHERE n = 'home') = 1 AND count(*) FILTER (WHERE n = 'moved') = 1 AND bool_and(id <> 4) FROM t";
    assert!(yes(&mut client, right));
    client.batch_execute("UPDATE t SET tenant = 1 WHERE id = 50; UPDATE t SET tenant = 2 WHERE id = 2; SELECT mig_assert('t')").unwrap();
    assert!(yes(
        &mut client,
        "SELECT array_agg(id ORDER BY id) = '{6,8,10,50}' FROM t_new"
    ));
    client
        .batch_execute("SELECT mig_rollback('t', 'defined'); SELECT mig_drop('t')")
        .unwrap();
}

#[test]
fn a_filter_that_leaves_out_nothing_asks_nothing() {
    let (_cluster, mut client) = start("it_filter_whole");
    client
        .batch_execute("DELETE FROM t WHERE tenant IS DISTINCT FROM 1")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM mig_preflight('t') WHERE check_name = 'rows outside the filter'"
    ));
    to_stopped(&mut client);
    client
        .batch_execute("SELECT mig_archive('t'); SELECT mig_drop('t', archives => true)")
        .unwrap();
}
