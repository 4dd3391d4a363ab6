//! The rows of both sides: counted, or compared one by one.

use super::{CheckFindings, CheckLine, LineTopic, lives_alone};
use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::snapshot::Snapshot;
use crate::pg::tid::BlockSlice;
use crate::relation::compare::{Comparison, DifferenceCounts, HashSum, RowChoice};
use crate::sqlgen::checksum::Side;
use crate::store::{drift, sides};
use pgrx::PgSqlErrorCode;

/// Gives the slices of each side, and is told the progress before each slice.
pub trait CheckProgress {
    /// Returns the slices of one side; none to read all of it in one statement.
    fn slices(&mut self, p: &Mapping, side: Side) -> Result<Vec<BlockSlice>>;
    fn report_progress(&mut self, p: &Mapping, side: Side, done: usize, of: usize);
}

/// Reads each side in one statement, and reports nothing.
pub struct NoProgress;

impl CheckProgress for NoProgress {
    fn slices(&mut self, _: &Mapping, _: Side) -> Result<Vec<BlockSlice>> {
        Ok(Vec::new())
    }

    fn report_progress(&mut self, _: &Mapping, _: Side, _: usize, _: usize) {}
}

/// Compares the row counts of both sides.
pub fn count(m: &Migration, p: &Mapping, at: &Snapshot) -> Result<CheckLine> {
    let beside = Comparison::new(m, p, at)?;
    let (source, target) = (
        beside.count(Side::Source, &RowChoice::all_rows())?,
        beside.count(Side::Target, &RowChoice::all_rows())?,
    );
    Ok(count_line(m, p, "rows", source, target))
}

fn count_line(m: &Migration, p: &Mapping, name: &str, source: i64, target: i64) -> CheckLine {
    let mut line = CheckLine::new(
        p,
        LineTopic::Count,
        name,
        source.to_string(),
        target.to_string(),
    );
    let still_to_come = m.phase == Phase::DualWrite && target < source;
    if line.ok == Some(false) && (still_to_come || lives_alone(m)) {
        line.ok = None;
    }
    line
}

/// Compares every row of both sides by hash; if the sums differ, counts the differences by kind.
pub fn compare(
    m: &Migration,
    p: &Mapping,
    at: &Snapshot,
    progress: &mut dyn CheckProgress,
    found: &mut CheckFindings,
) -> Result<()> {
    let beside = Comparison::new(m, p, at)?;
    let source = read(&beside, Side::Source, progress)?;
    let target = read(&beside, Side::Target, progress)?;
    let kinds = kinds_of(&beside, source, target)?;
    add(m, p, "rows", (source.rows, target.rows), kinds, found);
    if source != target && kinds == DifferenceCounts::default() {
        found.lines.extend(repeated_line(p, &beside)?);
    }
    Ok(())
}

/// Most keys that are counted.
const MOST_REPEATED: i64 = 1000;

fn repeated_line(p: &Mapping, beside: &Comparison) -> Result<Option<CheckLine>> {
    let keys = beside.repeated_keys(MOST_REPEATED)?;
    Ok((!keys.is_empty()).then(|| {
        let topic = LineTopic::ExtraOrDifferent;
        CheckLine::new(
            p,
            topic,
            "keys repeated",
            "0".into(),
            keys.len().to_string(),
        )
    }))
}

fn kinds_of(beside: &Comparison, source: HashSum, target: HashSum) -> Result<DifferenceCounts> {
    if source == target {
        return Ok(DifferenceCounts::default());
    }
    beside.kinds(&beside.narrow_down(source.rows.max(target.rows))?)
}

fn read(beside: &Comparison, side: Side, progress: &mut dyn CheckProgress) -> Result<HashSum> {
    let mut sum = HashSum::default();
    let slices = progress.slices(beside.mapping, side)?;
    // A merged row may be in the blocks of another source.
    if slices.is_empty() || beside.mapping.is_merged() {
        progress.report_progress(beside.mapping, side, 0, 1);
        sum += beside.sum(side, None)?;
    }
    for (n, slice) in slices.iter().enumerate() {
        progress.report_progress(beside.mapping, side, n, slices.len());
        sum += beside.sum(side, Some(slice))?;
    }
    Ok(sum)
}

/// Adds the lines that report the result of comparing rows.
pub fn add(
    m: &Migration,
    p: &Mapping,
    what: &str,
    (source, target): (i64, i64),
    kinds: DifferenceCounts,
    found: &mut CheckFindings,
) {
    let mut rows = count_line(m, p, what, source, target);
    if kinds.wrong() == 0 && kinds.pending == 0 && source == target {
        rows.ok = Some(true);
    }
    found.lines.push(rows);
    if m.phase == Phase::DualWrite {
        let pending = kinds.pending.to_string();
        let mut line = CheckLine::new(p, LineTopic::Missing, "rows pending", "0".into(), pending);
        line.ok = if kinds.pending == 0 { Some(true) } else { None };
        found.lines.push(line);
    }
    for (name, about, n) in [
        ("rows missing", LineTopic::Missing, kinds.missing),
        ("rows extra", LineTopic::ExtraOrDifferent, kinds.extra),
        (
            "rows different",
            LineTopic::ExtraOrDifferent,
            kinds.different,
        ),
    ] {
        let mut line = CheckLine::new(p, about, name, "0".into(), n.to_string());
        if n > 0 && lives_alone(m) {
            line.ok = None;
        }
        found.lines.push(line);
    }
    found.compared += source;
    found.differences += kinds.wrong();
}

/// Returns where both sides differ; None if they do not.
fn doubtful(beside: &Comparison) -> Result<Option<RowChoice>> {
    let (source, target) = (
        beside.sum(Side::Source, None)?,
        beside.sum(Side::Target, None)?,
    );
    if source == target {
        return Ok(None);
    }
    beside.narrow_down(source.rows.max(target.rows)).map(Some)
}

/// Counts the differing rows of a mapping; with `note`, lists their keys as pending rows.
pub fn kinds(m: &Migration, p: &Mapping, at: &Snapshot, note: bool) -> Result<DifferenceCounts> {
    drift::require_comparable(m)?;
    let beside = Comparison::new(m, p, at)?;
    let Some(choice) = doubtful(&beside)? else {
        return Ok(DifferenceCounts::default());
    };
    if note {
        beside.list_as_pending(&choice)?;
    }
    let kinds = beside.kinds(&choice)?;
    if kinds == DifferenceCounts::default() {
        refuse_repeated(p, &beside)?;
    }
    Ok(kinds)
}

/// Errors with 23505 if several rows of the target have one key: no repair by key could tell them apart.
fn refuse_repeated(p: &Mapping, beside: &Comparison) -> Result<()> {
    let keys = beside.repeated_keys(3)?;
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = keys.iter().map(|k| format!("({})", k.join(", "))).collect();
    let target = sides::target(p)?;
    Err(Error::refusal(
        PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
        format!("a key is in {} more than once", target.plain()),
        format!(
            "For example {}. A table inherits from it, or its unique index is broken.",
            keys.join(", ")
        ),
        format!(
            "Which tables hold them: SELECT tableoid::regclass, count(*) FROM {target} GROUP BY 1; remove the rows that are too many, and \
             REINDEX TABLE {target}; where an index is broken."
        ),
    ))
}

/// A row that differs, for display.
pub struct Difference {
    pub key: Option<JsonText>,
    pub kind: String,
    pub source: Option<JsonText>,
    pub target: Option<JsonText>,
}

/// Returns the first `limit` rows of a mapping that differ, by key.
pub fn diff(m: &Migration, p: &Mapping, limit: i64) -> Result<Vec<Difference>> {
    drift::require_comparable(m)?;
    let at = super::lock_and_take_snapshot(m, std::slice::from_ref(p))?;
    let beside = Comparison::new(m, p, &at)?;
    let Some(choice) = doubtful(&beside)? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for found in beside.list(&choice, limit)? {
        let (key, source, target) = beside.rows(&found)?;
        all.push(Difference {
            key,
            kind: found.kind,
            source,
            target,
        });
    }
    if all.is_empty() {
        refuse_repeated(p, &beside)?;
    }
    Ok(all)
}
