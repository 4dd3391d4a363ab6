//! Checks beside writers: no false difference, and every true one.

use super::doubts;
use crate::common::both_sides::{Crew, ROLLING, Side};
use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::common::writers::Random;
use crate::main_job::mirrored;
use crate::wait::{all_differences, backfilled, is_long, step, until};
use postgres::Client;
use std::time::Duration;

/// With the old side written, and as many with both.
fn checks() -> u32 {
    if is_long() { 100 } else { 25 }
}

fn copied(cluster: &Cluster, database: &str) -> Client {
    let mut client = mirrored(cluster, database, 1000);
    client.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client
}

/// A table whose rows are past its sequence, from which somebody draws all the time: where it stands says nothing about the
/// new table.
fn behind_its_rows(cluster: &Cluster, client: &mut Client, table: &str) -> Load<()> {
    let far =
        format!("UPDATE {table} SET id = 1000000000 WHERE id = (SELECT max(id) FROM {table})");
    assert_eq!(client.execute(&far, &[]).expect("moves a row"), 1);
    let mut other = cluster.connect("checks");
    let draw = format!("SELECT nextval(pg_get_serial_sequence('{table}', 'id'))");
    Load::start([move |place: &Place| {
        while !place.is_over() {
            other.simple_query(&draw).expect("draws");
            place.count();
        }
    }])
}

#[test]
fn checks_beside_eight_writers_find_no_false_difference() {
    let cluster = Cluster::start("it_checks", "deadlock_timeout = 100ms");
    let mut client = copied(&cluster, "checks");
    let drawing = behind_its_rows(&cluster, &mut client, "email_reminders_sent");
    let crew = Crew::start(&cluster, "checks", &[Side::Old; 8], Duration::ZERO);
    for _ in 0..checks() {
        drawing.wait_for(10);
        crew.wait_for(10);
        assert_eq!(doubts(&mut client), Vec::<String>::new());
    }
    drawing.stop();
    let mut tally = crew.stop();
    step(&mut client, "SELECT mig_switch()");
    let mut sides = ROLLING.to_vec();
    sides.extend([Side::Old, Side::New]);
    let crew = Crew::start(&cluster, "checks", &sides, Duration::ZERO);
    for _ in 0..checks() {
        crew.wait_for(10);
        assert_eq!(doubts(&mut client), Vec::<String>::new());
    }
    tally.add(crew.stop());
    println!("{tally:?}");
    assert!(tally.is_clean(), "{tally:?}");
}

/// One column of one row, on one side, behind the mirror. The old table's mirror is switched off and on again for it, which
/// a check sees too.
fn damage(client: &mut Client, random: &mut Random, old: bool) -> String {
    // The writers change rows 1 to 60, and delete from 101 on.
    let id = 61 + random.below(40);
    let mut tx = client.transaction().unwrap();
    let sql = if old {
        format!(
            "ALTER TABLE sign_ups DISABLE TRIGGER USER; UPDATE sign_ups SET email = email || '!' WHERE id = {id}; \
             ALTER TABLE sign_ups ENABLE ALWAYS TRIGGER \"!mig_2_forward_row\"; ALTER TABLE sign_ups ENABLE ALWAYS TRIGGER \"!mig_2_forward_truncate\""
        )
    } else {
        format!("UPDATE project_sign_ups SET email = email || '?' WHERE id = {id}")
    };
    tx.batch_execute(&sql).unwrap();
    tx.commit().unwrap();
    id.to_string()
}

#[test]
fn one_changed_row_is_found_each_time_and_named() {
    let cluster = Cluster::start("it_found", "");
    let mut client = copied(&cluster, "found");
    let crew = Crew::start(&cluster, "found", &[Side::Old; 4], Duration::from_millis(1));
    let mut random = Random::new(7);
    for n in 0..if is_long() { 40 } else { 16 } {
        crew.wait_for(10);
        let old = n % 2 == 0;
        let id = damage(&mut client, &mut random, old);
        let named = client
            .query(
                "SELECT key->>'id', kind, source_row->>'email', target_row->>'email' FROM mig_diff('cover', 'sign_ups')",
                &[],
            )
            .unwrap();
        let failed = doubts(&mut client);
        assert_eq!(named.len(), 1, "{failed:?}");
        let text = |n| named[0].get::<_, String>(n);
        assert_eq!((text(0), text(1)), (id, "different".to_owned()));
        assert_ne!(text(2), text(3));
        assert_eq!(
            text(2).trim_end_matches(['!', '?']),
            text(3).trim_end_matches(['!', '?'])
        );
        let says = |what: &str| failed.iter().any(|l| l.contains(what));
        assert!(says("sign_ups: rows different: 0 / 1"), "{failed:?}");
        if old {
            assert!(says("altered since it went in"), "{failed:?}");
            step(&mut client, "SELECT mig_dual_write()");
        }
        client
            .simple_query("SELECT mig_repair(dry_run => false)")
            .unwrap();
        assert_eq!(doubts(&mut client), Vec::<String>::new());
        assert_eq!(all_differences(&mut client).1, 0);
    }
    let tally = crew.stop();
    assert!(tally.is_clean(), "{tally:?}");
}

/// A table that somebody empties after the check's moment, and before it is read: older snapshots see it empty, too.
#[test]
fn a_table_truncated_under_a_check_is_no_difference() {
    let cluster = Cluster::start("it_truncated", "deadlock_timeout = 100ms");
    let mut client = copied(&cluster, "truncated");
    let mut waits = |pid: i32| -> bool {
        let sql = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
        client.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) > 0
    };
    let pid = |c: &mut Client| c.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let mut other = cluster.connect("truncated");
    let mut holder = other.transaction().unwrap();
    // The check looks here after its moment, and before it reads rows.
    holder
        .batch_execute("LOCK TABLE mig.leftover IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let mut checker = cluster.connect("truncated");
    let at = pid(&mut checker);
    let check = std::thread::spawn(move || doubts(&mut checker));
    until("the check has its moment", || waits(at));
    let mut emptier = cluster.connect("truncated");
    let at = pid(&mut emptier);
    let truncate =
        std::thread::spawn(move || emptier.batch_execute("TRUNCATE email_reminders_sent"));
    until("the table is empty, or waited for", || {
        truncate.is_finished() || waits(at)
    });
    holder.rollback().unwrap();
    assert_eq!(check.join().expect("checks"), Vec::<String>::new());
    truncate.join().expect("truncates").expect("no error");
    assert_eq!(all_differences(&mut client).1, 0);
}
