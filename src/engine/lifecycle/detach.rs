//! The emergency stop: the application's writes continue without mirrors, and the migration is marked as failed.

use crate::engine::job::open;
use crate::engine::kind;
use crate::engine::types::Action;
use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::MigrationState;
use crate::pg::notice::notice;
use crate::store::{log, migration};

/// Disables the mirrors, ends the job and marks the migration as failed. Later writes are missing on the other side, so the next steps are a
/// rollback to `created` and forward again.
pub fn detach(name: Option<&str>) -> Result<Vec<Action>> {
    let work = kind::load(migration::find_mine(name)?)?;
    let m = work.migration();
    // First what the application waits for. A running job takes no lock that conflicts.
    let disabled = work.disable()?;
    if m.phase < Phase::DualWrite && disabled == 0 {
        notice(&format!(
            "migration \"{}\" is in phase \"{}\"; it has no mirrors",
            m.name, m.phase
        ));
        return Ok(work.actions("kept"));
    }
    if m.phase < Phase::DualWrite {
        log::write(&m.name, m.phase.as_str(), "mig_detach of mirrors left over")?;
        return Ok(work.actions("mirror disabled"));
    }
    if disabled == 0 {
        notice(&format!("migration \"{}\" is detached already", m.name));
        return Ok(work.actions("kept"));
    }
    open::end_open(m, Some("mig_detach"))?;
    let problem = work.problem_when_detached();
    migration::set_state(m.id, MigrationState::Failed, Some(problem))?;
    log::write(&m.name, m.phase.as_str(), "mig_detach")?;
    Ok(work.actions("mirror disabled"))
}
