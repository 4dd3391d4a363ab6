//! Everything besides the rows: mirrors, shape, rights, indexes, keys, sequences, pending rows and errors.

use super::{CheckLine, KnownShapes, LineTopic, lives_alone};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::catalog_facts::{self, CreatedFacts, FactSet, TableFacts};
use crate::model::layout::TargetIndex;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::model::shape::Shape;
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, role, spi};
use crate::store::drift::DriftKind;
use crate::store::{pending_rows, sides};
use pgrx::pg_sys::Oid;

pub fn lines(
    m: &Migration,
    p: &Mapping,
    known: &KnownShapes,
    at: &Snapshot,
) -> Result<Vec<CheckLine>> {
    let target = known.target(p)?;
    let mut lines = vec![
        drift_line(
            p,
            known,
            "mirror triggers",
            &[DriftKind::Mirror, DriftKind::Behind],
            "enabled always",
        ),
        drift_line(
            p,
            known,
            "shape",
            &[DriftKind::Gone, DriftKind::Shape],
            "as created",
        ),
    ];
    if let Some(left) = &p.facts {
        lines.extend(change_lines(m, p, left, known)?);
    }
    lines.push(objects(p, known));
    lines.push(indexes(m, p, target)?);
    if m.phase >= Phase::Backfilled {
        lines.push(foreign_keys(p, target)?);
    }
    if !p.is_partner() {
        lines.extend(sequences(p, at)?);
    }
    let open = pending_rows::open(m.id, Some(p.id))?;
    lines.push(state(p, "errors", "0", open.errors.to_string()));
    if m.phase >= Phase::Backfilled {
        lines.push(state(p, "leftovers", "0", open.leftovers.to_string()));
    }
    lines.extend(stand_in(p)?);
    let by_value = sides::layout(p)?.by_value(target);
    if !by_value.is_empty() {
        let names: Vec<&str> = by_value.into_iter().map(Ident::as_str).collect();
        lines.push(state(
            p,
            "columns compared by value",
            &names.join(", "),
            names.join(", "),
        ));
    }
    Ok(lines)
}

fn state(p: &Mapping, name: &str, expected: &str, found: String) -> CheckLine {
    CheckLine::new(p, LineTopic::State, name, expected.to_owned(), found)
}

fn drift_line(
    p: &Mapping,
    known: &KnownShapes,
    name: &str,
    kinds: &[DriftKind],
    fine: &str,
) -> CheckLine {
    let changes = known.changes.iter();
    let mine = changes.filter(|c| c.mapping == p.id && kinds.contains(&c.kind));
    state(
        p,
        name,
        fine,
        join_or_fine(mine.map(|c| c.what.clone()), fine),
    )
}

/// What came or went on the source and not on the target: constraints, unique indexes, triggers, defaults and rules.
fn objects(p: &Mapping, known: &KnownShapes) -> CheckLine {
    let changes = known.object_changes.iter();
    let mine = changes.filter(|c| c.mapping == p.id);
    let found = join_or_fine(mine.map(|c| c.what.clone()), AS_CREATED);
    state(p, "changes of the old table", AS_CREATED, found)
}

const AS_CREATED: &str = "as created";
/// Parts whose changes are in `mig.changes` as well, compared by their columns.
const FOLLOWED: [&str; 2] = ["column defaults", "check constraints"];

/// Compares what has changed on each side since mig_create.
fn change_lines(
    m: &Migration,
    p: &Mapping,
    left: &CreatedFacts,
    known: &KnownShapes,
) -> Result<Vec<CheckLine>> {
    let (source, target) = (known.source(p)?, known.target(p)?);
    let alike = !known.object_changes.iter().any(|c| c.mapping == p.id);
    type FactPart = fn(&TableFacts) -> &FactSet;
    let parts: [(&str, FactPart); 5] = [
        ("column defaults", |f| &f.defaults),
        ("owner and grants", |f| &f.grants),
        ("row-level security", |f| &f.policies),
        ("check constraints", |f| &f.constraints),
        ("replication", |f| &f.replication),
    ];
    let (source_now, target_now) = (
        TableFacts::from_shape(source),
        TableFacts::from_shape(target),
    );
    let text = |changed: Option<String>| changed.unwrap_or_else(|| AS_CREATED.to_owned());
    let line = |(name, part): &(&str, FactPart)| {
        let old = catalog_facts::changes(part(&left.source), part(&source_now));
        let new = catalog_facts::changes(part(&left.target), part(&target_now));
        let both_changed = old.is_some() && new.is_some();
        let mut line = state(p, name, &text(old), text(new));
        if line.ok == Some(false) && lives_alone(m) {
            line.ok = None;
        }
        // Both sides have got the like under other names.
        if alike && both_changed && FOLLOWED.contains(name) {
            line.ok = Some(true);
        }
        line
    };
    // The defaults of an adopted table are its owner's choice, and the archive gives a target sequences of its own.
    let own_ways = p.adopted || p.archived.is_some();
    let judged = parts
        .iter()
        .filter(|(name, _)| !own_ways || *name != "column defaults");
    let mut lines: Vec<CheckLine> = judged.map(line).collect();
    lines.extend(exclusion_line(m, p, left, (&source_now, &target_now)));
    Ok(lines)
}

/// Compares the exclusion constraints, where there are some on either side.
fn exclusion_line(
    m: &Migration,
    p: &Mapping,
    left: &CreatedFacts,
    (source, target): (&TableFacts, &TableFacts),
) -> Option<CheckLine> {
    let all = [&left.source, &left.target, source, target].map(|f| f.exclusions.as_ref());
    let [
        Some(source_then),
        Some(target_then),
        Some(source),
        Some(target),
    ] = all
    else {
        return None;
    };
    let text = |then: &FactSet, now: &FactSet| {
        catalog_facts::changes(then, now).unwrap_or_else(|| AS_CREATED.to_owned())
    };
    let is_any = [source_then, target_then, source, target]
        .iter()
        .any(|f| !f.is_empty());
    let (old, new) = (text(source_then, source), text(target_then, target));
    let mut line = state(p, "exclusion constraints", &old, new);
    if line.ok == Some(false) && lives_alone(m) {
        line.ok = None;
    }
    is_any.then_some(line)
}

/// Checks the indexes that the target was created with and, from the end of the backfill on, those that were built then;
/// all of them must be valid.
fn indexes(m: &Migration, p: &Mapping, target: &Shape) -> Result<CheckLine> {
    let mut expected: FactSet = p
        .facts
        .as_ref()
        .map_or_else(FactSet::new, |l| l.target.indexes.clone());
    let built: &[TargetIndex] = match m.phase >= Phase::Backfilled {
        true => &sides::layout(p)?.indexes,
        false => &[],
    };
    expected.extend(built.iter().map(|i| i.name.as_str().to_owned()));
    let other = |i: &&TargetIndex| {
        let named = target.indexes.iter().find(|t| t.name == i.name);
        named.is_some_and(|t| !i.is_made_as(t))
    };
    let other = built.iter().filter(other);
    let other = other.map(|i| format!("{} is not as it was made", i.name.as_str()));
    let standing = |i: &&String| target.indexes.iter().any(|t| t.name.as_str() == i.as_str());
    let gone = expected.iter().filter(|i| !standing(i));
    let gone = gone.map(|i| format!("{i} is gone"));
    let invalid = target.indexes.iter().filter(|i| !i.valid);
    let invalid = invalid.map(|i| format!("{} is invalid", i.name.as_str()));
    Ok(state(
        p,
        "indexes",
        "valid",
        join_or_fine(gone.chain(invalid).chain(other), "valid"),
    ))
}

fn foreign_keys(p: &Mapping, target: &Shape) -> Result<CheckLine> {
    let layout = sides::layout(p)?;
    let as_source = |name: &Ident| {
        let mut keys = layout.fkeys.iter();
        keys.any(|k| k.name == *name && k.not_valid)
    };
    let expected = layout.fkeys.iter().filter(|k| !k.is_gone);
    let gone = expected
        .filter(|k| !target.fkeys.iter().any(|f| f.name == k.name))
        .map(|k| format!("{} is gone", k.name.as_str()));
    let weak = target.fkeys.iter().filter_map(|f| {
        let name = f.name.as_str();
        if !f.validated && !as_source(&f.name) {
            Some(format!("{name} is not validated"))
        } else if !f.enforced {
            Some(format!("{name} is not enforced: its triggers are disabled"))
        } else {
            None
        }
    });
    Ok(state(
        p,
        "foreign keys",
        "valid",
        join_or_fine(gone.chain(weak), "valid"),
    ))
}

fn join_or_fine(wrong: impl Iterator<Item = String>, fine: &str) -> String {
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() {
        fine.to_owned()
    } else {
        wrong.join("; ")
    }
}

#[derive(serde::Deserialize)]
struct DrawingColumn {
    column: Ident,
    #[serde(flatten)]
    sequence: QualifiedName,
    ascending: bool,
}

/// A column that is ahead of the sequence it draws from: the next value may exist already.
struct BehindSequence {
    column: String,
    furthest: i64,
    sequence: String,
    stands_at: i64,
    ascending: bool,
}

impl BehindSequence {
    fn describe(&self) -> String {
        format!(
            "{} is at {}, {} at {}",
            self.column, self.furthest, self.sequence, self.stands_at
        )
    }

    /// Ignores the sequence's position: writers draw from it between two reads.
    fn is_at_least_as_far_as(&self, other: &Self) -> bool {
        let further = if self.ascending {
            self.furthest >= other.furthest
        } else {
            self.furthest <= other.furthest
        };
        self.sequence == other.sequence && further
    }
}

/// Returns the columns that are ahead of their sequences; None if the table draws from no sequence.
fn find_behind(
    table: u32,
    name: &QualifiedName,
    at: &Snapshot,
) -> Result<Option<Vec<BehindSequence>>> {
    #[derive(serde::Deserialize)]
    struct SequencePosition {
        furthest: i64,
        sequence: i64,
    }
    let draws: Vec<DrawingColumn> = spi::rows(
        include_str!("../../../sql/query/sequences.sql"),
        &[Oid::from(table).into()],
    )?;
    if draws.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for d in draws {
        let (furthest, sign) = if d.ascending {
            ("max", ">")
        } else {
            ("min", "<")
        };
        // The rows are of the snapshot, the sequence is of now: numbers are drawn before their rows are committed. A
        // sequence that was never used yields its start value next.
        let sql = format!(
            "SELECT f.furthest, s.last_value AS sequence FROM (SELECT {furthest}(t.{})::bigint AS furthest FROM {name} AS t) f, {} AS s \
             WHERE f.furthest {sign} s.last_value OR (f.furthest = s.last_value AND NOT s.is_called)",
            d.column, d.sequence
        );
        if let Some(past) = at.first::<SequencePosition>(&sql, &[])? {
            found.push(BehindSequence {
                column: d.column.as_str().to_owned(),
                furthest: past.furthest,
                sequence: d.sequence.plain(),
                stands_at: past.sequence,
                ascending: d.ascending,
            });
        }
    }
    Ok(Some(found))
}

const AHEAD: &str = "ahead of all rows";

/// Checks the sequences. The source's may always have been behind; the target's must not be where the source's was not.
fn sequences(p: &Mapping, at: &Snapshot) -> Result<Option<CheckLine>> {
    let (source, target) = (sides::source(p)?, sides::target(p)?);
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let old = find_behind(p.source, source, at)?;
    let new = find_behind(sides::target_oid(p)?.to_u32(), target, at)?;
    let Some(new) = new else {
        return Ok(None);
    };
    let old = old.unwrap_or_default();
    let text =
        |found: &[BehindSequence]| join_or_fine(found.iter().map(BehindSequence::describe), AHEAD);
    let mut line = state(p, "sequences", &text(&old), text(&new));
    let was_so = |n: &BehindSequence| old.iter().any(|o| o.is_at_least_as_far_as(n));
    line.ok = Some(new.iter().all(was_so));
    Ok(Some(line))
}

/// Checks the view under the old name of an archived table.
fn stand_in(p: &Mapping) -> Result<Option<CheckLine>> {
    let Some(archived) = p.archived.as_ref().filter(|a| a.view) else {
        return Ok(None);
    };
    let now = catalog::view_text(&archived.name)?;
    let found = match (&now, &archived.view_text) {
        (None, _) => "gone",
        (Some(_), None) => "as created",
        (Some(now), Some(then)) if now == then => "as created",
        _ => "changed",
    };
    Ok(Some(state(
        p,
        "view under the old name",
        "as created",
        found.to_owned(),
    )))
}
