//! A server as Supabase hosts it: nobody is a superuser, default privileges grant to everybody, rows are guarded by policies,
//! and the application comes through PgBouncer in transaction mode.

mod users;

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, step, yes};
use postgres::Client;
use users::{Side, Users};

fn hosted(name: &'static str) -> (Cluster, Client) {
    let conf = "max_worker_processes = 4\nwal_level = logical";
    let cluster = Cluster::start_as(name, conf, "supabase_admin");
    let mut admin = cluster.connect_as("postgres", "supabase_admin");
    admin.batch_execute("CREATE DATABASE app").unwrap();
    let mut admin = cluster.connect_as("app", "supabase_admin");
    admin.batch_execute(include_str!("supabase.sql")).unwrap();
    let mut client = cluster.connect("app");
    client.batch_execute(include_str!("tables.sql")).unwrap();
    client
        .batch_execute("CREATE EXTENSION pg_mig WITH SCHEMA extensions")
        .unwrap();
    (cluster, client)
}

const DEFINE: &str = "SELECT mig_define('cover', 'projects', '00000000-0000-0000-0000-000000000001'); \
    SELECT mig_add_table('cover', 'round_metadata', 'project_rounds'); SELECT mig_add_table('cover', 'sign_ups', 'project_sign_ups'); \
    SELECT mig_add_table('cover', 'submissions', 'project_submissions'); SELECT mig_add_table('cover', 'song_selection_votes', 'project_votes'); \
    SELECT mig_add_table('cover', 'email_reminders_sent', 'project_email_reminders')";

const TABLES: [(&str, &str, &str); 5] = [
    (
        "round_metadata",
        "project_rounds",
        "id, slug, title, opens_at",
    ),
    (
        "sign_ups",
        "project_sign_ups",
        "id, round_id, user_id, email",
    ),
    (
        "submissions",
        "project_submissions",
        "id, round_id, user_id, url",
    ),
    (
        "song_selection_votes",
        "project_votes",
        "submission_id, user_id, points",
    ),
    (
        "email_reminders_sent",
        "project_email_reminders",
        "id, round_id, user_id, sent_at",
    ),
];

fn differences(client: &mut Client) -> i64 {
    TABLES
        .iter()
        .map(|t| crate::common::cover::differences(client, *t).1)
        .sum()
}

#[test]
fn the_whole_way_and_back_through_pgbouncer_and_no_user_sees_an_error() {
    let (cluster, mut client) = hosted("it_hosted");
    assert!(yes(
        &mut client,
        "SELECT NOT rolsuper FROM pg_roles WHERE rolname = current_user"
    ));
    let bouncer = cluster.bouncer();
    let users = Users::start(&bouncer, "app", 5);
    client.batch_execute(DEFINE).unwrap();
    client.simple_query("SELECT mig_create()").unwrap();
    step(&mut client, "SELECT mig_dual_write()");
    client
        .batch_execute("SELECT mig_configure('cover', '{\"batch_rows\": 50, \"batch_target_ms\": 2, \"delay_ms\": 5}'); SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    for _ in 0..5 {
        users.some_more();
        client.simple_query("SELECT mig_assert()").unwrap();
        assert_eq!(differences(&mut client), 0);
    }
    step(&mut client, "SELECT mig_switch()");
    users.write(Side::Both);
    users.some_more();
    for _ in 0..5 {
        users.some_more();
        client.simple_query("SELECT mig_assert()").unwrap();
        assert_eq!(differences(&mut client), 0);
    }
    users.write(Side::New);
    users.some_more();
    step(&mut client, "SELECT mig_stop()");
    users.some_more();
    step(&mut client, "SELECT mig_rollback('cover')");
    backfilled(&mut client);
    users.write(Side::Both);
    users.some_more();
    assert_eq!(differences(&mut client), 0);
    users.write(Side::New);
    users.some_more();
    step(&mut client, "SELECT mig_stop()");
    step(
        &mut client,
        "SELECT mig_archive(compat_views => true, force => true)",
    );
    users.some_more();
    let report = users.stop();
    println!("{report:?}");
    assert_eq!(report.errors, Vec::<String>::new());
    // What is left of ours at the very end: nothing.
    client
        .simple_query("SELECT mig_drop('cover', archives => true, force => true)")
        .unwrap();
    // The views under the old names are the team's own by now.
    client
        .batch_execute(
            "DROP VIEW song_selection_votes, submissions, sign_ups, email_reminders_sent, round_metadata; DROP EXTENSION pg_mig",
        )
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT count(*) = 0 FROM pg_namespace WHERE nspname = 'mig'"
    ));
}

/// Supabase's own advice for a database, as far as it can touch what we make: each finding is one line.
const LINTS: &str = "
    SELECT format('RLS disabled in public: %s', c.oid::regclass) FROM pg_class c
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relrowsecurity
    UNION ALL
    SELECT format('policy but RLS disabled: %s', c.oid::regclass) FROM pg_class c
      WHERE NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
    UNION ALL
    SELECT format('security definer view: %s', c.oid::regclass) FROM pg_class c
      WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
        AND NOT coalesce(c.reloptions::text ~ 'security_invoker=(true|on)', false)
    UNION ALL
    SELECT format('mutable search_path: %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname IN ('public') AND NOT coalesce(p.proconfig::text ~ 'search_path=', false)
    UNION ALL
    SELECT format('security definer function: %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE p.prosecdef AND n.nspname IN ('public', 'extensions', 'mig')
    UNION ALL
    SELECT format('extension in public: %s', e.extname) FROM pg_extension e WHERE e.extnamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('no primary key: %s', c.oid::regclass) FROM pg_class c
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
    UNION ALL
    SELECT format('unindexed foreign key: %s (%s)', co.conrelid::regclass, (SELECT string_agg(a.attname, ', ' ORDER BY k.n)
        FROM unnest(co.conkey) WITH ORDINALITY k(num, n) JOIN pg_attribute a ON a.attrelid = co.conrelid AND a.attnum = k.num))
      FROM pg_constraint co
      WHERE co.contype = 'f' AND co.connamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = co.conrelid AND i.indisvalid AND i.indpred IS NULL
          AND co.conkey::int2[] @> (i.indkey::int2[])[0:cardinality(co.conkey) - 1] AND (i.indkey::int2[])[0:cardinality(co.conkey) - 1] @> co.conkey::int2[])
    UNION ALL
    SELECT format('the API may execute: %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname IN ('extensions', 'mig') AND has_function_privilege('anon', p.oid, 'EXECUTE')
        AND p.proname NOT IN ('mig_status', 'mig_reads', 'mig_version', 'only', 'mig_config', 'mig_wait')";

fn findings(client: &mut Client) -> Vec<String> {
    let rows = client.query(&format!("{LINTS} ORDER BY 1"), &[]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

#[test]
fn the_hosts_own_lints_find_nothing_new() {
    let (_cluster, mut client) = hosted("it_lints");
    let before = findings(&mut client);
    client.batch_execute(DEFINE).unwrap();
    client
        .batch_execute("SELECT mig_create(); SELECT mig_dual_write()")
        .unwrap();
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    let ours = |found: Vec<String>| -> Vec<String> {
        found.into_iter().filter(|f| !before.contains(f)).collect()
    };
    assert_eq!(ours(findings(&mut client)), Vec::<String>::new());
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop(); SELECT mig_archive(compat_views => true, force => true)")
        .unwrap();
    let renamed = |f: &String| !before.iter().any(|b| f.replace("_archive", "") == *b);
    let found: Vec<String> = ours(findings(&mut client))
        .into_iter()
        .filter(renamed)
        .collect();
    assert_eq!(found, Vec::<String>::new());
    println!("{} findings before: {before:?}", before.len());
}
