//! Rollback from a phase before `stopped`, for tables.

use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::{application_path, catalog, role, tx};
use crate::relation::triggers;
use crate::settings;
use crate::sqlgen::{new_rows, view_names};
use crate::steps::verify::{self, LineTopic};
use crate::steps::{install_triggers, remove};
use crate::store::{drift, log, migration, sides};

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
    if to < Phase::DualWrite {
        triggers::remove_left(mappings, settings::lock_timeout_ms(m))?;
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
    let is_new = if !drift::is_comparable(mappings) {
        has_new_rows(m, mappings)?
    } else {
        let found = tx::probe(|| verify::in_full(m, mappings))?;
        found
            .lines
            .iter()
            .any(|l| l.about == LineTopic::ExtraOrDifferent && l.ok != Some(true))
    };
    if is_new {
        return drift::require_none(m);
    }
    Ok(())
}

/// Whether a target has a row that its source lacks. The forward view is gone, or a column that it writes: only the
/// reverse view is asked. Where that is gone too, nothing is known.
fn has_new_rows(m: &Migration, mappings: &[Mapping]) -> Result<bool> {
    #[derive(serde::Deserialize)]
    struct NewRows {
        exists: bool,
    }
    let at = verify::lock_and_take_snapshot(m, mappings)?;
    for p in mappings {
        let there = catalog::oid_of(&view_names::reverse_name(p.id)).is_some();
        let back = sides::reverse(p)?.filter(|_| there);
        let Some(back) = back else {
            return Ok(true);
        };
        let owner = sides::owner(p)?;
        let _owner = role::confine_reading(owner)?;
        let _code = application_path::switch();
        let found = at.first::<NewRows>(&new_rows::exists(&back), &[])?;
        if found.is_none_or(|f| f.exists) {
            return Ok(true);
        }
    }
    Ok(false)
}
