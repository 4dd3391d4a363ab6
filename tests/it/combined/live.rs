//! Seven tables to four, beside old and new instances of the application, through all phases and back from each.

use super::{DIFFERENT, SCHEMA, count, nothing_differs};
use crate::app_instances::{Crew, Writes};
use crate::common::cluster::Cluster;
use crate::common::writers::Random;
use crate::wait::{backfilled, step};
use postgres::Client;

/// An event that nobody deletes, and a statement that deletes one that only this instance knows of.
fn statement(new: bool, me: u64, n: u64, random: &mut Random) -> String {
    let (event, admin) = (1 + random.below(390), 1 + random.below(55));
    let own = format!("own{me}-%");
    let value = random.below(1_000_000);
    let status = ["pending", "played", "refused"][usize::try_from(random.below(3)).unwrap_or(0)];
    match (random.below(18), new) {
        (0, false) => {
            format!("INSERT INTO settings (slug, title) VALUES ('own{me}-{n}-{value}', 'new')")
        }
        (0, true) => format!(
            "INSERT INTO events (slug, theme, max_requests) VALUES ('own{me}-{n}-{value}', {}, 7)",
            ["'plain'", "'dark'"][usize::try_from(random.below(2)).unwrap_or(0)]
        ),
        (1, false) => format!(
            "WITH s AS (INSERT INTO settings (slug) VALUES ('own{me}-{n}-{value}') RETURNING id) SELECT id FROM s; \
             INSERT INTO event_settings (event_id, notes) SELECT id, 'at once' FROM settings WHERE slug = 'own{me}-{n}-{value}'"
        ),
        (1, true) => {
            format!("INSERT INTO events (slug, owner_id) VALUES ('own{me}-{n}-{value}', {admin})")
        }
        (2, false) => format!("UPDATE settings SET title = 'Title {value}' WHERE id = {event}"),
        (2, true) => format!("UPDATE events SET title = 'Title {value}' WHERE id = {event}"),
        (3, false) => format!(
            "INSERT INTO event_settings (event_id, theme, max_requests) VALUES ({event}, 'theme {value}', 1 + {value}) \
             ON CONFLICT (event_id) DO UPDATE SET theme = EXCLUDED.theme"
        ),
        (3, true) => format!(
            "UPDATE events SET theme = 'theme {value}', max_requests = 1 + {value} WHERE id = {event}"
        ),
        (4, false) => {
            format!("UPDATE event_settings SET notes = 'notes {value}' WHERE event_id = {event}")
        }
        (4, true) => format!(
            "UPDATE events SET notes = 'notes {value}' WHERE id = {event} AND theme IS NOT NULL"
        ),
        (5, false) => format!("DELETE FROM event_settings WHERE event_id = {event}"),
        (5, true) => format!(
            "UPDATE events SET theme = NULL, max_requests = NULL, notes = NULL WHERE id = {event}"
        ),
        (6, false) => format!(
            "DELETE FROM settings WHERE id = (SELECT id FROM settings WHERE slug LIKE '{own}' ORDER BY id LIMIT 1)"
        ),
        (6, true) => format!(
            "DELETE FROM events WHERE id = (SELECT id FROM events WHERE slug LIKE '{own}' ORDER BY id LIMIT 1)"
        ),
        (7, false) => format!(
            "INSERT INTO requests (event_id, song) SELECT id, 'song {value}' FROM settings WHERE id = {event} OR slug LIKE '{own}' LIMIT 3"
        ),
        (7, true) => format!(
            "INSERT INTO activity (kind, event_id, song, status) SELECT 'request', id, 'song {value}', 'pending' FROM events WHERE id = {event} OR slug LIKE '{own}' LIMIT 3"
        ),
        (8, false) => format!("UPDATE requests SET status = '{status}' WHERE event_id = {event}"),
        (8, true) => format!(
            "UPDATE activity SET status = '{status}' WHERE event_id = {event} AND kind = 'request'"
        ),
        (9, false) => format!(
            "DELETE FROM requests WHERE id = (SELECT min(id) FROM requests WHERE event_id = {event})"
        ),
        (9, true) => format!(
            "DELETE FROM activity WHERE id = (SELECT min(id) FROM activity WHERE event_id = {event} AND kind = 'request')"
        ),
        (10, false) => format!(
            "INSERT INTO notifications (event_id, admin_id, body) VALUES ({event}, {admin}, 'body {value}')"
        ),
        (10, true) => format!(
            "INSERT INTO activity (kind, event_id, admin_id, body) VALUES ('notification', {event}, {admin}, 'body {value}')"
        ),
        (11, false) => format!(
            "UPDATE notifications SET body = 'body {value}', event_id = {event} WHERE id = (SELECT max(id) FROM notifications WHERE admin_id = {admin})"
        ),
        (11, true) => format!(
            "UPDATE activity SET body = 'body {value}', event_id = {event} WHERE id = (SELECT max(id) FROM activity WHERE admin_id = {admin} AND kind = 'notification')"
        ),
        (12, false) => format!("DELETE FROM notifications WHERE event_id = {event}"),
        (12, true) => {
            format!("DELETE FROM activity WHERE event_id = {event} AND kind = 'notification'")
        }
        (13, false) => format!(
            "INSERT INTO spotify_auth (admin_id, access_token) VALUES ({admin}, 'token {value}') ON CONFLICT (admin_id) DO UPDATE SET access_token = EXCLUDED.access_token"
        ),
        (13, true) => format!(
            "UPDATE credentials SET access_token = 'token {value}' WHERE kind = 'spotify' AND admin_id = {admin}"
        ),
        (14, false) => format!(
            "INSERT INTO oauth_sessions (admin_id, provider, access_token) VALUES ({admin}, 'github', 'token {value}')"
        ),
        (14, true) => format!(
            "INSERT INTO credentials (kind, admin_id, provider, access_token) VALUES ('oauth', {admin}, 'github', 'token {value}')"
        ),
        (15, false) => format!(
            "DELETE FROM oauth_sessions WHERE id = (SELECT min(id) FROM oauth_sessions WHERE admin_id = {admin})"
        ),
        (15, true) => format!(
            "DELETE FROM credentials WHERE id = (SELECT min(id) FROM credentials WHERE admin_id = {admin} AND kind = 'oauth')"
        ),
        (16, false) => format!("UPDATE admins SET name = 'Name {value}' WHERE id = {admin}"),
        (16, true) => format!("UPDATE people SET name = 'Name {value}' WHERE id = {admin}"),
        (_, false) => format!("UPDATE settings SET owner_id = {admin} WHERE id = {event}"),
        (_, true) => {
            format!("UPDATE events SET owner_id = {admin}, notes = NULL WHERE id = {event}")
        }
    }
}

fn forth(client: &mut Client) {
    client.batch_execute("SELECT mig_create()").unwrap();
    step(client, "SELECT mig_dual_write()");
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(client);
    nothing_differs(client);
}

#[test]
fn seven_tables_become_four_beside_old_and_new_instances_and_back_from_everywhere() {
    let cluster = Cluster::start("it_combined_live", "deadlock_timeout = 200ms");
    let mut client = cluster.database("live");
    client.batch_execute(SCHEMA).unwrap();
    client
        .batch_execute("SELECT mig_configure('seven', '{\"batch_rows\": 100}')")
        .unwrap();
    let crew = Crew::start(&cluster, "live", statement);
    forth(&mut client);
    crew.some_more();
    nothing_differs(&mut client);
    step(&mut client, "SELECT mig_switch()");
    crew.write(Writes::Both);
    nothing_differs(&mut client);
    // Back, and forth again.
    crew.write(Writes::Old);
    step(&mut client, "SELECT mig_rollback('seven')");
    crew.some_more();
    nothing_differs(&mut client);
    step(&mut client, "SELECT mig_switch()");
    crew.write(Writes::New);
    nothing_differs(&mut client);
    step(&mut client, "SELECT mig_stop()");
    crew.some_more();
    step(&mut client, "SELECT mig_rollback('seven')");
    client.batch_execute("SELECT mig_wait()").unwrap();
    crew.write(Writes::Both);
    nothing_differs(&mut client);
    crew.write(Writes::New);
    step(&mut client, "SELECT mig_stop()");
    step(
        &mut client,
        "SELECT mig_archive('seven', compat_views => true, force => true)",
    );
    crew.some_more();
    assert_eq!(
        count(&mut client, DIFFERENT),
        0,
        "the views show what there is"
    );
    step(&mut client, "SELECT mig_rollback('seven', 'switched')");
    client.batch_execute("SELECT mig_wait()").unwrap();
    crew.write(Writes::Both);
    nothing_differs(&mut client);
    crew.write(Writes::Old);
    step(&mut client, "SELECT mig_rollback('seven', 'defined')");
    crew.some_more();
    // All the way to the end.
    forth(&mut client);
    step(&mut client, "SELECT mig_switch()");
    crew.write(Writes::New);
    nothing_differs(&mut client);
    step(&mut client, "SELECT mig_stop()");
    step(&mut client, "SELECT mig_archive('seven', force => true)");
    step(
        &mut client,
        "SELECT mig_drop('seven', archives => true, force => true)",
    );
    crew.some_more();
    let errors = crew.stop();
    println!("{errors:?}");
    assert!(
        errors.keys().all(|k| k == "40001" || k == "40P01"),
        "{errors:#?}"
    );
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')";
    assert_eq!(count(&mut client, left), 4);
}
