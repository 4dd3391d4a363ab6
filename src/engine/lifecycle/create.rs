//! From `defined` to `dual_write`.

use crate::engine::gate::{enter, require_phase};
use crate::engine::kind;
use crate::engine::types::Action;
use crate::engine::work::Work;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::pg::tx;
use crate::preflight::{PreflightFinding, Severity};

/// defined → created
pub fn create(name: Option<&str>) -> Result<Vec<Action>> {
    let work = kind::lock_idle(name, "mig_create")?;
    work.require_some()?;
    let m = work.migration();
    if !require_phase(m, Phase::Defined, "mig_create", "mig_define")? {
        return Ok(work.actions("exists"));
    }
    require_clean(&*work)?;
    let done = work.create()?;
    enter(m, Phase::Created, "mig_create")?;
    Ok(done)
}

/// created → dual_write
pub fn dual_write(name: Option<&str>) -> Result<Vec<Action>> {
    let work = kind::lock_idle(name, "mig_dual_write")?;
    let m = work.migration();
    if [Phase::DualWrite, Phase::Backfilled].contains(&m.phase) && work.is_disturbed()? {
        return work.reinstall("mig_dual_write");
    }
    if require_phase(m, Phase::Created, "mig_dual_write", "mig_create")? {
        require_clean(&*work)?;
        work.start_dual_write()?;
        enter(m, Phase::DualWrite, "mig_dual_write")?;
    }
    Ok(work.actions(work.outcome(Phase::DualWrite)))
}

/// Errors: 0A000 for a kind of table, 55000 if preflight finds another error.
fn require_clean(work: &dyn Work) -> Result<()> {
    let m = work.migration();
    work.require_kinds()?;
    // Releases the locks of the check: a transaction that waits for a strong lock must hold none.
    let errors: Vec<PreflightFinding> = tx::probe(|| work.findings())?
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    let Some(first) = errors.first() else {
        return Ok(());
    };
    let mut details: Vec<String> = Vec::new();
    for f in &errors {
        let text = format!("{}: {}", f.check_name, f.detail);
        // Columns that change together have the same findings.
        if !details.contains(&text) {
            details.push(text);
        }
    }
    Err(Error::preflight(
        m.name.clone(),
        details.join(" "),
        match &first.hint {
            Some(hint) => hint.clone(),
            None => format!("SELECT * FROM mig_preflight({});", Literal(&m.name)),
        },
    ))
}
