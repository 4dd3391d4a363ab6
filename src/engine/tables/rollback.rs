//! Rollback to any earlier phase, for tables.

use super::descend::descend;
use super::sync_back;
use crate::engine::job::open;
use crate::engine::types::Action;
use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::steps::archive;
use crate::store::{log, mapping, migration};

/// Rolls back to `to`, or starts the job that does.
pub(super) fn roll_back(m: &Migration, mappings: &[Mapping], to: Phase) -> Result<Vec<Action>> {
    if m.phase == Phase::Archived {
        return unarchive(m, mappings, to);
    }
    if m.phase == Phase::Stopped {
        sync_back::start(m, mappings, to)?;
        return Ok(Action::for_mappings(mappings, "rows are brought back"));
    }
    open::end_open(m, Some("rolled back"))?;
    let done = descend(m, mappings, to)?;
    Ok(lines(mappings, &done, to, mapping::list(m.id)?))
}

/// archived → stopped, and further if wanted.
fn unarchive(m: &Migration, mappings: &[Mapping], to: Phase) -> Result<Vec<Action>> {
    archive::restore_names(m, mappings)?;
    migration::set_phase(m, Phase::Stopped)?;
    log::write(&m.name, "stopped", "mig_rollback from archived")?;
    let m = m.in_phase(Phase::Stopped);
    let mappings = mapping::list(m.id)?;
    if to == Phase::Stopped {
        return Ok(Action::for_mappings(&mappings, "has its name again"));
    }
    sync_back::start(&m, &mappings, to)?;
    Ok(Action::for_mappings(
        &mappings,
        "has its name again, rows are brought back",
    ))
}

fn lines(before: &[Mapping], done: &[&str], to: Phase, after: Vec<Mapping>) -> Vec<Action> {
    let mut lines = Action::for_mappings(&after, "");
    for (line, p) in lines.iter_mut().zip(before) {
        let target = match (to, p.adopted) {
            (Phase::Defined, true) => Some("target kept"),
            (Phase::Defined, false) => Some("target removed"),
            _ => None,
        };
        line.action = done
            .iter()
            .copied()
            .chain(target)
            .collect::<Vec<_>>()
            .join(", ");
    }
    lines
}
