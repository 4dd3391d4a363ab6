//! Table locks, mainly for DDL. A transaction that waits in a lock queue holds none of these locks, and all are released between
//! tries.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::pg::{catalog, guc, role, spi, state, tx, vacuum, wait};
use crate::settings;
use pgrx::pg_sys::{self, Oid};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// SELECT: only a statement that truncates, rewrites or alters the table waits.
    AccessShare,
    /// CREATE TRIGGER, ADD FOREIGN KEY: writers wait, readers go on.
    ShareRowExclusive,
    /// DROP TRIGGER, RENAME, TRUNCATE: readers and writers wait.
    AccessExclusive,
}

/// A table to lock.
#[derive(Clone, Debug)]
pub struct LockRequest {
    pub relation: Oid,
    pub name: QualifiedName,
    pub mode: LockMode,
}

impl LockRequest {
    pub fn new(relation: Oid, name: &QualifiedName, mode: LockMode) -> Self {
        Self {
            relation,
            name: name.clone(),
            mode,
        }
    }

    /// Locks the table that has the name now. Errors: 42P01 where there is none.
    pub fn by_name(name: &QualifiedName, mode: LockMode) -> Result<Self> {
        Ok(Self::new(oid(name)?, name, mode))
    }
}

/// When to give up: after at least so many tries and at least so much time.
struct LockPatience {
    tries: u32,
    time: Duration,
}

/// For a function that a user has called and waits for.
const OF_A_CALL: LockPatience = LockPatience {
    tries: 20,
    time: Duration::from_secs(15),
};
/// For a job's slice: the job tries again soon, and reports the blocking session meanwhile.
const OF_A_JOB: LockPatience = LockPatience {
    tries: 3,
    time: Duration::ZERO,
};

impl LockMode {
    fn number(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            LockMode::AccessShare => pg_sys::AccessShareLock,
            LockMode::ShareRowExclusive => pg_sys::ShareRowExclusiveLock,
            LockMode::AccessExclusive => pg_sys::AccessExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }

    /// Returns the lock modes that conflict with this one (the table in the manual's chapter on explicit locking).
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
        let all: Vec<&str> = match self {
            LockMode::AccessShare => vec!["AccessExclusiveLock"],
            LockMode::ShareRowExclusive => writers.to_vec(),
            LockMode::AccessExclusive => [&writers[..], &readers].concat(),
        };
        all.into_iter().map(str::to_owned).collect()
    }
}

/// Locks all of `tables`, or none. Each try takes at most `timeout_ms`, for all of them together. Then it releases everything and
/// pauses, so that nobody queues behind it for longer.
/// Errors: 55P03 with the holders' names after twenty tries and fifteen seconds.
pub fn lock_all(tables: &[LockRequest], timeout_ms: i32) -> Result<()> {
    // A session that queues behind this request waits slightly longer than the request itself.
    let most = timeout_ms - timeout_ms / 10;
    lock_with_retries(OF_A_CALL, tables, |attempt| patience(attempt, most))
}

/// As `lock_all`, with the longest permitted wait from the first try on: for an emergency, in which the application's writes fail
/// anyway.
pub fn lock_in_emergency(tables: &[LockRequest]) -> Result<()> {
    lock_with_retries(OF_A_CALL, tables, |_| settings::longest_wait_ms())
}

/// As `lock_all`, with three tries: for a slice of a job, which is tried again. The last try waits as long as is possible without a
/// noticeable delay for sessions behind it: transactions that each take a while must not keep a job away for ever.
pub fn lock_for_job(tables: &[LockRequest], timeout_ms: i32) -> Result<()> {
    const UNNOTICED_MS: i32 = 200;
    let most = timeout_ms.min(UNNOTICED_MS);
    lock_with_retries(OF_A_JOB, tables, |attempt| {
        (most >> OF_A_JOB.tries.saturating_sub(attempt)).max(1)
    })
}

fn lock_with_retries(
    limit: LockPatience,
    tables: &[LockRequest],
    patience: impl Fn(u32) -> i32,
) -> Result<()> {
    let began = Instant::now();
    let mut wanted: Vec<&LockRequest> = Vec::new();
    for table in tables {
        require_right(table)?;
        if !is_ours(table) {
            wanted.push(table);
        }
    }
    let (mut tries, mut waits) = (0, 0);
    loop {
        tries += 1;
        let pause = match one_try(tables, &wanted, patience(waits + 1))? {
            LockTry::Had => return Ok(()),
            LockTry::Busy(place) => {
                wanted[..=place].rotate_right(1);
                waits += 1;
                if waits > UNHURRIED && cancel_blocking_autovacuum(tables)? {
                    1
                } else {
                    backoff(waits)
                }
            }
            LockTry::InTheWay(place) => {
                wanted[..=place].rotate_right(1);
                // The release lets the other transaction proceed; a later try has a better chance.
                1 + jitter(tries) / 2
            }
        };
        if tries >= limit.tries && began.elapsed() >= limit.time {
            return Err(not_had(tables, tries)?);
        }
        wait::sleep(pause);
    }
}

/// Checks that the caller could lock the table by a statement of its own: it owns the table, or a table that refers to it (dropping
/// that one locks both, and PostgreSQL checks no right on the referenced table: RemoveConstraintById in pg_constraint.c), or may
/// refer to it. Errors: 42501 where it could not.
fn require_right(table: &LockRequest) -> Result<()> {
    if table.mode == LockMode::AccessShare {
        return Ok(());
    }
    let owner = catalog::owner_of(table.relation)?;
    if role::has_privileges_of(role::current(), owner) {
        return Ok(());
    }
    let refers = spi::value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class t ON t.oid = c.conrelid \
           WHERE c.contype = 'f' AND c.confrelid = $1 AND pg_catalog.pg_has_role(t.relowner, 'USAGE')) \
         OR $2 AND pg_catalog.has_any_column_privilege($1, 'REFERENCES')",
        &[
            table.relation.into(),
            (table.mode == LockMode::ShareRowExclusive).into(),
        ],
    )?;
    if refers == Some(true) {
        return Ok(());
    }
    role::require(owner)
}

/// Checks whether this transaction has the lock or a stronger one. A new request for a weaker one would not be granted at once
/// while others wait for the table (LockAcquireExtended in lock.c checks the waiters before the locks that the requester holds).
fn is_ours(table: &LockRequest) -> bool {
    // SAFETY: reads this session's own locks.
    unsafe { pg_sys::CheckRelationOidLockedByMe(table.relation, table.mode.number(), true) }
}

/// Failed tries before autovacuum is cancelled: it may be about to end.
const UNHURRIED: u32 = 1;

/// Cancels autovacuum workers that hold a lock on one of the tables. Returns whether there was one.
fn cancel_blocking_autovacuum(tables: &[LockRequest]) -> Result<bool> {
    let strong = tables
        .iter()
        .filter(|t| t.mode != LockMode::AccessShare)
        .map(|t| t.relation);
    vacuum::cancel(&strong.collect::<Vec<_>>())
}

/// The result of one try. The number is the index in `wanted` of a table that was not free.
enum LockTry {
    Had,
    /// The holder keeps its lock.
    Busy(usize),
    /// The holder waits for a table that this try has locked.
    InTheWay(usize),
}

/// Tries once to lock all of `wanted`. It queues for the first table only, while it holds none of the others. The others are
/// requested again and again without ever entering their queues. A session that holds a lock others wait for, and that itself
/// waits, can be part of a deadlock, and the application's session would be the one that detects it and loses its transaction. This
/// function never does both at once, so no application session can become its victim, however slow the machine. (The deadlock
/// detector moves a session that queues behind the first request ahead of it, where that helps: src/backend/storage/lmgr/README,
/// "soft" edges.) Where a deadlock would have arisen, the try ends at once, so that nobody waits for a try that cannot succeed.
fn one_try(all: &[LockRequest], wanted: &[&LockRequest], patience_ms: i32) -> Result<LockTry> {
    /// Rounds between two checks for a would-be deadlock: the check costs more than a lock request.
    const ASK_EVERY: u32 = 4;
    let deadline = Instant::now() + Duration::from_millis(patience_ms.unsigned_abs().into());
    let mut failed = LockTry::Busy(0);
    let outcome = tx::subtransaction(|| {
        let Some((first, others)) = wanted.split_first() else {
            return hold_names(all, patience_ms);
        };
        queue_for(first, patience_ms)?;
        let mut missing: Vec<usize> = (1..=others.len()).collect();
        for round in 1.. {
            let mut still = Vec::new();
            for place in missing {
                if !had_at_once(wanted[place])? {
                    still.push(place);
                }
            }
            missing = still;
            let Some(place) = missing.first() else {
                return hold_names(all, patience_ms);
            };
            let in_the_way = round % ASK_EVERY == 0 && in_each_others_way(wanted, &missing)?;
            if in_the_way || Instant::now() >= deadline {
                failed = if in_the_way {
                    LockTry::InTheWay(*place)
                } else {
                    LockTry::Busy(*place)
                };
                return Err(lock_timeout_error(&wanted[*place].name));
            }
            wait::sleep(1);
        }
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(LockTry::Had),
        Err(e) if e.is_retryable() => Ok(failed),
        Err(e) => Err(e),
    }
}

fn in_each_others_way(wanted: &[&LockRequest], missing: &[usize]) -> Result<bool> {
    let (mut had, mut lacked) = (Vec::new(), Vec::new());
    for (place, table) in wanted.iter().enumerate() {
        let list = if missing.contains(&place) {
            &mut lacked
        } else {
            &mut had
        };
        list.push(table.relation);
    }
    let found = spi::value::<bool>(
        include_str!("../../sql/query/in_each_others_way.sql"),
        &[had.into(), lacked.into()],
    )?;
    Ok(found.unwrap_or(false))
}

/// Waits for the lock. Errors: 55P03 after `patience_ms`.
fn queue_for(table: &LockRequest, patience_ms: i32) -> Result<()> {
    let _timeout = guc::lock_timeout(patience_ms);
    // SAFETY: inside a transaction; an ERROR during the wait unwinds to the enclosing subtransaction.
    unsafe { pg_sys::LockRelationOid(table.relation, table.mode.number()) };
    catalog::require_name(table.relation, &table.name)
}

/// Keeps the names of the tables, which are locked, until the transaction ends: a schema is renamed without a lock on its tables, and the
/// statements that follow name the tables. The row lock of `FOR KEY SHARE` conflicts with ALTER SCHEMA RENAME and DROP SCHEMA, which
/// change a key of pg_namespace, and with nothing else. Errors: 55P03 after `patience_ms`; 42P01 where a name has passed to another
/// table.
fn hold_names(tables: &[LockRequest], patience_ms: i32) -> Result<()> {
    let _timeout = guc::lock_timeout(patience_ms);
    let relations: Vec<Oid> = tables.iter().map(|t| t.relation).collect();
    // Who only reads has its plans looked at (`plan_guard`), and cannot lock rows.
    if !guc::is_read_only() {
        state::run(
            "SELECT 1 FROM pg_catalog.pg_namespace n WHERE n.oid IN (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)) \
         ORDER BY n.oid FOR KEY SHARE",
            &[relations.into()],
        )?;
    }
    let mut all = tables.iter();
    all.try_for_each(|t| catalog::require_name(t.relation, &t.name))
}

fn lock_timeout_error(name: &QualifiedName) -> Error {
    Error::lock_not_had(name.plain(), 1, String::new())
}

fn had_at_once(table: &LockRequest) -> Result<bool> {
    // SAFETY: inside a transaction; takes the lock or reports that it is not free.
    let had = unsafe { pg_sys::ConditionalLockRelationOid(table.relation, table.mode.number()) };
    if had {
        catalog::require_name(table.relation, &table.name)?;
    }
    Ok(had)
}

/// Returns the table's oid. Errors: 42P01 where there is no such table (any more).
fn oid(name: &QualifiedName) -> Result<Oid> {
    let found = spi::value::<Oid>(
        "SELECT $1::pg_catalog.regclass::pg_catalog.oid",
        &[name.to_string().into()],
    )?;
    Ok(found.unwrap_or(pg_sys::InvalidOid))
}

/// Returns how long this try waits: 20 ms at first, doubling up to the limit. Sessions that come later queue behind this request,
/// so the first tries end before the delay is noticeable.
fn patience(attempt: u32, limit_ms: i32) -> i32 {
    (20_i32 << attempt.saturating_sub(1).min(10)).min(limit_ms)
}

/// Returns the pause after a try: 50 ms doubling to a second, with jitter, so that two callers do not collide again and again.
fn backoff(attempt: u32) -> i64 {
    let base = 50_i64 << attempt.min(4);
    base.min(1000) + jitter(attempt)
}

/// Returns up to 50 ms, a different number for each process and attempt.
fn jitter(attempt: u32) -> i64 {
    let mixed = std::process::id()
        .wrapping_mul(2_654_435_761)
        .wrapping_add(attempt.wrapping_mul(40_503));
    i64::from(mixed % 50)
}

#[derive(serde::Deserialize)]
struct LockHolder {
    who: String,
}

fn not_had(tables: &[LockRequest], tries: u32) -> Result<Error> {
    let mut holders = Vec::new();
    for LockRequest { name, mode, .. } in tables {
        let found: Vec<LockHolder> = spi::rows(
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
    let names: Vec<String> = tables.iter().map(|t| t.name.plain()).collect();
    let blockers = if holders.is_empty() {
        "The holders have ended since.".to_owned()
    } else {
        format!("{}.", holders.join("; "))
    };
    Ok(Error::lock_not_had(names.join(", "), tries, blockers))
}
