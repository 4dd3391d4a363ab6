//! The rows themselves: counted, or compared one by one.

use super::{About, Findings, Line, lives_alone};
use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::state::{Mapping, Migration};
use crate::pg::moment::Moment;
use crate::pg::places::Slice;
use crate::sqlgen::digest::Side;
use crate::store::compare::{Argument, Beside, Choice, Kinds, Summed, Sums};
use serde_json::Value;

/// Takes each side in slices, and is told before each of them how far it is.
pub trait Progress {
    /// Slices of one side; none for all of it in one statement.
    fn slices(&mut self, p: &Mapping, side: Side) -> Result<Vec<Slice>>;
    fn tell(&mut self, p: &Mapping, side: Side, done: usize, of: usize);
}

/// All in one statement.
pub struct Whole;

impl Progress for Whole {
    fn slices(&mut self, _: &Mapping, _: Side) -> Result<Vec<Slice>> {
        Ok(Vec::new())
    }

    fn tell(&mut self, _: &Mapping, _: Side, _: usize, _: usize) {}
}

/// Row counts of both sides.
pub fn count(m: &Migration, p: &Mapping, at: &Moment) -> Result<Line> {
    let beside = Beside::new(m, p, at)?;
    let (source, target) = (beside.count(Side::Source)?, beside.count(Side::Target)?);
    Ok(counted(m, p, "rows", source, target))
}

fn counted(m: &Migration, p: &Mapping, name: &str, source: i64, target: i64) -> Line {
    let mut line = Line::new(
        p,
        About::Count,
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

/// Every row of both sides by hash; buckets that differ are opened to say how.
pub fn compare(
    m: &Migration,
    p: &Mapping,
    at: &Moment,
    progress: &mut dyn Progress,
    found: &mut Findings,
) -> Result<()> {
    let beside = Beside::new(m, p, at)?;
    let sums = Summed::of(
        &read(&beside, Side::Source, progress)?,
        &read(&beside, Side::Target, progress)?,
    );
    let kinds = if sums.unequal.is_empty() {
        Kinds::default()
    } else {
        beside.kinds(&opened(&beside, sums.unequal)?)?
    };
    add(m, p, "rows", (sums.source, sums.target), kinds, found);
    Ok(())
}

fn read(beside: &Beside, side: Side, progress: &mut dyn Progress) -> Result<Sums> {
    let mut sums = Sums::default();
    let slices = progress.slices(beside.mapping, side)?;
    if slices.is_empty() {
        progress.tell(beside.mapping, side, 0, 1);
        beside.add(&mut sums, side, None)?;
    }
    for (n, slice) in slices.iter().enumerate() {
        progress.tell(beside.mapping, side, n, slices.len());
        beside.add(&mut sums, side, Some(slice))?;
    }
    Ok(sums)
}

fn opened(beside: &Beside, unequal: Vec<i32>) -> Result<Choice> {
    Ok(Choice {
        condition: beside.pair()?.in_buckets(),
        argument: Argument::Buckets(unequal),
    })
}

/// The four lines that say what came of comparing rows.
pub fn add(
    m: &Migration,
    p: &Mapping,
    what: &str,
    (source, target): (i64, i64),
    kinds: Kinds,
    found: &mut Findings,
) {
    let mut rows = counted(m, p, what, source, target);
    if kinds.wrong() == 0 && kinds.pending == 0 {
        rows.ok = Some(true);
    }
    found.lines.push(rows);
    if m.phase == Phase::DualWrite {
        let pending = kinds.pending.to_string();
        let mut line = Line::new(p, About::Missing, "rows pending", "0".into(), pending);
        line.ok = if kinds.pending == 0 { Some(true) } else { None };
        found.lines.push(line);
    }
    for (name, about, n) in [
        ("rows missing", About::Missing, kinds.missing),
        ("rows extra", About::New, kinds.extra),
        ("rows different", About::New, kinds.different),
    ] {
        let mut line = Line::new(p, about, name, "0".into(), n.to_string());
        if n > 0 && lives_alone(m) {
            line.ok = None;
        }
        found.lines.push(line);
    }
    found.compared += source;
    found.differences += kinds.wrong();
}

/// How many rows of a mapping differ.
pub fn kinds(m: &Migration, p: &Mapping, at: &Moment) -> Result<Kinds> {
    let beside = Beside::new(m, p, at)?;
    let unequal = beside.sum()?.unequal;
    if unequal.is_empty() {
        return Ok(Kinds::default());
    }
    beside.kinds(&opened(&beside, unequal)?)
}

/// Lists the keys of rows that differ as leftovers.
pub fn note(m: &Migration, p: &Mapping) -> Result<()> {
    let at = Moment::now();
    let beside = Beside::new(m, p, &at)?;
    let unequal = beside.sum()?.unequal;
    if !unequal.is_empty() {
        beside.note(&opened(&beside, unequal)?)?;
    }
    Ok(())
}

/// A row that differs, for a person to look at.
pub struct Difference {
    pub key: Value,
    pub kind: String,
    pub source: Option<Value>,
    pub target: Option<Value>,
}

/// The first `limit` rows of a mapping that differ, by key.
pub fn diff(m: &Migration, p: &Mapping, limit: i64) -> Result<Vec<Difference>> {
    let at = Moment::now();
    let beside = Beside::new(m, p, &at)?;
    let unequal = beside.sum()?.unequal;
    if unequal.is_empty() {
        return Ok(Vec::new());
    }
    let choice = opened(&beside, unequal)?;
    let mut all = Vec::new();
    for found in beside.list(&choice, limit)? {
        let (key, source, target) = beside.rows(&found.key)?;
        all.push(Difference {
            key,
            kind: found.kind,
            source,
            target,
        });
    }
    Ok(all)
}
