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

/// Which tables get new ids.
#[derive(Clone, Copy, PartialEq)]
pub enum Ids {
    /// The rounds, which three others refer to.
    Rounds,
    /// Rounds, sign-ups and submissions; the others keep theirs.
    Mixed,
}

/// What a user types where ids change.
pub fn define_with_new(ids: Ids) -> Vec<String> {
    let new: &[&str] = match ids {
        Ids::Rounds => &["'round_metadata'"],
        Ids::Mixed => &["'round_metadata'", "'sign_ups'", "'submissions'"],
    };
    let typed = DEFINE.iter().map(|sql| {
        if new.iter().any(|table| sql.contains(&format!("{table}, "))) {
            sql.replace(");", ", id_mode => 'remap');")
        } else {
            (*sql).to_owned()
        }
    });
    typed.collect()
}

/// Columns that hold an id, and the table whose it is: the number of its mapping.
const ID_COLUMNS: [(&str, &str, u32); 7] = [
    ("round_metadata", "id", 1),
    ("sign_ups", "id", 2),
    ("sign_ups", "round_id", 1),
    ("submissions", "id", 3),
    ("submissions", "round_id", 1),
    ("song_selection_votes", "submission_id", 3),
    ("email_reminders_sent", "round_id", 1),
];

/// The columns of a new table with old ids in them, looked up in the maps that there are.
fn with_old_ids(client: &mut Client, source: &str, columns: &str) -> String {
    let mut has_map = |n: u32| -> bool {
        let sql = format!("SELECT to_regclass('mig.m{n}_map') IS NOT NULL");
        client.query_one(&sql, &[]).expect("looks").get(0)
    };
    let each = columns.split(", ").map(|column| {
        let id = ID_COLUMNS
            .iter()
            .find(|(t, c, _)| (*t, *c) == (source, column));
        match id {
            Some((_, _, n)) if has_map(*n) => {
                format!("(SELECT old_id FROM mig.m{n}_map WHERE new_id = t.{column})")
            }
            _ => column.to_owned(),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

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
    let new = format!(
        "SELECT {} FROM {target} t WHERE project_id = '00000000-0000-0000-0000-000000000001'",
        with_old_ids(client, source, columns)
    );
    let row = client
        .query_one(
            &format!(
                "SELECT (SELECT count(*) FROM {source}), (SELECT count(*) FROM (\
                 (SELECT {columns} FROM {source} EXCEPT ALL {new}) UNION ALL ({new} EXCEPT ALL SELECT {columns} FROM {source})) d)"
            ),
            &[],
        )
        .expect("both sides compare");
    (row.get(0), row.get(1))
}
