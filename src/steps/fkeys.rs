//! Foreign keys of the target, added after the copy and after all older snapshots are gone: a transaction that began before
//! the last batch sees a partial target, and the new key would refuse its writes.

use super::SliceOutcome;
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::TargetKey;
use crate::model::records::{Mapping, Migration};
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::{application_path, catalog, old_snapshots, role, spi};
use crate::sqlgen::fkey;
use crate::store::{migration, sides};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;

/// Waits for the snapshots that existed at the first call.
pub fn drain(m: &Migration) -> Result<SliceOutcome> {
    let now = old_snapshots::holders();
    let waiting = match migration::drain(m.id)? {
        None => now,
        Some(listed) if listed.is_empty() => return Ok(SliceOutcome::Done),
        Some(listed) => listed.into_iter().filter(|l| now.contains(l)).collect(),
    };
    migration::set_drain(m.id, Some(waiting.clone()))?;
    if waiting.is_empty() {
        Ok(SliceOutcome::Did(0))
    } else {
        Ok(SliceOutcome::Wait(name(&waiting)?))
    }
}

fn name(holders: &[String]) -> Result<String> {
    let who: Option<String> = spi::value(
        "SELECT pg_catalog.string_agg(pg_catalog.format('process %s (%s)', l.pid, coalesce(a.state, 'state not visible')), ', ') \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'virtualxid' AND l.virtualxid = ANY ($1)",
        &[holders.to_vec().into()],
    )?;
    Ok(format!(
        "older snapshots to end: {}",
        who.unwrap_or_else(|| holders.join(", "))
    ))
}

/// A foreign key that a target has.
#[derive(serde::Deserialize)]
struct StandingKey {
    relation: u32,
    name: Ident,
    valid: bool,
}

fn list_standing(targets: &[Oid]) -> Result<Vec<StandingKey>> {
    spi::rows(
        "SELECT conrelid::bigint AS relation, conname AS name, convalidated AS valid FROM pg_catalog.pg_constraint \
         WHERE conrelid = ANY ($1) AND contype = 'f'",
        &[targets.to_vec().into()],
    )
}

/// What a key of a layout lacks.
#[derive(Clone, Copy, PartialEq)]
pub enum LackingKey {
    All,
    Validation,
}

fn find_lack(target: Oid, key: &TargetKey, standing: &[StandingKey]) -> Option<LackingKey> {
    if key.is_gone {
        return None;
    }
    let mut standing = standing.iter();
    let found = standing.find(|s| s.relation == target.to_u32() && s.name == key.name);
    match found {
        None => Some(LackingKey::All),
        Some(s) if s.valid || key.not_valid => None,
        Some(_) => Some(LackingKey::Validation),
    }
}

/// Returns the tables with a key that lacks `what`. A key that the source has lost meanwhile is not wanted any more.
pub fn find_lacking(mappings: &[Mapping], what: LackingKey) -> Result<Vec<&Mapping>> {
    let targets: Result<Vec<Oid>> = mappings.iter().map(sides::target_oid).collect();
    let targets = targets?;
    let standing = list_standing(&targets)?;
    let mut found = Vec::new();
    for (p, target) in mappings.iter().zip(&targets) {
        let mut keys = sides::layout(p)?.fkeys.iter();
        if keys.any(|k| find_lack(*target, k, &standing) == Some(what)) {
            found.push(p);
        }
    }
    Ok(found)
}

/// Adds or validates the next foreign key of `p` that lacks `what`.
pub fn next(p: &Mapping, what: LackingKey, lock_timeout_ms: i32) -> Result<SliceOutcome> {
    let target = sides::target_oid(p)?;
    let standing = list_standing(&[target])?;
    for key in &sides::layout(p)?.fkeys {
        if find_lack(target, key, &standing) != Some(what) {
            continue;
        }
        match what {
            LackingKey::Validation => validate(p, key, lock_timeout_ms)?,
            LackingKey::All => add(p, key, lock_timeout_ms)?,
        }
        return Ok(SliceOutcome::Did(0));
    }
    Ok(SliceOutcome::Done)
}

fn validate(p: &Mapping, key: &TargetKey, lock_timeout_ms: i32) -> Result<()> {
    let weak = [sides::target_lock(p, LockMode::AccessShare)?];
    lock::lock_for_job(&weak, lock_timeout_ms)?;
    // The key's operators may be functions of a user.
    let _owner = role::confine(sides::owner(p)?)?;
    let _code = application_path::switch();
    spi::run(&fkey::validate(sides::target(p)?, &key.name), &[])?;
    Ok(())
}

fn add(p: &Mapping, key: &TargetKey, lock_timeout_ms: i32) -> Result<()> {
    let target = sides::target(p)?;
    let strong = LockMode::ShareRowExclusive;
    let mut tables = vec![sides::target_lock(p, strong)?];
    if key.references != *target {
        tables.push(LockRequest::by_name(&key.references, strong)?);
    }
    lock::lock_for_job(&tables, lock_timeout_ms)?;
    require_references(sides::owner(p)?, &key.references)?;
    spi::run(&fkey::add(target, key), &[])?;
    Ok(())
}

/// Errors with 42501 unless the table's owner may refer to the other table: the caller may have more rights.
fn require_references(owner: Oid, table: &QualifiedName) -> Result<()> {
    let oid = catalog::oid_of(table).ok_or_else(|| catalog::missing_table(&table.plain()))?;
    let may = spi::value::<bool>(
        "SELECT pg_catalog.has_any_column_privilege($1, $2, 'REFERENCES')",
        &[owner.into(), oid.into()],
    )?;
    if may == Some(true) {
        return Ok(());
    }
    Err(Error::sql(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {}", table.plain()),
        Some(format!("Role {} may not refer to it.", role::name(owner))),
    ))
}
