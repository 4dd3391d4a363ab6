//! The Cover Project: its tables, the migration as a user types it, and a comparison that owes us nothing.

use postgres::Client;

/// Makes the tables with about 4.2 × `scale` rows.
pub fn fill(client: &mut Client, scale: u32) {
    client
        .batch_execute(include_str!("schema.sql"))
        .expect("the schema loads");
    client
        .batch_execute(&format!("SELECT pg_temp.fill({scale})"))
        .expect("the rows load");
    client.batch_execute("VACUUM ANALYZE").expect("analyzes");
}

/// What a user types before the backfill.
pub const DEFINE: [&str; 6] = [
    "SELECT mig_define('cover', 'projects', '00000000-0000-0000-0000-000000000001');",
    "SELECT mig_add_table('cover', 'round_metadata', 'project_rounds');",
    "SELECT mig_add_table('cover', 'sign_ups', 'project_sign_ups');",
    "SELECT mig_add_table('cover', 'submissions', 'project_submissions');",
    "SELECT mig_add_table('cover', 'song_selection_votes', 'project_votes');",
    "SELECT mig_add_table('cover', 'email_reminders_sent', 'project_email_reminders');",
];

/// Source, target and columns of each table, written by hand.
pub const TABLES: [(&str, &str, &str); 5] = [
    (
        "round_metadata",
        "project_rounds",
        "id, slug, title, opens_at, closes_at, settings",
    ),
    (
        "sign_ups",
        "project_sign_ups",
        "id, round_id, user_id, email, youtube_link, created_at",
    ),
    (
        "submissions",
        "project_submissions",
        "id, round_id, user_id, soundcloud_url, extra, created_at",
    ),
    (
        "song_selection_votes",
        "project_votes",
        "submission_id, user_id, points, created_at",
    ),
    (
        "email_reminders_sent",
        "project_email_reminders",
        "id, round_id, user_id, kind, sent_at",
    ),
];

/// Rows of the source and rows that are on one side only, by EXCEPT ALL both ways in one snapshot each.
pub fn differences(
    client: &mut Client,
    (source, target, columns): (&str, &str, &str),
) -> (i64, i64) {
    let row = client
        .query_one(
            &format!(
                "SELECT (SELECT count(*) FROM {source}), (SELECT count(*) FROM (\
                 (SELECT {columns} FROM {source} EXCEPT ALL SELECT {columns} FROM {target} WHERE project_id = '00000000-0000-0000-0000-000000000001') \
                 UNION ALL \
                 (SELECT {columns} FROM {target} WHERE project_id = '00000000-0000-0000-0000-000000000001' EXCEPT ALL SELECT {columns} FROM {source})) d)"
            ),
            &[],
        )
        .expect("both sides compare");
    (row.get(0), row.get(1))
}
