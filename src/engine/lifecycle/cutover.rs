//! From `backfilled` to `stopped`: mirrors in both directions, then none.

use crate::engine::gate::{describe_forced_call, enter, require_phase};
use crate::engine::kind;
use crate::engine::types::Action;
use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::pg::tx;
use crate::store::migration;

/// backfilled → switched
pub fn switch(name: Option<&str>, force: bool) -> Result<Vec<Action>> {
    tx::require_read_committed()?;
    let work = kind::lock_idle(name, "mig_switch")?;
    let m = work.migration();
    if m.phase == Phase::Switched && work.is_disturbed()? {
        return work.reinstall("mig_switch");
    }
    if require_phase(m, Phase::Backfilled, "mig_switch", "mig_backfill")? {
        let found = work.cutover_blockers()?;
        let texts: Vec<String> = found.iter().map(|b| b.what.clone()).collect();
        if let Some(first) = found.first().filter(|_| !force) {
            return Err(Error::not_ready(
                m.name.clone(),
                format!("Found: {}.", texts.join("; ")),
                first.hint.clone(),
            ));
        }
        work.switch(force)?;
        let call = describe_forced_call("mig_switch", &texts);
        enter(m, Phase::Switched, &call)?;
    }
    Ok(work.actions(work.outcome(Phase::Switched)))
}

/// switched → stopped
pub fn stop(name: Option<&str>) -> Result<Vec<Action>> {
    let work = kind::lock_idle(name, "mig_stop")?;
    let m = work.migration();
    if m.phase == Phase::Stopped && work.is_disturbed()? {
        return work.reinstall("mig_stop");
    }
    if require_phase(m, Phase::Switched, "mig_stop", "mig_switch")? {
        work.stop()?;
        enter(m, Phase::Stopped, "mig_stop")?;
    }
    Ok(work.actions(work.outcome(Phase::Stopped)))
}

/// Returns which side applications should read.
pub fn reads(name: Option<&str>) -> Result<&'static str> {
    Ok(migration::find_any(name)?.phase.reads())
}
