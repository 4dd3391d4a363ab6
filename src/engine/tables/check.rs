//! Checks and differences of tables.

use crate::engine::types::CheckState;
use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Job, Mapping, Migration};
use crate::pg::tid::BlockSlice;
use crate::pg::{activity, catalog};
use crate::sqlgen::checksum::Side;
use crate::steps::verify::rows::{self, CheckProgress, Difference};
use crate::steps::verify::{self, CheckLine, CheckMode, CheckSubject};
use crate::store::{drift, job, sides};
use pgrx::pg_sys::Oid;

/// Returns what to check. Errors: 55000 before both sides exist.
fn subject<'a>(
    m: &'a Migration,
    all: &'a [Mapping],
    relation: Option<Oid>,
) -> Result<CheckSubject<'a>> {
    if m.phase < Phase::DualWrite {
        return Err(m.wrong_phase("phase \"dual_write\" or later"));
    }
    Ok(CheckSubject {
        migration: m,
        all,
        chosen: choose_mappings(all, relation)?,
    })
}

/// Returns the mappings that `relation` is source or target of; all of them without it.
pub fn choose_mappings(all: &[Mapping], relation: Option<Oid>) -> Result<Vec<&Mapping>> {
    let is_it = |p: &&Mapping| {
        relation.is_none_or(|r| p.source == r.to_u32() || p.target == Some(r.to_u32()))
    };
    let named: Vec<i32> = all.iter().filter(is_it).map(Mapping::leader).collect();
    // Merged rows are checked once, for all of their sources.
    let is_meant = |p: &&Mapping| is_it(p) || named.contains(&p.id);
    let found: Vec<&Mapping> = all.iter().filter(is_meant).collect();
    if found.is_empty() {
        return Err(Error::invalid(
            "the relation is no part of this migration".into(),
            "It is neither source nor target of one of its tables.".into(),
            "SELECT * FROM mig.tables; lists them.".into(),
        ));
    }
    Ok(found)
}

/// Runs a check over all tables, or over the one that `relation` is source or target of.
pub(super) fn check(
    m: &Migration,
    all: &[Mapping],
    relation: Option<Oid>,
    mode: CheckMode,
) -> Result<Vec<CheckLine>> {
    verify::run(&subject(m, all, relation)?, mode)
}

/// Returns the mappings that a check job takes one after the other.
pub(super) fn parts(m: &Migration, all: &[Mapping], relation: Option<Oid>) -> Result<Vec<i32>> {
    let subject = subject(m, all, relation)?;
    Ok(subject.chosen.iter().map(|p| p.id).collect())
}

/// Returns the first rows of one table that differ.
pub(super) fn diff(
    m: &Migration,
    all: &[Mapping],
    relation: Oid,
    limit: i64,
) -> Result<Vec<Difference>> {
    let subject = subject(m, all, Some(relation))?;
    drift::require_comparable(m, all)?;
    let mut found = Vec::new();
    for p in subject.chosen.iter().filter(|p| !p.is_partner()) {
        found.extend(rows::diff(m, p, limit)?);
    }
    Ok(found)
}

/// Checks the next table of a check that runs as a job; false when it is done.
pub(super) fn work(m: &Migration, all: &[Mapping], job: &Job) -> Result<bool> {
    let mut underway = CheckState::decode(job.details.clone().unwrap_or_default())?;
    let mode = CheckMode::read(&underway.mode, underway.sample)?;
    let (done, of) = (underway.done, underway.tables.len());
    // A full check goes table by table, each under its own snapshot.
    let now = if mode == CheckMode::Full { 1 } else { of };
    if done < of {
        let ids = &underway.tables[done..done + now];
        let chosen = all.iter().filter(|p| ids.contains(&p.id)).collect();
        let subject = CheckSubject {
            migration: m,
            all,
            chosen,
        };
        let found = verify::run_with_progress(&subject, mode, &mut SlicedProgress { done, of })?;
        underway.found.add(found);
        underway.done += now;
        job::set_details(job.id, underway.encode()?)?;
        return Ok(true);
    }
    verify::save_result(m, mode, &underway.found)?;
    Ok(false)
}

/// Reads large tables in slices, so that progress is visible.
struct SlicedProgress {
    done: usize,
    of: usize,
}

/// 16 MB.
const SLICE_BLOCKS: i64 = 2048;

impl CheckProgress for SlicedProgress {
    fn slices(&mut self, p: &Mapping, side: Side) -> Result<Vec<BlockSlice>> {
        let relation = match side {
            Side::Source => p.source,
            Side::Target => sides::target_oid(p)?.to_u32(),
        };
        let blocks = catalog::extent(relation)?.map_or(0, |e| e.blocks);
        let count = (blocks + SLICE_BLOCKS - 1) / SLICE_BLOCKS;
        if count < 2 {
            return Ok(Vec::new());
        }
        // The last slice has no end: the table may have grown since its size was looked up.
        let end = |n: i64| {
            if n + 1 == count {
                i64::from(u32::MAX)
            } else {
                (n + 1) * SLICE_BLOCKS
            }
        };
        (0..count)
            .map(|n| BlockSlice::new(n * SLICE_BLOCKS, end(n)))
            .collect()
    }

    fn report_progress(&mut self, p: &Mapping, side: Side, done: usize, of: usize) {
        let before = match side {
            Side::Source => 0,
            Side::Target => of,
        };
        let percent = 100 * (before + done) / (2 * of.max(1));
        activity::report(&format!(
            "check of {} (table {} of {}): {percent} %",
            p.source_text(),
            self.done + 1,
            self.of
        ));
    }
}
