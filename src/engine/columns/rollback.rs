//! Rollback to any earlier phase, for columns.

use super::proof;
use crate::engine::gate::enter;
use crate::engine::job::open;
use crate::engine::types::Action;
use crate::error::Result;
use crate::ident::Literal;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::model::phase::Phase;
use crate::model::records::{Migration, MigrationState};
use crate::pg::notice::notice;
use crate::relation::triggers;
use crate::settings;
use crate::steps::columns::{create, finish};
use crate::store::{migration, new_column};

/// Rolls back to `to`, step by step in one transaction.
pub(super) fn roll_back(m: &Migration, to: Phase) -> Result<Vec<Action>> {
    open::end_open(m, Some("rolled back"))?;
    let mut done = Vec::new();
    if m.phase == Phase::Archived {
        finish::take_back(m, &new_column::list(m.id)?)?;
        done.push("has its name again");
    }
    let all = new_column::list(m.id)?;
    if m.phase >= Phase::Stopped && to < Phase::Stopped {
        finish::stop_back(m, &all)?;
        done.push("both ways again");
    }
    if m.phase >= Phase::Switched && to == Phase::Backfilled {
        finish::switch_back(m, &all)?;
        done.push("old column is the truth again");
        tell_of_own_writes(m, &all)?;
    }
    if m.phase >= Phase::DualWrite && to < Phase::DualWrite {
        create::remove_triggers(m, &all)?;
        create::remove(m, &all)?;
        if to == Phase::Created {
            create::columns(m, &all)?;
        }
        all.iter().try_for_each(|r| new_column::reset(r.id))?;
        migration::set_drain(m.id, None)?;
        done.push("new columns emptied");
    }
    if to < Phase::DualWrite {
        triggers::remove_left(&all, settings::lock_timeout_ms(m))?;
    }
    if to == Phase::Defined {
        if m.phase == Phase::Created {
            create::remove(m, &all)?;
        }
        done.push("new columns removed");
    }
    enter(m, to, &format!("mig_rollback from {}", m.phase))?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    Ok(Action::for_changes(&all, &done.join(", ")))
}

/// Reports rows whose computed columns hold written values instead of the computed ones.
fn tell_of_own_writes(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    let computed: Vec<ColumnChange> = all
        .iter()
        .filter(|r| r.replaces.is_none())
        .cloned()
        .collect();
    let own = proof::wrong(&computed, SyncStage::Old)?;
    if own > 0 {
        notice(&format!(
            "{own} rows have values of their own in computed columns; SELECT * FROM mig_repair({}, dry_run => false); computes them again",
            Literal(&m.name)
        ));
    }
    Ok(())
}
