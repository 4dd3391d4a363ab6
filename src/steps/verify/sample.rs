//! Random rows, each with all rows that refer to it, compared on both sides.

use super::{CheckFindings, CheckSubject, KnownShapes, orphans, rows};
use crate::error::Result;
use crate::model::records::Mapping;
use crate::model::reference::{Reference, ReferencedTable};
use crate::pg::catalog;
use crate::pg::snapshot::Snapshot;
use crate::relation::compare::{ChoiceArgument, Comparison, DifferenceCounts, RowChoice};
use crate::sqlgen::checksum::{Condition, Side};
use crate::sqlgen::sample;
use crate::store::sides;
use serde_json::{Value, json};

/// A table with more rows than this is sampled by blocks.
const LARGE: i64 = 100_000;

/// Takes `n` rows of each chosen table that refers to no other, and descends from there to the rows that refer to them.
pub fn add(
    subject: &CheckSubject,
    known: &KnownShapes,
    n: i32,
    at: &Snapshot,
    found: &mut CheckFindings,
) -> Result<()> {
    let known = orphans::references(subject.all, known)?;
    let mut totals = vec![None; subject.all.len()];
    for root in roots(subject, &known) {
        let p = &subject.all[root];
        let beside = Comparison::new(subject.migration, p, at)?;
        let walk = SampleWalk {
            subject,
            references: &known,
            at,
            keys: draw_keys(&beside, n)?,
        };
        walk.compare(root, &beside.pair()?.chosen(), &mut vec![root], &mut totals)?;
    }
    for (p, total) in subject.all.iter().zip(totals) {
        if let Some((kinds, source, target)) = total {
            rows::add(
                subject.migration,
                p,
                "rows in sample",
                (source, target),
                kinds,
                found,
            );
        }
    }
    Ok(())
}

/// Returns the chosen tables that refer to no other member; if references form a cycle, the first table.
fn roots(subject: &CheckSubject, references: &[Reference]) -> Vec<usize> {
    let place = |p: &&Mapping| subject.all.iter().position(|o| o.id == p.id);
    let chosen: Vec<usize> = subject.chosen.iter().filter_map(place).collect();
    if chosen.len() < subject.all.len() {
        return chosen;
    }
    let refers = |n: usize| {
        let mine = references.iter().filter(move |r| r.child == n);
        mine.into_iter()
            .any(|r| matches!(r.parent, ReferencedTable::Member(other) if other != n))
    };
    let free: Vec<usize> = chosen.iter().copied().filter(|n| !refers(*n)).collect();
    if free.is_empty() {
        chosen.into_iter().take(1).collect()
    } else {
        free
    }
}

/// Returns the keys of `n` random rows of the source.
fn draw_keys(beside: &Comparison, n: i32) -> Result<Value> {
    #[derive(serde::Deserialize)]
    struct DrawnKey {
        key: Vec<String>,
    }
    let p = beside.mapping;
    let sql = sample::draw(p.id, sides::source(p)?, sides::layout(p)?.key.len());
    let rows = catalog::extent(p.source)?.map_or(0, |e| e.rows);
    // Blocks that hold a hundred times as many rows; a filter may leave few of them.
    let percent = (rows > LARGE).then(|| (f64::from(n) * 1e4 / rows as f64).clamp(0.01, 100.0));
    let draw = |percent: Option<f64>| -> Result<Vec<DrawnKey>> {
        beside.as_owner(|| beside.at.rows(&sql, &[i64::from(n).into(), percent.into()]))
    };
    let mut keys = draw(percent)?;
    if percent.is_some() && keys.len() < usize::try_from(n).unwrap_or(0) {
        keys = draw(None)?;
    }
    Ok(json!(keys.into_iter().map(|r| r.key).collect::<Vec<_>>()))
}

type SampleTotal = Option<(DifferenceCounts, i64, i64)>;

struct SampleWalk<'a> {
    subject: &'a CheckSubject<'a>,
    references: &'a [Reference],
    at: &'a Snapshot,
    keys: Value,
}

impl SampleWalk<'_> {
    /// Compares the rows of table `n` that `condition` chooses, then the rows that refer to them.
    fn compare(
        &self,
        n: usize,
        condition: &Condition,
        path: &mut Vec<usize>,
        totals: &mut [SampleTotal],
    ) -> Result<()> {
        let p = &self.subject.all[n];
        let beside = Comparison::new(self.subject.migration, p, self.at)?;
        let choice = RowChoice {
            condition: condition.clone(),
            argument: ChoiceArgument::Keys(self.keys.clone()),
        };
        let kinds = beside.kinds(&choice)?;
        let total = totals[n].get_or_insert_with(Default::default);
        total.0.missing += kinds.missing;
        total.0.extra += kinds.extra;
        total.0.different += kinds.different;
        total.0.pending += kinds.pending;
        total.1 += beside.count(Side::Source, &choice)?;
        total.2 += beside.count(Side::Target, &choice)?;
        let pair = beside.pair()?;
        for r in self.references {
            if r.parent != ReferencedTable::Member(n) || path.contains(&r.child) {
                continue;
            }
            let child = sides::layout(&self.subject.all[r.child])?;
            let Some(pairs) = r.target_pairs(child, Some(sides::layout(p)?)) else {
                continue;
            };
            path.push(r.child);
            let theirs = sample::select_children(&pair, condition, &pairs);
            self.compare(r.child, &theirs, path, totals)?;
            path.pop();
        }
        Ok(())
    }
}
