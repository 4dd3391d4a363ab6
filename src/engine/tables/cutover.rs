//! From `backfilled` to `stopped`, for tables.

use crate::engine::job::open;
use crate::engine::types::Action;
use crate::engine::work::CutoverBlocker;
use crate::error::{Error, Result};
use crate::ident::{Ident, Literal};
use crate::model::layout::KeyColumn;
use crate::model::records::{Mapping, Migration, MigrationState};
use crate::pg::{spi, tx};
use crate::preflight;
use crate::relation::scope_pin;
use crate::steps::define::scope;
use crate::steps::verify::{self, CheckMode};
use crate::steps::{create, install_triggers};
use crate::store::drift::{self, DriftKind};
use crate::store::{check, log, migration, pending_rows, sides};
use pgrx::pg_sys::Oid;

/// Repairs mirrors that were changed while both sides were live. If all rows are equal no write has passed a mirror, and
/// the mirrors are reinstalled; otherwise only the operator knows which side is right.
pub(super) fn reinstall_both_ways(m: &Migration, mappings: &[Mapping]) -> Result<Vec<Action>> {
    drift::require_nothing_gone(m)?;
    install_triggers::give_objects_to_owners(m, mappings)?;
    let found = tx::probe(|| verify::in_full(m, mappings))?;
    if !found.rows_are_equal() {
        drift::require_none(m)?;
    }
    install_triggers::renew(m, mappings, true)?;
    // Rows that were written between the check and the locks are checked too.
    let again = verify::in_full(m, mappings)?;
    verify::save_result(m, CheckMode::Full, &again)?;
    if again.ok() != Some(true) {
        return Err(Error::not_ready(
            m.name.clone(),
            "Writes have passed a mirror, and both sides differ.".into(),
            format!(
                "SELECT * FROM mig_check({}) WHERE ok IS NOT TRUE; mig_diff names rows, and mig_repair makes new rows equal to the old ones.",
                Literal(&m.name)
            ),
        ));
    }
    log::write(
        &m.name,
        "switched",
        "mig_switch installed the mirrors again",
    )?;
    Ok(Action::for_mappings(
        mappings,
        "both ways, mirrors installed again",
    ))
}

/// Handles a rollback that was begun and is not wanted any more, or a changed retired guard.
pub(super) fn stop_again(m: &Migration, mappings: &[Mapping]) -> Result<Vec<Action>> {
    drift::require_nothing_gone(m)?;
    open::end_open(m, Some("mig_stop"))?;
    install_triggers::retire(m, mappings, true)?;
    scope_pin::release(mappings)?;
    for p in mappings {
        pending_rows::clear(p.id)?;
    }
    migration::set_state(m.id, MigrationState::Ok, None)?;
    log::write(&m.name, "stopped", "mig_stop installed the guards again")?;
    Ok(Action::for_mappings(mappings, "old table refuses writes"))
}

/// Errors if a mapping has no reverse direction: it would lose what the new application writes, so `force` does not
/// override it.
pub(super) fn require_ways_back(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    if mappings
        .iter()
        .all(|p| p.layout.as_ref().is_some_and(|l| l.back.is_some()))
    {
        return Ok(());
    }
    let planned = create::plan(mappings.to_vec(), scope::load_scope(m)?.as_ref())?;
    let stuck: Vec<_> = planned
        .iter()
        .flat_map(|p| preflight::one_way(&p.mapping, &p.source, &p.layout))
        .collect();
    let details: Vec<_> = stuck.iter().map(|f| f.detail.as_str()).collect();
    Err(Error::not_ready(
        m.name.clone(),
        format!(
            "Writes of the new tables could not go back. {}",
            details.join(" ")
        ),
        stuck
            .first()
            .and_then(|f| f.hint.clone())
            .unwrap_or_else(|| {
                format!(
                    "SELECT * FROM mig_rollback({}, 'defined'); and define the tables again.",
                    Literal(&m.name)
                )
            }),
    ))
}

pub(super) fn blockers(m: &Migration, mappings: &[Mapping]) -> Result<Vec<CutoverBlocker>> {
    let name = Literal(&m.name);
    let mut found = Vec::new();
    for p in mappings {
        if let Some(what) = drift::find_text(p, DriftKind::ALL)? {
            let hint = format!("What to do about it: SELECT next_step FROM mig_status({name});");
            found.push(CutoverBlocker { what, hint });
        }
    }
    for p in mappings.iter().filter(|p| p.adopted) {
        let columns = two_sequences(p)?;
        found.extend(
            columns
                .iter()
                .map(|c| c.blocker(p))
                .collect::<Result<Vec<_>>>()?,
        );
    }
    let open = pending_rows::open(m.id, None)?;
    for (count, what) in [
        (open.leftovers, "rows are not copied yet"),
        (open.errors, "rows cannot be copied"),
    ] {
        if count > 0 {
            found.push(CutoverBlocker {
                what: format!("{count} {what}"),
                hint: format!(
                    "SELECT * FROM mig.errors; correct them, then SELECT * FROM mig_repair({name}, dry_run => false);"
                ),
            });
        }
    }
    if found.is_empty() && !ensure_full_check(m, mappings)? {
        found.push(CutoverBlocker {
            what: "the full check found differences".into(),
            hint: format!(
                "SELECT * FROM mig_check({name}) WHERE ok IS NOT TRUE; mig_diff names rows, and mig_repair makes them equal."
            ),
        });
    }
    Ok(found)
}

/// A key column whose ids both sides would draw from sequences of their own: one id would soon be given twice.
#[derive(serde::Deserialize)]
struct TwoSequences {
    column: Ident,
    source_sequence: String,
    identity: bool,
}

fn two_sequences(p: &Mapping) -> Result<Vec<TwoSequences>> {
    let key = &sides::layout(p)?.key;
    if key.iter().any(|k| k.via.is_some()) {
        // Each side draws its own ids, and the id map connects them.
        return Ok(Vec::new());
    }
    let names = |of: fn(&KeyColumn) -> &Ident| -> Vec<String> {
        key.iter().map(|k| of(k).as_str().to_owned()).collect()
    };
    spi::rows(
        include_str!("../../../sql/query/two_sequences.sql"),
        &[
            Oid::from(p.source).into(),
            sides::target_oid(p)?.into(),
            names(|k| &k.source).into(),
            names(|k| &k.target).into(),
        ],
    )
}

impl TwoSequences {
    fn blocker(&self, p: &Mapping) -> Result<CutoverBlocker> {
        let (target, column) = (sides::target(p)?, &self.column);
        let sequence = Literal(&self.source_sequence);
        let first = if self.identity {
            format!("ALTER TABLE {target} ALTER COLUMN {column} DROP IDENTITY; ")
        } else {
            String::new()
        };
        Ok(CutoverBlocker {
            what: format!(
                "{} and {} draw ids from two sequences",
                p.source_text(),
                target.plain()
            ),
            hint: format!(
                "{first}ALTER TABLE {target} ALTER COLUMN {column} SET DEFAULT nextval({sequence}); \
                 SELECT setval({sequence}, greatest((SELECT last_value FROM {}), (SELECT max({column}) FROM {target})));",
                self.source_sequence
            ),
        })
    }
}

/// Whether a full check since the backfill ended was clean; runs one if there is none. Its locks on the tables are released
/// with the subtransaction: a transaction that waits for a strong lock must hold none.
fn ensure_full_check(m: &Migration, mappings: &[Mapping]) -> Result<bool> {
    if check::is_proven(m.id)? {
        return Ok(true);
    }
    let found = tx::probe(|| verify::in_full(m, mappings))?;
    // After an ERROR this record is lost; the check can be run again by itself.
    verify::save_result(m, CheckMode::Full, &found)?;
    Ok(found.ok() == Some(true))
}
