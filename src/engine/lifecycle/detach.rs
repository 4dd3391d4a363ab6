//! The emergency stop: the application's writes go on without us, and the migration says so.

use crate::engine::columns;
use crate::engine::gate::actions;
use crate::engine::job::open;
use crate::engine::types::Action;
use crate::error::Result;
use crate::model::phase::Phase;
use crate::pg::notice::notice;
use crate::steps::install_triggers;
use crate::store::{log, mapping, migration};

/// Mirrors off, the job ended, the migration marked as failed. What is written from here on is missing in the
/// targets, so the way on is back to `created` and forth again.
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
    // First what the application waits for. A job at work takes no lock that would be in the way.
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
    migration::set_state(m.id, "failed", Some(problem))?;
    log::write(&m.name, m.phase.as_str(), "mig_detach")?;
    Ok(actions(&mappings, "mirror disabled"))
}
