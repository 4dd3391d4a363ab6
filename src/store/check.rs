//! `mig.check_result`

use crate::error::Result;
use crate::pg::spi;
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::Value;

pub struct Outcome {
    pub ok: Option<bool>,
    /// How many mappings it looked at.
    pub tables: i32,
    pub compared: i64,
    pub differences: i64,
    pub failed: Value,
}

pub fn insert(
    migration: i32,
    mode: &str,
    phase: &str,
    started: Option<TimestampWithTimeZone>,
    outcome: Outcome,
) -> Result<()> {
    spi::run(
        "INSERT INTO mig.check_result (migration, mode, phase, started_at, ok, compared, tables, differences, failed) \
         VALUES ($1, $2, $3, coalesce($4, clock_timestamp()), $5, $6, $7, $8, $9)",
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
        ],
    )?;
    Ok(())
}

/// Whether the last check of all rows of all tables since the backfill ended was clean.
pub fn is_proven(migration: i32) -> Result<bool> {
    let clean = spi::value::<bool>(
        "SELECT c.ok FROM mig.check_result c WHERE c.migration = $1 AND c.mode = 'full' \
         AND c.tables = (SELECT count(*) FROM mig.mapping p WHERE p.migration = c.migration) \
         AND c.started_at > (SELECT max(j.ended_at) FROM mig.job j WHERE j.migration = c.migration AND j.state = 'done') \
         ORDER BY c.id DESC LIMIT 1",
        &[migration.into()],
    )?;
    Ok(clean == Some(true))
}

pub fn now() -> Result<Option<TimestampWithTimeZone>> {
    spi::value("SELECT pg_catalog.clock_timestamp()", &[])
}
