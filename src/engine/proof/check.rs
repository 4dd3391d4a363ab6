//! Checks, now or in a job, and the rows that differ.

use crate::engine::columns;
use crate::engine::gate::lock_idle_migration;
use crate::engine::job::{driver, open};
use crate::engine::types::CheckArguments;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::did_you_mean;
use crate::model::phase::Phase;
use crate::model::records::{Job, Mapping, Migration, Task};
use crate::pg::tid::BlockSlice;
use crate::pg::{activity, catalog};
use crate::sqlgen::checksum::Side;
use crate::steps::verify::rows::{self, CheckProgress, Difference};
use crate::steps::verify::{self, CheckFindings, CheckLine, CheckMode, CheckSubject};
use crate::store::{job, log, mapping, migration};
use pgrx::pg_sys::Oid;
use serde::{Deserialize, Serialize};

/// A migration whose both sides exist, and the tables to check.
struct CheckScope {
    migration: Migration,
    all: Vec<Mapping>,
    chosen: Vec<i32>,
}

impl CheckScope {
    fn subject(&self) -> CheckSubject<'_> {
        let chosen = self.all.iter().filter(|p| self.chosen.contains(&p.id));
        CheckSubject {
            migration: &self.migration,
            all: &self.all,
            chosen: chosen.collect(),
        }
    }
}

fn load_scope(name: Option<&str>, relation: Option<Oid>) -> Result<CheckScope> {
    let m = migration::find(name)?;
    migration::require_owner(&m)?;
    if m.phase < Phase::DualWrite {
        return Err(m.wrong_phase("phase \"dual_write\" or later"));
    }
    let all = mapping::list(m.id)?;
    let chosen = choose_mappings(&all, relation)?;
    Ok(CheckScope {
        chosen: chosen.iter().map(|p| p.id).collect(),
        migration: m,
        all,
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
        return Err(Error::Invalid {
            message: "the relation is no part of this migration".into(),
            detail: "It is neither source nor target of one of its tables.".into(),
            hint: "SELECT * FROM mig.tables; lists them.".into(),
        });
    }
    Ok(found)
}

fn mode(name: &str, sample: i32) -> Result<CheckMode> {
    match name {
        "full" => Ok(CheckMode::Full),
        "quick" => Ok(CheckMode::Quick),
        "sample" if sample > 0 => Ok(CheckMode::Sample(sample)),
        "sample" => Err(Error::Invalid {
            message: format!("a sample of {sample} rows is none"),
            detail: "It has to be 1 at least.".into(),
            hint: "Leave sample out for 10.".into(),
        }),
        other => Err(Error::Invalid {
            message: format!("unknown mode \"{other}\""),
            detail: "The modes are quick, sample and full.".into(),
            hint: did_you_mean::hint(other, CheckMode::NAMES, '\'', || {
                "Leave mode out for a full check.".into()
            }),
        }),
    }
}

/// Runs a check over all tables, or over the one that `relation` is source or target of.
pub fn check(wanted: &CheckArguments) -> Result<Vec<CheckLine>> {
    let mode = mode(wanted.mode, wanted.sample)?;
    let m = migration::find(wanted.migration)?;
    if let Some(all) = columns::load(&m)? {
        migration::require_owner(&m)?;
        return columns::proof::check(&m, &all, wanted, mode);
    }
    let scene = load_scope(wanted.migration, wanted.relation)?;
    verify::run(&scene.subject(), mode)
}

/// Runs a check. Errors with the first line that is not ok.
pub fn assert(name: Option<&str>, mode_name: &str) -> Result<()> {
    let mode = mode(mode_name, 10)?;
    let m = migration::find(name)?;
    if let Some(all) = columns::load(&m)? {
        migration::require_owner(&m)?;
        let wanted = CheckArguments {
            migration: name,
            mode: mode_name,
            relation: None,
            sample: 10,
        };
        return columns::proof::assert(&m, &all, &wanted, mode);
    }
    let scene = load_scope(name, None)?;
    let lines = verify::run(&scene.subject(), mode)?;
    let Some(bad) = lines.iter().find(|l| l.ok != Some(true)) else {
        return Ok(());
    };
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    let mut mappings = scene.all.iter();
    let source = mappings
        .find(|p| p.source == bad.source)
        .map(Mapping::source_text);
    let migration = Literal(&scene.migration.name);
    Err(Error::CheckFailed {
        detail: format!(
            "{}: {}: source {}, target {}.",
            source.unwrap_or_default(),
            bad.name,
            text(&bad.source_value),
            text(&bad.target_value)
        ),
        hint: format!(
            "SELECT * FROM mig_check({migration}, {}) WHERE ok IS NOT TRUE;",
            Literal(mode_name)
        ),
        migration: scene.migration.name.clone(),
    })
}

/// Returns the first rows of one table that differ.
pub fn diff(name: Option<&str>, relation: Oid, max_rows: i32) -> Result<Vec<Difference>> {
    if max_rows < 1 {
        return Err(Error::Invalid {
            message: format!("max_rows is {max_rows}"),
            detail: "It has to be 1 at least.".into(),
            hint: "Leave max_rows out for 20.".into(),
        });
    }
    let m = migration::find(name)?;
    if let Some(all) = columns::load(&m)? {
        migration::require_owner(&m)?;
        return columns::proof::diff(&m, &all, relation, i64::from(max_rows));
    }
    let scene = load_scope(name, Some(relation))?;
    let mut all = Vec::new();
    for p in scene.subject().chosen.iter().filter(|p| !p.is_partner()) {
        all.extend(rows::diff(&scene.migration, p, i64::from(max_rows))?);
    }
    Ok(all)
}

/// State of a check that runs as a job: what it has found so far.
#[derive(Serialize, Deserialize)]
struct CheckState {
    mode: String,
    sample: i32,
    /// Mappings, and how many of them are done.
    tables: Vec<i32>,
    done: usize,
    found: CheckFindings,
}

/// Starts a check in the background; returns the job's id.
pub fn start(wanted: &CheckArguments, driver: &str) -> Result<i64> {
    let asked = driver::parse_driver(driver)?;
    let mode = mode(wanted.mode, wanted.sample)?;
    if columns::load(&migration::find(wanted.migration)?)?.is_some() {
        return Err(Error::NotSupported {
            what: "a check of columns as a job".into(),
            detail: "It reads each table once, in the call.".into(),
            hint: "SELECT * FROM mig_check();".into(),
        });
    }
    let scene = load_scope(wanted.migration, wanted.relation)?;
    let (m, _) = lock_idle_migration(Some(&scene.migration.name), "mig_check_start")?;
    open::require_no_open(&m, "mig_check_start")?;
    let underway = CheckState {
        mode: mode.as_str().to_owned(),
        sample: wanted.sample,
        tables: scene.chosen.clone(),
        done: 0,
        found: CheckFindings::default(),
    };
    let id = job::insert(m.id, Task::Check, None)?;
    save(id, &underway)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("job {id} started: {} check", mode.as_str()),
    )?;
    driver::start(&m, id, asked)?;
    Ok(id)
}

fn save(id: i64, underway: &CheckState) -> Result<()> {
    let document = serde_json::to_value(underway);
    job::set_details(id, document.map_err(|e| Error::Internal(e.to_string()))?)
}

/// Checks the next table of a check that runs as a job; false when it is done.
pub fn work(m: &Migration, all: &[Mapping], job: &Job) -> Result<bool> {
    let details = job.details.clone().unwrap_or_default();
    let mut underway: CheckState = serde_json::from_value(details)
        .map_err(|e| Error::Internal(format!("the job does not decode: {e}")))?;
    let mode = mode(&underway.mode, underway.sample)?;
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
        save(job.id, &underway)?;
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
            Side::Target => p.target.unwrap_or(0),
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
