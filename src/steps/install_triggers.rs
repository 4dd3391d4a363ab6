//! Installs and removes mirrors and retired guards. The DDL takes a lock that excludes writers: every write after it fires the triggers, and
//! no transaction writes past them.

use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::{catalog, lock, spi, state};
use crate::relation::{id_pairs, triggers};
use crate::settings;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::retired_guard::GuardedRows;
use crate::sqlgen::{retired_guard, trigger};
use crate::store::{author, drift, mapping, sides};

/// Emergency stop: disables the mirrors wherever they are, on all tables or on none. Returns how many were enabled; a missing mirror
/// counts as disabled.
pub fn disable(mappings: &[Mapping]) -> Result<usize> {
    let mut found = Vec::new();
    for p in mappings {
        found.extend(triggers::list_installed(p)?);
    }
    found.retain(|t| !t.is_guard());
    triggers::disable(&found)
}

/// Locks both sides AccessExclusive, and whatever else has triggers of the mappings.
fn lock_for_ddl(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let mode = lock::LockMode::AccessExclusive;
    let sides = sides::both_sides(mappings, mode)?;
    let elsewhere = triggers::locks_elsewhere(mappings, mode)?;
    lock::lock_all(&[sides, elsewhere].concat(), settings::lock_timeout_ms(m))
}

/// Gives mapping views, id maps and anchors to the owners of the sources, where a restore or ALTER TABLE OWNER has parted them. Locks both
/// sides AccessExclusive, for catalog changes only, and only if there is one. Errors: 55000 if its owner lacks the rights of the source's, or if
/// the owner of a table lacks those that its mirror writes with.
pub fn give_objects_to_owners(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    for p in mappings {
        sides::require_owners(p, Direction::Forward)?;
        if m.phase == Phase::Switched {
            sides::require_owners(p, Direction::Reverse)?;
        }
    }
    let misplaced = sides::list_misplaced_objects(mappings)?;
    if misplaced.is_empty() {
        return Ok(());
    }
    let tables = sides::both_sides(mappings, lock::LockMode::AccessExclusive)?;
    lock::lock_all(&tables, settings::lock_timeout_ms(m))?;
    author::give_to_owners(&misplaced)
}

/// Locks all sources (ShareRowExclusive, which waits for open writers), checks their shapes again under the lock, and
/// creates the triggers: all of them, or none. `tried` is called before and after, the second time with its first result;
/// `judge` may refuse.
pub fn install<T>(
    m: &Migration,
    mappings: &[Mapping],
    tried: impl Fn(Option<&T>) -> Result<T>,
    judge: impl FnOnce(T, T) -> Result<()>,
) -> Result<()> {
    let mut sources = Vec::new();
    for p in mappings {
        sources.push(sides::source_lock(p, lock::LockMode::ShareRowExclusive)?);
    }
    // Pairs most rows while the application still writes, the rest under the lock.
    id_pairs::find(mappings)?;
    lock::lock_all(&sources, settings::lock_timeout_ms(m))?;
    id_pairs::find(mappings)?;
    drift::require_none(m)?;
    let before = tried(None)?;
    for p in mappings {
        mapping::reset_copy(p.id)?;
        install_flow(p, &sides::forward(p)?)?;
    }
    let after = tried(Some(&before))?;
    judge(before, after)
}

/// Settles the mappings: all existing rows are copied and have their ids. From here on mirrors give ids to rows without
/// one, and list no rows for the job. Locks the sources ShareRowExclusive, so that no transaction is about to list a row;
/// all sessions reload the triggers.
pub fn settle_ids(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let mut sources = Vec::new();
    for p in mappings {
        sources.push(sides::source_lock(p, lock::LockMode::ShareRowExclusive)?);
    }
    lock::lock_for_job(&sources, settings::lock_timeout_ms(m))?;
    drift::require_none(m)?;
    for p in mappings {
        for sql in trigger::touch(&sides::forward(p)?) {
            spi::run(&sql, &[])?;
        }
        mapping::set_settled(p.id)?;
        triggers::record_installed(p.id)?;
    }
    Ok(())
}

/// Installs the reverse mirrors beside the forward ones: from the commit on a write to either side reaches the other. Locks
/// both sides ShareRowExclusive: no transaction writes past a mirror, and no transaction's writes are seen in part.
pub fn install_reverse(m: &Migration, mappings: &[Mapping], force: bool) -> Result<()> {
    lock::lock_all(
        &sides::both_sides(mappings, lock::LockMode::ShareRowExclusive)?,
        settings::lock_timeout_ms(m),
    )?;
    if !force {
        drift::require_none(m)?;
    }
    for p in mappings {
        match sides::reverse(p)? {
            Some(flow) => install_flow(p, &flow)?,
            None => return Err(Error::internal(format!("mapping {} has no way back", p.id))),
        }
    }
    Ok(())
}

/// Returns to the forward direction only: the targets are not written any more, so nothing is lost.
pub fn remove_reverse(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let mode = lock::LockMode::AccessExclusive;
    let mut targets = triggers::locks_elsewhere(mappings, mode)?;
    for p in mappings {
        targets.push(sides::target_lock(p, mode)?);
    }
    lock::lock_all(&targets, settings::lock_timeout_ms(m))?;
    for p in mappings {
        triggers::drop_chosen(p, |t| t.goes(Direction::Reverse))?;
        triggers::record_installed(p.id)?;
    }
    Ok(())
}

/// Ends dual writing: drops all mirrors, and makes each source refuse writes. Locks both sides AccessExclusive, for catalog
/// changes only.
pub fn retire(m: &Migration, mappings: &[Mapping], force: bool) -> Result<()> {
    lock_for_ddl(m, mappings)?;
    if !force {
        drift::require_none_of_the_new(m)?;
    }
    for p in mappings {
        triggers::drop_all(p)?;
        let guards = retired_guard::create(
            p.id,
            sides::source(p)?,
            sides::target_oid(p)?.to_u32(),
            GuardedRows::of_filter(p.spec.filter.as_ref()),
        );
        state::define_triggers(p.source.into(), sides::source(p)?, &guards)?;
        triggers::record_installed(p.id)?;
    }
    Ok(())
}

/// Replaces all mirrors that were changed: those of the sources, and those of the targets if both sides are live.
pub fn renew(m: &Migration, mappings: &[Mapping], both: bool) -> Result<()> {
    lock_for_ddl(m, mappings)?;
    if both {
        return install_both(mappings);
    }
    for p in mappings {
        triggers::drop_all(p)?;
        install_flow(p, &sides::forward(p)?)?;
    }
    Ok(())
}

/// Restarts dual writing: drops the retired guards and installs the mirrors of both directions, in one transaction.
pub fn reopen(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    lock_for_ddl(m, mappings)?;
    install_both(mappings)
}

fn install_both(mappings: &[Mapping]) -> Result<()> {
    for p in mappings {
        triggers::drop_all(p)?;
        for flow in [Some(sides::forward(p)?), sides::reverse(p)?]
            .into_iter()
            .flatten()
        {
            install_flow(p, &flow)?;
        }
    }
    Ok(())
}

/// Only pg_mig may attach its trigger functions: the table's owner has no right to call them.
fn install_flow(p: &Mapping, flow: &Flow) -> Result<()> {
    for mark in sides::layout(p)?.marks() {
        catalog::require_plain(&mark.type_text)?;
    }
    let touched = match flow.direction {
        Direction::Forward => p.source,
        Direction::Reverse => sides::target_oid(p)?.to_u32(),
    };
    state::define_triggers(touched.into(), &flow.touched, &trigger::create(flow))?;
    triggers::record_installed(p.id)
}
