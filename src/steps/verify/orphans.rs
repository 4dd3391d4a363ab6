//! Orphans: rows that refer to a missing row, on both sides, with or without a foreign key.

use super::{CheckLine, CheckSubject, KnownShapes, LineTopic, lives_alone};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use crate::model::phase::Phase;
use crate::model::records::Mapping;
use crate::model::reference::{ColumnPair, Reference, ReferencedTable};
use crate::model::shape::Shape;
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, guc, plan_guard, role, spi};
use crate::settings;
use crate::sqlgen::orphan::{self, ChosenRows, PARENT};
use crate::sqlgen::scope::scope_is_mine;
use crate::store::sides;
use pgrx::pg_sys::Oid;

/// Returns the foreign keys of the sources, and the references that `refs` adds to them.
pub fn references(all: &[Mapping], known: &KnownShapes) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for (child, p) in all.iter().enumerate() {
        let shape = known.source(p)?;
        for key in &shape.fkeys {
            let member = all.iter().position(|o| o.source == key.ref_oid);
            let columns = key.columns.iter().zip(&key.ref_columns).zip(&key.equals);
            references.push(Reference {
                child,
                parent: member.map_or_else(
                    || ReferencedTable::Outside(key.ref_name.clone()),
                    ReferencedTable::Member,
                ),
                pairs: columns
                    .map(|((child, parent), equals)| ColumnPair {
                        child: child.clone(),
                        parent: parent.clone(),
                        equals: Some(equals.clone()),
                    })
                    .collect(),
                enforced: key.validated && key.enforced,
                declared: key.validated,
            });
        }
        for (column, table) in &p.spec.refs {
            let declared = |r: &Reference| {
                r.child == child && r.pairs.len() == 1 && r.pairs[0].child == *column
            };
            if !references.iter().any(declared) {
                references.extend(find_undeclared(all, child, shape, column, table)?);
            }
        }
    }
    Ok(references)
}

/// Returns a reference of `refs`; None if the table that it names is gone.
fn find_undeclared(
    all: &[Mapping],
    child: usize,
    shape: &Shape,
    column: &Ident,
    table: &str,
) -> Result<Option<Reference>> {
    let Some(name) = QualifiedName::parse(table, shape.name.schema.as_str()) else {
        return Ok(None);
    };
    let called = |p: &Mapping| {
        p.source_name.as_ref() == Some(&name) || p.archived.as_ref().is_some_and(|a| a.name == name)
    };
    let member = all.iter().position(called);
    let oid = match member {
        Some(n) => Some(Oid::from(all[n].source)),
        None => catalog::find(&name)?,
    };
    let Some(parent) = oid.map(catalog::shape).transpose()?.flatten() else {
        return Ok(None);
    };
    let key = parent.primary_key().filter(|k| k.columns.len() == 1);
    let Some((key, named)) = key.and_then(|k| Some((&k.columns[0], k.columns[0].name.clone()?)))
    else {
        return Ok(None);
    };
    let type_of = |shape: &Shape, name: &Ident| shape.column(name).map(|c| c.type_text.clone());
    let alike = type_of(shape, column) == type_of(&parent, &named);
    Ok(Some(Reference {
        child,
        parent: member.map_or(
            ReferencedTable::Outside(parent.name.clone()),
            ReferencedTable::Member,
        ),
        pairs: vec![ColumnPair {
            child: column.clone(),
            parent: named,
            equals: key.equals.clone().filter(|_| alike),
        }],
        enforced: false,
        declared: false,
    }))
}

pub fn lines(subject: &CheckSubject, known: &KnownShapes, at: &Snapshot) -> Result<Vec<CheckLine>> {
    let known = references(subject.all, known)?;
    let mut lines = Vec::new();
    for r in &known {
        let p = &subject.all[r.child];
        if subject.chosen.iter().any(|c| c.id == p.id) {
            lines.push(line(subject, r, p, at)?);
        }
    }
    Ok(lines)
}

/// Compares the orphans of both sides. With a foreign key any orphan is an error. Without one the source may always have
/// had orphans, and the target has the same.
fn line(subject: &CheckSubject, r: &Reference, p: &Mapping, at: &Snapshot) -> Result<CheckLine> {
    let m = subject.migration;
    let (parent_name, source, target) = match &r.parent {
        ReferencedTable::Outside(name) => (name.clone(), name.clone(), name.clone()),
        ReferencedTable::Member(n) => {
            let parent = &subject.all[*n];
            let old = sides::source(parent)?;
            (old.clone(), old.clone(), sides::target(parent)?.clone())
        }
    };
    let name = format!("orphans of {}", r.text(&parent_name.plain()));
    let layout = sides::layout(p)?;
    let parent_layout = match r.parent {
        ReferencedTable::Member(n) => Some(sides::layout(&subject.all[n])?),
        ReferencedTable::Outside(_) => None,
    };
    let old = of_source(p, r, &source, at)?;
    let new = match r.target_pairs(layout, parent_layout) {
        Some(pairs) => of_target(p, &pairs, &target, parent_layout, at)?,
        None => OrphanCount::Left,
    };
    let mut line = CheckLine::new(p, LineTopic::References, &name, old.text(), new.text());
    line.ok = match (&old, &new) {
        (_, OrphanCount::Left) | (OrphanCount::Left, _) => Some(old.is_none()),
        (_, OrphanCount::Hidden) | (OrphanCount::Hidden, _) => Some(r.enforced),
        (OrphanCount::Count(a), OrphanCount::Count(b)) if r.declared => Some(*a == 0 && *b == 0),
        (OrphanCount::Count(a), OrphanCount::Count(b)) => Some(a == b),
    };
    // A parent may not be copied yet; and changes that the targets make on their own are no error.
    if line.ok == Some(false) && old.is_none() && m.phase == Phase::DualWrite {
        line.ok = None;
    }
    if line.ok == Some(false) && !r.declared && lives_alone(m) {
        line.ok = None;
    }
    Ok(line)
}

enum OrphanCount {
    Count(i64),
    /// The target does not have the column.
    Left,
    /// The tables' owner may not read the other table, or its owner's functions would run.
    Hidden,
}

impl OrphanCount {
    fn text(&self) -> String {
        match self {
            OrphanCount::Count(n) => n.to_string(),
            OrphanCount::Left => "column left out".into(),
            OrphanCount::Hidden => "not readable".into(),
        }
    }

    fn is_none(&self) -> bool {
        !matches!(self, OrphanCount::Count(n) if *n > 0)
    }
}

fn of_source(
    p: &Mapping,
    r: &Reference,
    parent: &QualifiedName,
    at: &Snapshot,
) -> Result<OrphanCount> {
    let child = ChosenRows {
        table: sides::source(p)?,
        condition: p.spec.filter.clone(),
    };
    let parent = ChosenRows {
        table: parent,
        condition: None,
    };
    count_orphans(p, &child, &parent, &r.pairs, at)
}

fn of_target(
    p: &Mapping,
    pairs: &[ColumnPair],
    parent: &QualifiedName,
    parent_layout: Option<&Layout>,
    at: &Snapshot,
) -> Result<OrphanCount> {
    let table = sides::target(p)?;
    let child = ChosenRows {
        table,
        condition: scope_is_mine(&table.name.to_string(), sides::layout(p)?),
    };
    let parent = ChosenRows {
        table: parent,
        condition: parent_layout.and_then(|l| scope_is_mine(PARENT, l)),
    };
    count_orphans(p, &child, &parent, pairs, at)
}

fn count_orphans(
    p: &Mapping,
    child: &ChosenRows,
    parent: &ChosenRows,
    pairs: &[ColumnPair],
    at: &Snapshot,
) -> Result<OrphanCount> {
    #[derive(serde::Deserialize)]
    struct CountedOrphans {
        rows: i64,
    }
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let _exact = guc::pin(&guc::EXACT);
    let Some(oid) = catalog::find(parent.table)? else {
        return Ok(OrphanCount::Hidden);
    };
    let may_read = include_str!("../../../sql/query/may_read.sql");
    if spi::value::<bool>(may_read, &[oid.into()])? != Some(true) {
        return Ok(OrphanCount::Hidden);
    }
    let held = [LockRequest::new(oid, parent.table, LockMode::AccessShare)];
    lock::lock_for_job(&held, settings::own_lock_timeout_ms())?;
    if !plan_guard::may_be_read(oid) {
        return Ok(OrphanCount::Hidden);
    }
    let found: Option<CountedOrphans> = at.first(&orphan::count(child, parent, pairs), &[])?;
    Ok(OrphanCount::Count(found.map_or(0, |c| c.rows)))
}
