//! The emergency stop: the application's writes go on without us, and the migration says so.

use super::{Action, actions};
use crate::error::Result;
use crate::model::phase::Phase;
use crate::pg::launch;
use crate::pg::notice::notice;
use crate::steps::capture;
use crate::store::{job, log, mapping, migration};

/// Mirrors off, the job ended, the migration marked as failed. What is written from here on is missing in the
/// targets, so the way on is back to `created` and forth again.
pub fn detach(name: Option<&str>) -> Result<Vec<Action>> {
    let m = migration::find_mine(name)?;
    let mappings = mapping::all(m.id)?;
    if m.phase < Phase::DualWrite {
        notice(&format!(
            "migration \"{}\" is in phase \"{}\"; it has no mirrors",
            m.name, m.phase
        ));
        return Ok(actions(&mappings, "kept"));
    }
    // First what the application waits for. A job at work takes no lock that would be in the way.
    if capture::disable(&mappings)? == 0 {
        notice(&format!("migration \"{}\" is detached already", m.name));
        return Ok(actions(&mappings, "kept"));
    }
    if let Some(open) = job::open(m.id)? {
        job::end(open.id, "cancelled", Some("mig_detach"))?;
        if let Some(pid) = job::runner(m.id)? {
            launch::cancel_at_commit(pid);
        }
    }
    let problem = "detached by mig_detach: the targets miss what was written since";
    migration::set_state(m.id, "failed", Some(problem))?;
    log::write(&m.name, m.phase.as_str(), "mig_detach")?;
    Ok(actions(&mappings, "mirror disabled"))
}
