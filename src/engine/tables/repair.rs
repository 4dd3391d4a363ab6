//! Repair: makes targets equal to the sources again, where writes passed the mirrors.

use super::check::choose_mappings;
use super::sync_back;
use crate::engine::job::{driver, open};
use crate::engine::types::Repair;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::order;
use crate::model::phase::Phase;
use crate::model::records::{Job, Leftover, Mapping, Migration, MigrationState, Task};
use crate::pg::notice::notice;
use crate::pg::tx;
use crate::relation::compare::DifferenceCounts;
use crate::relation::deferred_constraints;
use crate::settings;
use crate::steps::retry::{self, repair};
use crate::steps::{SliceOutcome, verify};
use crate::store::{drift, job, log, migration, pending_rows};
use pgrx::pg_sys::Oid;

/// Up to this many rows are repaired in the call, more in a job.
const AT_ONCE: i64 = 1000;

/// Counts the rows that differ. Without `dry_run` it lists their keys and repairs them, at once if they are few.
pub(super) fn repair(
    m: &Migration,
    all: &[Mapping],
    relation: Option<Oid>,
    dry_run: bool,
) -> Result<Vec<Repair>> {
    require_phase(m)?;
    if !dry_run {
        require_mirrors(m)?;
    }
    let mut chosen = choose_mappings(all, relation)?;
    chosen.retain(|p| !p.is_partner());
    if !dry_run {
        pending_rows::try_again(m.id)?;
    }
    drift::require_comparable(m, all)?;
    let at = verify::lock_and_take_snapshot(m, all)?;
    let kinds = chosen
        .iter()
        .map(|p| verify::rows::kinds(m, p, &at, !dry_run))
        .collect::<Result<Vec<_>>>()?;
    drop(at);
    let wrong: i64 = kinds.iter().map(DifferenceCounts::wrong).sum();
    if !dry_run {
        carry_out(m, all, wrong)?;
    } else if wrong == 0 {
        notice("nothing differs");
    } else {
        let call = format!(
            "SELECT * FROM mig_repair({}, dry_run => false);",
            Literal(&m.name)
        );
        notice(&format!(
            "{wrong} rows would be repaired, and nothing was changed; {call} does it"
        ));
    }
    let lines = chosen.iter().zip(kinds).flat_map(|(p, k)| lines(p, k));
    Ok(lines.filter(|l| l.rows > 0).collect())
}

fn lines(p: &Mapping, k: DifferenceCounts) -> [Repair; 3] {
    let line = |kind, rows| Repair {
        source: p.source,
        kind,
        rows,
    };
    [
        line("missing", k.missing),
        line("extra", k.extra),
        line("different", k.different),
    ]
}

fn require_phase(m: &Migration) -> Result<()> {
    if (Phase::DualWrite..=Phase::Switched).contains(&m.phase) {
        return Ok(());
    }
    if m.phase < Phase::DualWrite {
        return Err(m.wrong_phase("phase \"dual_write\" or later"));
    }
    Err(Error::wrong_phase(
        m.name.clone(),
        m.phase.as_str(),
        "both sides live: from \"stopped\" on the new tables are the truth".into(),
        format!(
            "To bring the old tables up to date: SELECT * FROM mig_rollback({}, 'switched');",
            Literal(&m.name)
        ),
    ))
}

/// Errors if repaired rows would not stay equal. If both sides are live, changed mirrors are allowed: they are reinstalled
/// only once both sides are equal.
fn require_mirrors(m: &Migration) -> Result<()> {
    let found = drift::list(m)?;
    let mends_itself =
        m.phase == Phase::Switched && found.iter().all(|c| c.kind == drift::DriftKind::Mirror);
    if found.is_empty() || mends_itself {
        return Ok(());
    }
    drift::require_none(m)
}

/// Repairs the pending rows, at once or in a job.
fn carry_out(m: &Migration, all: &[Mapping], wrong: i64) -> Result<()> {
    let listed = pending_rows::open(m.id, None)?.leftovers;
    if listed == 0 {
        notice("nothing differs");
        return Ok(());
    }
    if listed <= AT_ONCE {
        at_once(m, all)?;
    }
    let left = pending_rows::open(m.id, None)?.leftovers;
    let tell = |what: &str| {
        log::write(
            &m.name,
            m.phase.as_str(),
            &format!("mig_repair: {wrong} rows {what}"),
        )
    };
    if left == 0 {
        return tell("repaired");
    }
    if m.phase == Phase::DualWrite {
        tell(&format!("differed, {left} are left to the backfill"))?;
        notice(&format!(
            "{left} rows are left to the backfill: SELECT mig_backfill({});",
            Literal(&m.name)
        ));
        return Ok(());
    }
    if job::open(m.id)?.is_some() {
        open::end_open(m, Some("mig_repair took over"))?;
    }
    let id = job::insert(m.id, Task::Repair, None)?;
    migration::set_state(m.id, MigrationState::Running, None)?;
    driver::start(m, id, None)?;
    tell(&format!("differed, {left} are left to job {id}"))?;
    notice(&format!(
        "job {id} repairs {left} rows: SELECT mig_wait({});",
        Literal(&m.name)
    ));
    Ok(())
}

/// Repairs all pending rows in the caller's transaction, in an order in which rows find the rows they refer to. If that
/// fails, none of it is done, and they are left to the job, which takes them one by one.
fn at_once(m: &Migration, all: &[Mapping]) -> Result<()> {
    let mut listed: Vec<(&Mapping, Vec<Leftover>)> = Vec::new();
    for n in order::parents_first(all) {
        let p = &all[n];
        listed.push((p, pending_rows::list_untried(p.id, i32::MAX)?));
    }
    let done = tx::subtransaction(|| {
        deferred_constraints::checked_at_once(&deferred_constraints::owners(all), true, || {
            mend_all(m, &listed)
        })
    });
    match done {
        Err(e) if e.is_about_data() || e.is_retryable() => return Ok(()),
        other => other?,
    }
    for (p, of) in &listed {
        repair::strike_off_equal(p, of)?;
    }
    Ok(())
}

fn mend_all(m: &Migration, listed: &[(&Mapping, Vec<Leftover>)]) -> Result<()> {
    let prune = || -> Result<()> {
        for (p, of) in listed.iter().rev().filter(|(_, of)| !of.is_empty()) {
            repair::prune(p, &repair::keys(of))?;
        }
        Ok(())
    };
    prune()?;
    for (p, of) in listed.iter().filter(|(_, of)| !of.is_empty()) {
        repair::copy_free_rows(m, p, &repair::keys(of))?;
    }
    // Rows that referred to a wrong row no longer do.
    prune()?;
    // Deferred constraints are checked now, where an error can be handled.
    let tables: Vec<&Mapping> = listed.iter().map(|(p, _)| *p).collect();
    deferred_constraints::answer(&tables)?;
    Ok(())
}

/// Does the next piece of a repair that runs as a job; None when all is done.
pub(super) fn work(
    m: &Migration,
    all: &[Mapping],
    job: &Job,
    may_wait: bool,
) -> Result<Option<SliceOutcome>> {
    let some = settings::batch_rows(m);
    for n in order::parents_first(all) {
        let p = &all[n];
        let of = pending_rows::list_untried(p.id, some)?;
        if !of.is_empty() {
            return batch(m, p, &of).map(Some);
        }
    }
    if let Some(l) = pending_rows::next_leftover(m.id)? {
        return repair_row(m, all, &l, may_wait).map(Some);
    }
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed == 0 {
        return Ok(None);
    }
    let again = format!(
        "SELECT * FROM mig_repair({}, dry_run => false);",
        Literal(&m.name)
    );
    sync_back::another_round(m, job, failed, &again).map(Some)
}

/// Why a row that was written without an error still differs.
const NOT_SET: &str = "it differs after it was written: a generated column, or a trigger or a rule, makes another value in the target";

/// Repairs one row. One that differs although it was written is listed as failed.
fn repair_row(
    m: &Migration,
    all: &[Mapping],
    l: &Leftover,
    may_wait: bool,
) -> Result<SliceOutcome> {
    let outcome = retry::copy(m, l, may_wait)?;
    let found = all.iter().find(|p| p.id == l.mapping);
    if let (SliceOutcome::Did(_), Some(p)) = (&outcome, found)
        && repair::differs(p, l)?
    {
        pending_rows::keep_failed(l, "22000", NOT_SET)?;
    }
    Ok(outcome)
}

fn batch(m: &Migration, p: &Mapping, of: &[Leftover]) -> Result<SliceOutcome> {
    let mended = tx::subtransaction(|| mend_all(m, &[(p, of.to_vec())]));
    match mended {
        Err(e) if e.is_about_data() || e.is_retryable() => {
            for l in of {
                pending_rows::set_tried(l.id)?;
            }
            Ok(SliceOutcome::Did(0))
        }
        Err(e) => Err(e),
        Ok(()) => {
            let left = repair::strike_off_equal(p, of)?;
            Ok(SliceOutcome::Did(
                i64::try_from(of.len() - left).unwrap_or(0),
            ))
        }
    }
}
