//! Checks: are both sides equal? A whole check reads under one snapshot, so that under live writes the correct result is no
//! difference at all.

mod orphans;
pub mod rows;
mod sample;
mod state;

use crate::error::{Error, Result};
use crate::model::did_you_mean;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::model::shape::Shape;
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, lock};
use crate::settings;
use crate::store::drift::{DriftChange, DriftKind};
use crate::store::{check, drift, sides};
use pgrx::pg_sys::Oid;
use rows::CheckProgress;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMode {
    /// Counts, and everything besides the rows.
    Quick,
    /// As `Quick`, and this many random rows with all rows that refer to them.
    Sample(i32),
    /// As `Quick`, and every row and every reference.
    Full,
}

impl CheckMode {
    pub const NAMES: [&str; 3] = ["quick", "sample", "full"];

    pub fn as_str(self) -> &'static str {
        match self {
            CheckMode::Quick => "quick",
            CheckMode::Sample(_) => "sample",
            CheckMode::Full => "full",
        }
    }

    /// Reads the arguments of a check. Errors: 22023.
    pub fn read(name: &str, sample: i32) -> Result<CheckMode> {
        match name {
            "full" => Ok(CheckMode::Full),
            "quick" => Ok(CheckMode::Quick),
            "sample" if sample > 0 => Ok(CheckMode::Sample(sample)),
            "sample" => Err(Error::invalid(
                format!("a sample of {sample} rows is none"),
                "It has to be 1 at least.".into(),
                "Leave sample out for 10.".into(),
            )),
            other => Err(Error::invalid(
                format!("unknown mode \"{other}\""),
                "The modes are quick, sample and full.".into(),
                did_you_mean::hint(other, CheckMode::NAMES, '\'', || {
                    "Leave mode out for a full check.".into()
                }),
            )),
        }
    }
}

/// Topic of one line of `mig_check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineTopic {
    State,
    /// Number of rows.
    Count,
    /// Rows that the source has and the target lacks.
    Missing,
    /// Rows of the target that the source lacks, or has with other values.
    ExtraOrDifferent,
    References,
}

/// One line of `mig_check`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckLine {
    pub source: u32,
    pub target: Option<u32>,
    pub name: String,
    pub source_value: Option<String>,
    pub target_value: Option<String>,
    /// None: not an error, but not proven either (rows that are not copied yet).
    pub ok: Option<bool>,
    pub about: LineTopic,
}

impl CheckLine {
    fn new(p: &Mapping, about: LineTopic, name: &str, source: String, target: String) -> Self {
        Self {
            source: p.source,
            target: p.target,
            name: name.to_owned(),
            ok: Some(source == target),
            source_value: Some(source),
            target_value: Some(target),
            about,
        }
    }

    /// Whether rows are unequal, or not proven equal.
    pub fn doubts_rows(&self) -> bool {
        matches!(
            self.about,
            LineTopic::Count | LineTopic::Missing | LineTopic::ExtraOrDifferent
        ) && self.ok != Some(true)
    }
}

/// Findings of a check, and when it began.
#[derive(Default, Serialize, Deserialize)]
pub struct CheckFindings {
    pub lines: Vec<CheckLine>,
    pub compared: i64,
    pub differences: i64,
    pub tables: usize,
    /// Seconds since 1970.
    pub started: Option<f64>,
    pub snapshot: Option<String>,
}

impl CheckFindings {
    /// None: nothing is wrong, but something is not proven yet.
    pub fn ok(&self) -> Option<bool> {
        if self.lines.iter().any(|l| l.ok == Some(false)) {
            Some(false)
        } else if self.lines.iter().any(|l| l.ok.is_none()) {
            None
        } else {
            Some(true)
        }
    }

    /// Adds findings that were made later, in other tables.
    pub fn add(&mut self, other: CheckFindings) {
        self.lines.extend(other.lines);
        self.compared += other.compared;
        self.differences += other.differences;
        self.tables += other.tables;
        self.started = self.started.or(other.started);
        self.snapshot = other.snapshot;
    }

    pub fn rows_are_equal(&self) -> bool {
        !self.lines.iter().any(CheckLine::doubts_rows)
    }
}

/// What a check covers: some of a migration's mappings, among all of them.
pub struct CheckSubject<'a> {
    pub migration: &'a Migration,
    pub all: &'a [Mapping],
    pub chosen: Vec<&'a Mapping>,
}

impl<'a> CheckSubject<'a> {
    pub fn all_tables(migration: &'a Migration, all: &'a [Mapping]) -> Self {
        Self {
            migration,
            all,
            chosen: all.iter().collect(),
        }
    }
}

/// Catalog data of all tables, loaded once.
struct KnownShapes {
    shapes: BTreeMap<u32, Shape>,
    changes: Vec<DriftChange>,
}

impl KnownShapes {
    fn load(subject: &CheckSubject) -> Result<Self> {
        let sides = subject.all.iter().flat_map(|p| [Some(p.source), p.target]);
        let oids: Vec<Oid> = sides.flatten().map(Oid::from).collect();
        let shapes = catalog::shapes(&oids)?.into_iter().map(|s| (s.oid, s));
        Ok(Self {
            shapes: shapes.collect(),
            changes: drift::list(subject.migration)?,
        })
    }

    /// What is gone without which the rows of the mapping cannot be compared.
    fn find_gone(&self, p: &Mapping) -> Option<&str> {
        let mut changes = self.changes.iter();
        let gone = changes.find(|c| c.mapping == p.id && c.kind == DriftKind::Gone);
        gone.map(|c| c.what.as_str())
    }

    fn source(&self, p: &Mapping) -> Result<&Shape> {
        let found = self.shapes.get(&p.source);
        found.ok_or_else(|| catalog::missing_table(&p.source_text()))
    }

    fn target(&self, p: &Mapping) -> Result<&Shape> {
        let found = self.shapes.get(&p.target.unwrap_or(0));
        found.ok_or_else(|| catalog::missing_table(&p.target_name.plain()))
    }
}

/// Runs a check, saves the result in `mig.check_result` and returns its lines.
pub fn run(subject: &CheckSubject, mode: CheckMode) -> Result<Vec<CheckLine>> {
    let found = run_unsaved(subject, mode)?;
    save_result(subject.migration, mode, &found)?;
    Ok(found.lines)
}

/// Checks every row of all tables.
pub fn in_full(m: &Migration, mappings: &[Mapping]) -> Result<CheckFindings> {
    run_unsaved(&CheckSubject::all_tables(m, mappings), CheckMode::Full)
}

pub fn run_unsaved(subject: &CheckSubject, mode: CheckMode) -> Result<CheckFindings> {
    run_with_progress(subject, mode, &mut rows::NoProgress)
}

/// As `look`, and reports progress.
pub fn run_with_progress(
    subject: &CheckSubject,
    mode: CheckMode,
    progress: &mut dyn CheckProgress,
) -> Result<CheckFindings> {
    let m = subject.migration;
    let started = check::read_clock()?;
    let known = KnownShapes::load(subject)?;
    let at = lock_and_take_snapshot(m, subject.all)?;
    let mut found = CheckFindings {
        started,
        snapshot: check::snapshot(&at)?,
        tables: subject.chosen.len(),
        ..CheckFindings::default()
    };
    for p in &subject.chosen {
        // A dropped table cannot be checked.
        sides::source(p)?;
        sides::target(p)?;
        found.lines.extend(state::lines(m, p, &known, &at)?);
    }
    let gone = |p: &Mapping| known.find_gone(p);
    let whole = subject.all.iter().all(|p| gone(p).is_none());
    if let (CheckMode::Sample(n), true) = (mode, whole) {
        sample::add(subject, &known, n, &at, &mut found)?;
    }
    for p in subject.chosen.iter().filter(|p| !p.is_partner()) {
        if let Some(what) = gone(p) {
            let not_compared = format!("not compared: {what}");
            let topic = LineTopic::Count;
            let line = CheckLine::new(p, topic, "rows", "compared".into(), not_compared);
            found.lines.push(line);
            continue;
        }
        match mode {
            CheckMode::Full => rows::compare(m, p, &at, progress, &mut found)?,
            CheckMode::Quick | CheckMode::Sample(_) => found.lines.push(rows::count(m, p, &at)?),
        }
    }
    if mode == CheckMode::Full && whole {
        found.lines.extend(orphans::lines(subject, &known, &at)?);
    }
    let place = |l: &CheckLine| subject.chosen.iter().position(|p| p.source == l.source);
    found.lines.sort_by_key(place);
    Ok(found)
}

/// Takes the snapshot under which `all` are read. TRUNCATE and rewrites empty a table for older snapshots, too (the
/// manual's "Caveats" on concurrency control), and the mirrored DELETE does not: none of them may come between the snapshot
/// and the reading. So all tables are locked before, AccessShare as by any reader, to the end of the transaction.
pub fn lock_and_take_snapshot(m: &Migration, all: &[Mapping]) -> Result<Snapshot> {
    let mode = lock::LockMode::AccessShare;
    let sources = all.iter().filter(|p| p.source_name.is_some());
    let targets = all.iter().filter(|p| p.target_now.is_some());
    let tables = sources
        .map(|p| sides::source_lock(p, mode))
        .chain(targets.map(|p| sides::target_lock(p, mode)))
        .collect::<Result<Vec<_>>>()?;
    lock::lock_all(&tables, settings::lock_timeout_ms(m))?;
    Ok(Snapshot::take())
}

/// Checks references only: counts rows that refer to a missing row.
pub fn references(subject: &CheckSubject) -> Result<Vec<CheckLine>> {
    let at = lock_and_take_snapshot(subject.migration, subject.all)?;
    orphans::lines(subject, &KnownShapes::load(subject)?, &at)
}

pub fn save_result(m: &Migration, mode: CheckMode, found: &CheckFindings) -> Result<()> {
    let failed = found.lines.iter().filter(|l| l.ok == Some(false));
    let failed = failed.map(|l| {
        json!({
            "check": l.name, "source_value": l.source_value, "target_value": l.target_value,
            "source": l.source,
        })
    });
    check::insert(
        m.id,
        mode.as_str(),
        m.phase.as_str(),
        found.started,
        check::CheckOutcome {
            ok: found.ok(),
            tables: i32::try_from(found.tables).unwrap_or(i32::MAX),
            compared: found.compared,
            differences: found.differences,
            failed: failed.collect(),
            snapshot: found.snapshot.clone(),
        },
    )
}

/// Whether the targets are independent. From `stopped` on a difference is new data, not an error.
fn lives_alone(m: &Migration) -> bool {
    m.phase >= Phase::Stopped
}
