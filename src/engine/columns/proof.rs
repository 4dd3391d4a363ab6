//! Checks whether old and new columns are in step: rows, triggers, indexes and keys.

use crate::engine::types::Repair;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::model::ddl_change::DdlChange;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::pg::notice::notice;
use crate::relation::deferred_constraints;
use crate::steps::columns::{backfill, compare};
use crate::steps::ddl;
use crate::steps::verify::rows::Difference;
use crate::steps::verify::{self, CheckFindings, CheckLine, CheckMode, LineTopic};
use crate::store::{check, drift, log};
use pgrx::pg_sys::Oid;

/// Returns the owners of the tables.
pub(super) fn owners(all: &[ColumnChange]) -> Vec<Oid> {
    let owners = all.iter().filter_map(|r| r.leader().owner);
    owners.map(Oid::from).collect()
}

/// Counts rows that are out of step; computed columns count as long as no other writer is allowed.
pub(super) fn wrong(all: &[ColumnChange], stage: SyncStage) -> Result<i64> {
    let mut sum = 0;
    for r in all {
        sum += compare::count(r, stage)?.wrong;
    }
    Ok(sum)
}

fn line(
    r: &ColumnChange,
    about: LineTopic,
    name: &str,
    values: (&str, &str),
    ok: Option<bool>,
) -> CheckLine {
    CheckLine {
        source: r.relation,
        target: Some(r.relation),
        name: name.to_owned(),
        source_value: Some(values.0.to_owned()),
        target_value: Some(values.1.to_owned()),
        ok,
        about,
    }
}

/// Returns the changes of one relation, or all.
fn chosen(all: &[ColumnChange], relation: Option<Oid>) -> Result<Vec<&ColumnChange>> {
    let found: Vec<&ColumnChange> = all
        .iter()
        .filter(|r| relation.is_none_or(|o| o.to_u32() == r.relation))
        .collect();
    if found.is_empty() {
        return Err(Error::invalid(
            "the relation is no part of this migration".into(),
            "None of its columns is the migration's.".into(),
            "SELECT * FROM mig.columns; lists them.".into(),
        ));
    }
    Ok(found)
}

/// Returns the current stage of the triggers.
fn stage(m: &Migration) -> SyncStage {
    match m.phase {
        p if p < Phase::Switched => SyncStage::Old,
        Phase::Switched => SyncStage::Both,
        _ => SyncStage::New,
    }
}

fn require_phase(m: &Migration) -> Result<()> {
    if m.phase < Phase::DualWrite {
        return Err(m.wrong_phase("phase \"dual_write\" or later"));
    }
    Ok(())
}

/// Runs a check, saves the result in `mig.check_result` and returns its lines.
pub(super) fn check(
    m: &Migration,
    all: &[ColumnChange],
    relation: Option<Oid>,
    mode: CheckMode,
) -> Result<Vec<CheckLine>> {
    require_phase(m)?;
    let mut found = CheckFindings {
        started: check::read_clock()?,
        ..CheckFindings::default()
    };
    let changes = drift::list(m)?;
    for r in chosen(all, relation)? {
        found.tables += 1;
        found.lines.extend(state(m, r, &changes)?);
        let gone = changes
            .iter()
            .find(|c| c.kind == drift::DriftKind::Gone && c.source == Some(r.relation));
        if let Some(gone) = gone {
            let values = ("compared", format!("not compared: {}", gone.what));
            let topic = LineTopic::Count;
            let line = line(r, topic, "rows", (values.0, &values.1), Some(false));
            found.lines.push(line);
        } else if mode != CheckMode::Quick {
            rows(m, r, &mut found)?;
        }
    }
    verify::save_result(m, mode, &found)?;
    Ok(found.lines)
}

fn state(
    m: &Migration,
    r: &ColumnChange,
    changes: &[drift::DriftChange],
) -> Result<Vec<CheckLine>> {
    let mut lines = Vec::new();
    let what: Vec<&str> = changes.iter().map(|c| c.what.as_str()).collect();
    let (fine, is) = ("as left by us", what.join("; "));
    let is = if is.is_empty() { fine } else { &is };
    let ok = Some(is == fine);
    lines.push(line(
        r,
        LineTopic::State,
        "trigger and view",
        (fine, is),
        ok,
    ));
    if m.phase >= Phase::Backfilled {
        let mut lacking = Vec::new();
        for (c, l) in r.late() {
            // The CHECK that proves NOT NULL is dropped at the archive.
            let column = DdlChange::NotNull {
                column: c.name.clone(),
            };
            let is_set = l.not_null && ddl::is_made(r.relation, r.table()?, &column)?;
            if !is_set && !ddl::is_made(r.relation, r.table()?, &l.change)? {
                lacking.push(l.change.name().as_str().to_owned());
            }
        }
        let is = lacking.join(", ");
        lines.push(line(
            r,
            LineTopic::State,
            "indexes, keys and checks lacking",
            ("", &is),
            Some(is.is_empty()),
        ));
    }
    Ok(lines)
}

fn rows(m: &Migration, r: &ColumnChange, found: &mut CheckFindings) -> Result<()> {
    let counted = compare::count(r, stage(m))?;
    let wrong = counted.wrong.to_string();
    let own = r.replaces.is_none() && m.phase >= Phase::Switched;
    let pending = m.phase == Phase::DualWrite && !r.leader().filled;
    let (name, ok) = if own {
        ("rows written on their own", Some(true))
    } else if pending {
        (
            "rows pending",
            if counted.wrong == 0 { Some(true) } else { None },
        )
    } else {
        ("rows out of step", Some(counted.wrong == 0))
    };
    let count = counted.rows.to_string();
    found.lines.push(line(
        r,
        LineTopic::Count,
        "rows",
        (&count, &count),
        Some(true),
    ));
    found.lines.push(line(
        r,
        LineTopic::ExtraOrDifferent,
        name,
        ("0", &wrong),
        ok,
    ));
    found.compared += counted.rows;
    if !own && !pending {
        found.differences += counted.wrong;
    }
    Ok(())
}

/// Returns the first rows that are out of step.
pub(super) fn diff(
    m: &Migration,
    all: &[ColumnChange],
    relation: Oid,
    limit: i64,
) -> Result<Vec<Difference>> {
    require_phase(m)?;
    drift::require_nothing_gone(m)?;
    let mut found = Vec::new();
    for r in chosen(all, Some(relation))? {
        for w in compare::list(r, stage(m), limit)? {
            found.push(Difference {
                key: Some(w.key),
                kind: "different".into(),
                source: w.source,
                target: w.target,
            });
        }
    }
    Ok(found)
}

/// Recomputes new columns from the old ones where they are out of step. Waits for no row lock.
pub(super) fn repair(
    m: &Migration,
    all: &[ColumnChange],
    relation: Option<Oid>,
    dry_run: bool,
) -> Result<Vec<Repair>> {
    require_phase(m)?;
    if m.phase > Phase::Switched {
        return Err(m.wrong_phase(
            "phase \"switched\" or earlier: from \"stopped\" on the new columns are the truth",
        ));
    }
    drift::require_nothing_gone(m)?;
    let mut lines = Vec::new();
    for r in chosen(all, relation)? {
        let own = r.replaces.is_none() && m.phase >= Phase::Switched;
        let wrong = if own {
            0
        } else {
            compare::count(r, stage(m))?.wrong
        };
        if wrong > 0 {
            lines.push(Repair {
                source: r.relation,
                kind: "different",
                rows: wrong,
            });
            if !dry_run {
                mend(m, r, wrong)?;
            }
        }
    }
    if lines.is_empty() {
        notice("nothing differs");
    } else if dry_run {
        notice(&format!(
            "nothing was changed; SELECT * FROM mig_repair({}, dry_run => false); repairs these rows",
            Literal(&m.name)
        ));
    }
    Ok(lines)
}

fn mend(m: &Migration, r: &ColumnChange, wrong: i64) -> Result<()> {
    if m.phase == Phase::DualWrite && !r.leader().filled {
        notice(&format!(
            "{wrong} rows are left to the backfill: SELECT mig_backfill({});",
            Literal(&m.name)
        ));
        return Ok(());
    }
    let owner = owners(std::slice::from_ref(r));
    let filled = || backfill::fill_whole_table(m, r, stage(m));
    let (written, left) = deferred_constraints::checked_at_once(&owner, true, filled)?;
    if left > 0 {
        notice(&format!(
            "rows in {left} blocks are locked by other sessions, and were left as they are; SELECT * FROM mig_repair({}, dry_run => false); again",
            Literal(&m.name)
        ));
    }
    if left == 0 && compare::count(r, stage(m))?.wrong > 0 {
        notice(&format!(
            "rows of {} differ still; SELECT * FROM mig_diff({}, '{}'); names them",
            r.describe(),
            Literal(&m.name),
            r.table()?.plain()
        ));
    }
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!(
            "mig_repair: {} of {wrong} rows of {} repaired",
            written,
            r.describe()
        ),
    )
}
