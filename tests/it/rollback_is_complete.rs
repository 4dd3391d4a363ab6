//! Every ending leaves nothing behind: back from each phase the database is what it was, to the last comment.

use crate::common::cluster::Cluster;
use crate::common::cover::{DEFINE, fill};
use crate::wait::{backfilled, until_sql};
use postgres::Client;
use std::collections::BTreeSet;

/// Everything that somebody could find in the catalog, a line each, and what runs.
const INVENTORY: &str = "SELECT string_agg(what, E'\\n' ORDER BY what) FROM (
    SELECT format('%s %s %s %s %s', c.relkind, c.oid::regclass, c.relowner::regrole, c.relacl, obj_description(c.oid, 'pg_class')) AS what
    FROM pg_class c WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL SELECT format('column %s.%s %s %s', a.attrelid::regclass, a.attname, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' WHERE a.attnum > 0
    UNION ALL SELECT format('trigger %s %s', t.tgrelid::regclass, pg_get_triggerdef(t.oid)) FROM pg_trigger t WHERE NOT t.tgisinternal
    UNION ALL SELECT format('constraint %s %s', k.conrelid::regclass, pg_get_constraintdef(k.oid)) FROM pg_constraint k WHERE k.conrelid <> 0
    UNION ALL SELECT format('rule %s %s', r.ev_class::regclass, r.rulename) FROM pg_rewrite r
    UNION ALL SELECT format('policy %s %s', p.polrelid::regclass, p.polname) FROM pg_policy p
    UNION ALL SELECT format('function %s %s', f.oid::regprocedure, f.proacl) FROM pg_proc f
    UNION ALL SELECT format('sequence %s of %s.%s', d.objid::regclass, d.refobjid::regclass, d.refobjsubid)
    FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' WHERE d.deptype IN ('a', 'i')
    UNION ALL SELECT format('lock %s %s', l.objid, l.objsubid) FROM pg_locks l WHERE l.locktype = 'object' AND l.classid = 'mig.migration'::regclass
    UNION ALL SELECT format('worker %s', b.pid) FROM pg_stat_activity b WHERE b.backend_type LIKE 'pg_mig%'
    UNION ALL SELECT format('our rows %s', (SELECT count(*) FROM mig.migration) + (SELECT count(*) FROM mig.mapping) + (SELECT count(*) FROM mig.job)
      + (SELECT count(*) FROM mig.leftover) + (SELECT count(*) FROM mig.unmirrored) + (SELECT count(*) FROM mig.row_error) + (SELECT count(*) FROM mig.check_result))) x";

fn inventory(client: &mut Client) -> String {
    client
        .query_one(INVENTORY, &[])
        .expect("it is listed")
        .get(0)
}

/// What the second has and the first lacks, and the other way round.
fn changes(before: &str, after: &str) -> Vec<String> {
    let [before, after] = [before, after].map(|all| all.lines().collect::<BTreeSet<_>>());
    let gone = before.difference(&after).map(|l| format!("- {l}"));
    let come = after.difference(&before).map(|l| format!("+ {l}"));
    gone.chain(come).collect()
}

#[test]
fn back_from_each_phase_nothing_is_left() {
    let cluster = Cluster::start("it_endings", "");
    require_nothing_left(&cluster, "");
}

/// Foreign keys of our own tables, too, are triggers that such a session does not fire.
#[test]
fn nothing_is_left_by_a_session_that_applies_changes() {
    let cluster = Cluster::start("it_endings_replica", "");
    require_nothing_left(&cluster, "SET session_replication_role = replica");
}

/// Goes to each phase and back, in a session with these settings.
fn require_nothing_left(cluster: &Cluster, settings: &str) {
    let mut client = cluster.database("endings");
    fill(&mut client, 300);
    client.batch_execute(settings).unwrap();
    let before = inventory(&mut client);
    // The last step that is taken, one more each time.
    let steps = [
        "SELECT mig_create()",
        "SELECT mig_dual_write()",
        "SELECT mig_backfill()",
        "SELECT mig_switch()",
        "SELECT mig_stop()",
        "SELECT mig_archive(compat_views => true)",
    ];
    for taken in 1..=steps.len() {
        for sql in DEFINE {
            client.simple_query(sql).unwrap();
        }
        client
            .simple_query("SELECT mig_configure('cover', '{\"archive_after_days\": 0}')")
            .unwrap();
        for step in &steps[..taken] {
            client.simple_query(step).unwrap();
            if step.contains("backfill") {
                backfilled(&mut client);
            }
        }
        assert!(!changes(&before, &inventory(&mut client)).is_empty());
        client
            .simple_query("SELECT mig_rollback('cover', 'defined')")
            .unwrap();
        until_sql(&mut client, "SELECT phase = 'defined' FROM mig_status()");
        client.simple_query("SELECT mig_drop('cover')").unwrap();
        until_sql(
            &mut client,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'pg_mig%')",
        );
        let left = changes(&before, &inventory(&mut client));
        assert_eq!(left, Vec::<String>::new(), "after {}", steps[taken - 1]);
    }
}
