//! Several old tables that become one.

mod live;
mod parts;

use postgres::Client;

const SCHEMA: &str = include_str!("schema.sql");

/// Rows of either side that the other lacks, written down without a word of ours.
const DIFFERENT: &str = "
WITH old_events AS (SELECT s.id, s.slug, s.title, s.owner_id, s.created_at, e.theme, e.max_requests, e.notes
                    FROM settings s LEFT JOIN event_settings e ON e.event_id = s.id),
     new_events AS (SELECT id, slug, title, owner_id, created_at, theme, max_requests, notes FROM events),
     old_people AS (SELECT id, email, name, created_at FROM admins),
     new_people AS (SELECT id, email, name, created_at FROM people),
     old_activity AS (SELECT 'request' AS kind, event_id, created_at, song, status, NULL::int AS admin_id, NULL AS body FROM requests
                      UNION ALL SELECT 'notification', event_id, created_at, NULL, NULL, admin_id, body FROM notifications),
     new_activity AS (SELECT kind, event_id, created_at, song, status, admin_id, body FROM activity),
     old_credentials AS (SELECT 'spotify' AS kind, admin_id, access_token, expires_at, refresh_token, NULL AS provider FROM spotify_auth
                         UNION ALL SELECT 'oauth', admin_id, access_token, expires_at, NULL, provider FROM oauth_sessions),
     new_credentials AS (SELECT kind, admin_id, access_token, expires_at, refresh_token, provider FROM credentials)
SELECT (SELECT count(*) FROM (TABLE old_events EXCEPT ALL TABLE new_events) x) + (SELECT count(*) FROM (TABLE new_events EXCEPT ALL TABLE old_events) x)
     + (SELECT count(*) FROM (TABLE old_people EXCEPT ALL TABLE new_people) x) + (SELECT count(*) FROM (TABLE new_people EXCEPT ALL TABLE old_people) x)
     + (SELECT count(*) FROM (TABLE old_activity EXCEPT ALL TABLE new_activity) x) + (SELECT count(*) FROM (TABLE new_activity EXCEPT ALL TABLE old_activity) x)
     + (SELECT count(*) FROM (TABLE old_credentials EXCEPT ALL TABLE new_credentials) x) + (SELECT count(*) FROM (TABLE new_credentials EXCEPT ALL TABLE old_credentials) x)";

fn count(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// By hand, and by the check.
fn nothing_differs(client: &mut Client) {
    assert_eq!(count(client, DIFFERENT), 0);
    client.batch_execute("SELECT mig_assert()").unwrap();
}
