//! `mig.check_result`: outcomes of checks.

use crate::error::Result;
use crate::pg::snapshot::Snapshot;
use crate::pg::{spi, state};
use pgrx::JsonB;
use serde_json::Value;

pub struct CheckOutcome {
    pub ok: Option<bool>,
    /// Number of mappings checked.
    pub tables: i32,
    pub compared: i64,
    pub differences: i64,
    pub failed: Value,
    /// In the text form of pg_current_snapshot().
    pub snapshot: Option<String>,
}

pub fn insert(
    migration: i32,
    mode: &str,
    phase: &str,
    started: Option<f64>,
    outcome: CheckOutcome,
) -> Result<()> {
    state::run(
        "INSERT INTO mig.check_result (migration, mode, phase, started_at, ok, compared, tables, differences, failed, snapshot) \
         VALUES ($1, $2, $3, coalesce(pg_catalog.to_timestamp($4), clock_timestamp()), $5, $6, $7, $8, $9, coalesce($10::pg_snapshot, pg_current_snapshot()))",
        &[
            migration.into(),
            mode.into(),
            phase.into(),
            started.into(),
            outcome.ok.into(),
            outcome.compared.into(),
            outcome.tables.into(),
            outcome.differences.into(),
            JsonB(outcome.failed).into(),
            outcome.snapshot.into(),
        ],
    )?;
    Ok(())
}

/// Whether the last full check of all tables was clean, and began after the backfill ended and the mirrors were installed.
pub fn is_proven(migration: i32) -> Result<bool> {
    let clean = state::value::<bool>(
        "SELECT c.ok FROM mig.check_result c WHERE c.migration = $1 AND c.mode = 'full' \
         AND c.tables = (SELECT count(*) FROM mig.mapping p WHERE p.migration = c.migration) \
         AND c.started_at > (SELECT max(j.ended_at) FROM mig.job j WHERE j.migration = c.migration AND j.state = 'done' AND j.task = 'backfill') \
         AND c.started_at > (SELECT max(p.sealed_at) FROM mig.mapping p WHERE p.migration = c.migration) \
         ORDER BY c.id DESC LIMIT 1",
        &[migration.into()],
    )?;
    Ok(clean == Some(true))
}

/// The last full check.
#[derive(serde::Deserialize)]
pub struct LastCheck {
    pub ok: Option<bool>,
    pub compared: i64,
    pub differences: i64,
    pub age: String,
}

pub fn last_full(migration: i32) -> Result<Option<LastCheck>> {
    state::first(
        "SELECT c.ok, c.compared, c.differences, pg_catalog.date_trunc('second', clock_timestamp() - c.finished_at)::text AS age \
         FROM mig.check_result c WHERE c.migration = $1 AND c.mode = 'full' ORDER BY c.id DESC LIMIT 1",
        &[migration.into()],
    )
}

/// Returns the snapshot that a check reads under, as text.
pub fn snapshot(at: &Snapshot) -> Result<Option<String>> {
    #[derive(serde::Deserialize)]
    struct SnapshotText {
        snapshot: String,
    }
    let row: Option<SnapshotText> = at.first(
        "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text AS snapshot",
        &[],
    )?;
    Ok(row.map(|r| r.snapshot))
}

/// Returns the current time, in seconds since 1970.
pub fn read_clock() -> Result<Option<f64>> {
    spi::value(
        "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8",
        &[],
    )
}
