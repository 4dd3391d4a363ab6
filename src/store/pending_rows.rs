//! `mig.leftover` and `mig.row_error`: pending rows, and rows that failed. Every row that no batch has copied is listed.

use crate::error::Result;
use crate::model::records::Leftover;
use crate::pg::state;

/// Why a row that violates no constraint is not in the target.
const REFUSED: &str = "a row of another scope holds this key in the target";

/// Lists the rows with these keys as pending.
pub fn add(mapping: i32, keys: &[Vec<String>]) -> Result<()> {
    insert_keys(
        "INSERT INTO mig.leftover (mapping, key) SELECT $1, ARRAY(SELECT pg_catalog.jsonb_array_elements_text(k)) \
         FROM pg_catalog.jsonb_array_elements($2) k ON CONFLICT DO NOTHING",
        mapping,
        keys,
    )
}

/// Lists rows that the copy skipped, because a row of another scope holds their key.
pub fn add_refused(mapping: i32, keys: &[Vec<String>]) -> Result<()> {
    insert_keys(
        &format!(
            "INSERT INTO mig.row_error (mapping, key, sqlstate, message) SELECT $1, ARRAY(SELECT pg_catalog.jsonb_array_elements_text(k)), \
         '23505', '{REFUSED}' FROM pg_catalog.jsonb_array_elements($2) k ON CONFLICT (mapping, key) DO NOTHING"
        ),
        mapping,
        keys,
    )
}

fn insert_keys(sql: &str, mapping: i32, keys: &[Vec<String>]) -> Result<()> {
    if !keys.is_empty() {
        state::run(
            sql,
            &[mapping.into(), pgrx::JsonB(serde_json::json!(keys)).into()],
        )?;
    }
    Ok(())
}

/// Returns up to `limit` pending rows of a mapping that have not been tried yet.
pub fn list_untried(mapping: i32, limit: i32) -> Result<Vec<Leftover>> {
    state::rows(
        "SELECT l.id, l.mapping, l.key FROM mig.leftover l WHERE l.mapping = $1 AND l.tried_at IS NULL ORDER BY l.id LIMIT $2",
        &[mapping.into(), limit.into()],
    )
}

/// Makes all rows untried again, failed ones included, for a new repair.
pub fn try_again(migration: i32) -> Result<()> {
    retry_errors(migration)?;
    state::run(
        "UPDATE mig.leftover l SET tried_at = NULL FROM mig.mapping p WHERE p.id = l.mapping AND p.migration = $1",
        &[migration.into()],
    )?;
    Ok(())
}

/// Returns the pending row that was tried longest ago.
pub fn next_leftover(migration: i32) -> Result<Option<Leftover>> {
    state::first(
        "SELECT l.id, l.mapping, l.key FROM mig.leftover l JOIN mig.mapping p ON p.id = l.mapping \
         WHERE p.migration = $1 ORDER BY l.tried_at NULLS FIRST, l.id LIMIT 1",
        &[migration.into()],
    )
}

pub fn set_tried(id: i64) -> Result<()> {
    state::run(
        "UPDATE mig.leftover SET tried_at = clock_timestamp() WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

pub fn done(id: i64) -> Result<()> {
    state::run("DELETE FROM mig.leftover WHERE id = $1", &[id.into()])?;
    Ok(())
}

/// Moves a pending row to the errors, because the target did not take it.
pub fn move_refused(leftover: &Leftover) -> Result<()> {
    move_failed(leftover, "23505", REFUSED)
}

/// Moves a pending row to the errors.
pub fn move_failed(leftover: &Leftover, sqlstate: &str, message: &str) -> Result<()> {
    let replace = "UPDATE SET sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, at = clock_timestamp()";
    list_failed(leftover, sqlstate, message, replace)
}

/// Moves a pending row to the errors, where an earlier error of it stays.
pub fn keep_failed(leftover: &Leftover, sqlstate: &str, message: &str) -> Result<()> {
    list_failed(leftover, sqlstate, message, "NOTHING")
}

/// `known`: what is done if the row has an error already.
fn list_failed(leftover: &Leftover, sqlstate: &str, message: &str, known: &str) -> Result<()> {
    state::run(
        &format!(
            "INSERT INTO mig.row_error (mapping, key, sqlstate, message) VALUES ($1, $2, $3, $4) ON CONFLICT (mapping, key) DO {known}"
        ),
        &[
            leftover.mapping.into(),
            leftover.key.clone().into(),
            sqlstate.into(),
            message.into(),
        ],
    )?;
    done(leftover.id)
}

/// Makes failed rows pending again, for a resumed job.
pub fn retry_errors(migration: i32) -> Result<i64> {
    state::run(
        "WITH gone AS (DELETE FROM mig.row_error e USING mig.mapping p WHERE p.id = e.mapping AND p.migration = $1 \
         RETURNING e.mapping, e.key) INSERT INTO mig.leftover (mapping, key) SELECT mapping, key FROM gone \
         ON CONFLICT DO NOTHING RETURNING 1",
        &[migration.into()],
    )
}

/// Number of pending and of failed rows.
#[derive(serde::Deserialize)]
pub struct OpenRows {
    pub leftovers: i64,
    pub errors: i64,
}

/// Counts the rows of one mapping, or of a whole migration.
pub fn open(migration: i32, mapping: Option<i32>) -> Result<OpenRows> {
    let counts: Option<OpenRows> = state::first(
        "SELECT (SELECT count(*) FROM mig.leftover l WHERE l.mapping = ANY (ids)) AS leftovers, \
         (SELECT count(*) FROM mig.row_error e WHERE e.mapping = ANY (ids)) AS errors \
         FROM (SELECT coalesce(pg_catalog.array_agg(id), '{}') AS ids FROM mig.mapping \
               WHERE migration = $1 AND ($2::int IS NULL OR id = $2)) x",
        &[migration.into(), mapping.into()],
    )?;
    Ok(counts.unwrap_or(OpenRows {
        leftovers: 0,
        errors: 0,
    }))
}

pub fn clear(mapping: i32) -> Result<()> {
    state::run(
        "DELETE FROM mig.leftover WHERE mapping = $1",
        &[mapping.into()],
    )?;
    state::run(
        "DELETE FROM mig.row_error WHERE mapping = $1",
        &[mapping.into()],
    )?;
    Ok(())
}
