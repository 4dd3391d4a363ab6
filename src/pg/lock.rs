//! Table locks for DDL: the strongest first, a short wait, and everything given back between tries.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::pg::{session, spi, tx, wait};
use crate::settings;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// CREATE TRIGGER, ADD FOREIGN KEY: writers queue, readers go on.
    ShareRowExclusive,
    /// DROP TRIGGER, RENAME, TRUNCATE: all queue.
    AccessExclusive,
}

/// Of a call that somebody waits for.
const TRIES: u32 = 20;
/// Of a job's slice: it comes back soon, and says meanwhile who is in the way.
const TRIES_OF_A_JOB: u32 = 3;

impl Mode {
    fn sql(self) -> &'static str {
        match self {
            Mode::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Mode::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// Lock modes that stand in its way (the table in the manual's chapter on explicit locking).
    fn conflicts(self) -> Vec<String> {
        let writers = [
            "RowExclusiveLock",
            "ShareUpdateExclusiveLock",
            "ShareLock",
            "ShareRowExclusiveLock",
            "ExclusiveLock",
            "AccessExclusiveLock",
        ];
        let readers = ["AccessShareLock", "RowShareLock"];
        let all = writers.iter().chain(if self == Mode::AccessExclusive {
            readers.iter()
        } else {
            [].iter()
        });
        all.map(|m| (*m).to_owned()).collect()
    }
}

/// Locks all of `tables` in the order given, or none. Each try waits `timeout_ms` at most, for all of them
/// together, then gives everything back and pauses, so that nobody queues behind us for longer.
/// Errors: 55P03 with the holders' names after twenty tries.
pub fn all(tables: &[(QualifiedName, Mode)], timeout_ms: i32) -> Result<()> {
    within(TRIES, tables, |attempt| patience(attempt, timeout_ms))
}

/// As `all`, with as much patience as there may be from the first try on: for an emergency, in which the
/// application's writes fail anyway.
pub fn urgently(tables: &[(QualifiedName, Mode)]) -> Result<()> {
    within(TRIES, tables, |_| settings::longest_wait_ms())
}

/// As `all`, with three tries: for a slice of a job, which is tried again.
pub fn soon(tables: &[(QualifiedName, Mode)], timeout_ms: i32) -> Result<()> {
    within(TRIES_OF_A_JOB, tables, |attempt| {
        patience(attempt, timeout_ms)
    })
}

fn within(
    tries: u32,
    tables: &[(QualifiedName, Mode)],
    patience: impl Fn(u32) -> i32,
) -> Result<()> {
    for attempt in 1..=tries {
        let outcome = tx::subtransaction(|| {
            let began = Instant::now();
            for (name, mode) in tables {
                let waited = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
                let left = patience(attempt).saturating_sub(waited).max(1);
                let _timeout = session::lock_timeout(left);
                spi::run(
                    &format!("LOCK TABLE ONLY {name} IN {} MODE", mode.sql()),
                    &[],
                )?;
            }
            Ok(())
        });
        match outcome {
            Err(e) if e.is_retryable() && attempt < tries => wait::sleep(backoff(attempt)),
            Err(e) if e.is_retryable() => return Err(not_had(tables, tries)?),
            other => return other,
        }
    }
    Ok(())
}

/// Whether LOCK TABLE would let the current role lock this table strongly. A foreign key may refer to a table
/// of somebody else: its own DDL locks that one without such a right.
pub fn may_lock(name: &QualifiedName) -> Result<bool> {
    let allowed = spi::value::<bool>(
        "SELECT pg_catalog.has_table_privilege(pg_catalog.to_regclass($1), 'UPDATE, DELETE, TRUNCATE')",
        &[name.to_string().into()],
    )?;
    Ok(allowed.unwrap_or(false))
}

/// How long this try waits: 20 ms at first, doubling up to the limit. Whoever comes after us
/// queues behind our request, so the first tries are over before anybody notices.
fn patience(attempt: u32, limit_ms: i32) -> i32 {
    (20_i32 << attempt.saturating_sub(1).min(10)).min(limit_ms)
}

/// 50 ms doubling to a second, with jitter, so that two callers do not meet again and again.
fn backoff(attempt: u32) -> i64 {
    let base = 50_i64 << attempt.min(4);
    let jitter = i64::from(
        std::process::id()
            .wrapping_mul(2_654_435_761)
            .wrapping_add(attempt * 40_503)
            % 50,
    );
    base.min(1000) + jitter
}

#[derive(serde::Deserialize)]
struct Holder {
    who: String,
}

fn not_had(tables: &[(QualifiedName, Mode)], tries: u32) -> Result<Error> {
    let mut holders = Vec::new();
    for (name, mode) in tables {
        let found: Vec<Holder> = spi::rows(
            include_str!("../../sql/query/lock_holders.sql"),
            &[
                name.schema.as_str().into(),
                name.name.as_str().into(),
                mode.conflicts().into(),
            ],
        )?;
        holders.extend(
            found
                .into_iter()
                .map(|h| format!("{} is held by {}", name.plain(), h.who)),
        );
    }
    let names: Vec<String> = tables.iter().map(|(n, _)| n.plain()).collect();
    let blockers = if holders.is_empty() {
        "The holders have ended meanwhile.".to_owned()
    } else {
        format!("{}.", holders.join("; "))
    };
    Ok(Error::LockNotHad {
        relations: names.join(", "),
        tries,
        blockers,
    })
}
