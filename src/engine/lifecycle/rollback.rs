//! Rollback by one step or several, from every phase.

use crate::engine::kind;
use crate::engine::types::Action;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::did_you_mean;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::pg::notice::notice;

/// Rolls back to `to`, or by one step.
pub fn rollback(name: &str, to: Option<&str>) -> Result<Vec<Action>> {
    let work = kind::lock_idle(Some(name), "mig_rollback")?;
    match destination(work.migration(), to)? {
        Some(to) => work.roll_back(to),
        None => Ok(work.actions("kept")),
    }
}

/// Returns the phase to go to; None, with a NOTICE, if there is nothing to do.
fn destination(m: &Migration, to: Option<&str>) -> Result<Option<Phase>> {
    let to = match to {
        Some(text) => named_phase(text)?,
        None => match m.phase.previous() {
            Some(before) => before,
            None => {
                notice(&format!(
                    "migration \"{}\" is in phase \"defined\"; there is nothing to roll back",
                    m.name
                ));
                return Ok(None);
            }
        },
    };
    if to == m.phase {
        notice(&format!(
            "migration \"{}\" is in phase \"{}\" already",
            m.name, m.phase
        ));
        return Ok(None);
    }
    // A rollback to `dual_write` gains nothing: from there only the backfill follows.
    if to > m.phase || to == Phase::DualWrite {
        let earlier = Phase::ALL
            .iter()
            .copied()
            .filter(|p| *p < m.phase && *p != Phase::DualWrite);
        let names: Vec<String> = earlier.map(|p| format!("\"{p}\"")).collect();
        let name = Literal(&m.name);
        let (detail, hint) = match names.as_slice() {
            [] => (
                "There is no way back from \"defined\".".to_owned(),
                m.next_step_hint(),
            ),
            names => (
                format!("The way back goes to {}.", names.join(" or ")),
                format!("SELECT mig_rollback({name});"),
            ),
        };
        return Err(Error::invalid(
            format!("cannot roll back from \"{}\" to \"{to}\"", m.phase),
            detail,
            hint,
        ));
    }
    Ok(Some(to))
}

fn named_phase(text: &str) -> Result<Phase> {
    Phase::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Phase::ALL.iter().map(|p| p.as_str()).collect();
        Error::invalid(
            format!("unknown phase \"{text}\""),
            format!("The phases are {}.", names.join(", ")),
            did_you_mean::hint(text, names, '\'', || {
                "Leave to_phase out to go back one step.".into()
            }),
        )
    })
}
