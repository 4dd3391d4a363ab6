//! Rollback from a phase before `stopped`, for tables.

use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::tx;
use crate::steps::verify::{self, LineTopic};
use crate::steps::{install_triggers, remove};
use crate::store::{drift, log, migration};

/// Rolls back from `switched` or earlier to `to`, in one transaction; returns what was done to every table.
pub(super) fn descend(m: &Migration, mappings: &[Mapping], to: Phase) -> Result<Vec<&'static str>> {
    let mut done = Vec::new();
    if to < Phase::DualWrite && m.phase >= Phase::DualWrite {
        if m.phase == Phase::Switched && drift::is_there(m)? {
            require_nothing_new(m, mappings)?;
        }
        remove::remove_mirrors(m, mappings, to == Phase::Defined)?;
        done.push("mirror removed, rows removed");
    } else if m.phase >= Phase::Switched && to < Phase::Switched {
        // Writes that passed a reverse mirror are missing in the sources, which applications would read from now on.
        drift::require_none(m)?;
        install_triggers::remove_reverse(m, mappings)?;
        done.push("one way again");
    }
    if to == Phase::Defined {
        remove::remove_targets(m, mappings)?;
    }
    migration::set_phase(m, to)?;
    log::write(
        &m.name,
        to.as_str(),
        &format!("mig_rollback from {}", m.phase),
    )?;
    Ok(done)
}

/// Errors if a mirror was changed and the targets hold writes that passed it: they would be lost with the targets.
fn require_nothing_new(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    if mappings
        .iter()
        .any(|p| p.source_name.is_none() || p.target_now.is_none())
    {
        return Ok(());
    }
    let found = tx::probe(|| verify::in_full(m, mappings))?;
    let new = |l: &verify::CheckLine| l.about == LineTopic::ExtraOrDifferent && l.ok != Some(true);
    if found.lines.iter().any(new) {
        return drift::require_none(m);
    }
    Ok(())
}
