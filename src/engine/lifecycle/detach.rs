//! The emergency stop: the application's writes continue without mirrors, and the migration is marked as failed.

use crate::engine::columns;
use crate::engine::gate::actions;
use crate::engine::job::open;
use crate::engine::types::Action;
use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::MigrationState;
use crate::pg::notice::notice;
use crate::steps::install_triggers;
use crate::store::{log, mapping, migration};

/// Disables the mirrors, ends the job and marks the migration as failed. Later writes are missing in the targets, so the
/// next steps are a rollback to `created` and forward again.
pub fn detach(name: Option<&str>) -> Result<Vec<Action>> {
    let m = migration::find_mine(name)?;
    if let Some(all) = columns::load(&m)? {
        return columns::detach(&m, &all);
    }
    let mappings = mapping::list(m.id)?;
    if m.phase < Phase::DualWrite {
        notice(&format!(
            "migration \"{}\" is in phase \"{}\"; it has no mirrors",
            m.name, m.phase
        ));
        return Ok(actions(&mappings, "kept"));
    }
    // First what the application waits for. A running job takes no lock that conflicts.
    if install_triggers::disable(&mappings)? == 0 {
        notice(&format!("migration \"{}\" is detached already", m.name));
        return Ok(actions(&mappings, "kept"));
    }
    open::end_open(&m, Some("mig_detach"))?;
    let problem = if m.phase >= Phase::Switched {
        "detached by mig_detach: each side misses what was written to the other since"
    } else {
        "detached by mig_detach: the targets miss what was written since"
    };
    migration::set_state(m.id, MigrationState::Failed, Some(problem))?;
    log::write(&m.name, m.phase.as_str(), "mig_detach")?;
    Ok(actions(&mappings, "mirror disabled"))
}
