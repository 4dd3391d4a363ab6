//! Adoption of a target that already exists.

use super::PlannedMapping;
use crate::error::{Error, Result};
use crate::ident::{Ident, list};
use crate::model::layout::{Layout, Origin, TargetColumn, TargetKey};
use crate::model::shape::{ForeignKey, Shape};

fn differs(standing: &Shape, detail: String) -> Error {
    Error::shape_differs(
        standing.name.plain(),
        detail,
        "Alter it to fit, drop it, or name another target; SELECT * FROM mig_ddl(); shows what would be created.".into(),
    )
}

/// Returns the layout of an existing table: what it lacks is left out, what it must not have is refused.
pub fn layout(standing: &Shape, all: &[PlannedMapping], which: usize) -> Result<Layout> {
    let p = &all[which];
    fits(standing, p)?;
    no_early_keys(standing, all)?;
    let mut layout = p.layout.clone();
    layout.arbiter = arbiter_of(standing, &layout).ok_or_else(|| {
        let detail = "It has no unique key over the scope and the source's key.";
        differs(standing, detail.into())
    })?;
    can_be_referred_to(standing, all)?;
    // Its indexes and the foreign keys that it has belong to the user.
    layout.indexes.clear();
    layout.fkeys.retain(|k| {
        let has = |f: &ForeignKey| f.columns == k.columns && f.ref_name == k.references;
        !standing.fkeys.iter().any(has) && can_be_referenced(k, all)
    });
    Ok(layout)
}

/// Refuses foreign keys to other targets. Before the end of the backfill they would refuse the application's writes: the
/// parent of a new row may not be copied yet.
fn no_early_keys(standing: &Shape, all: &[PlannedMapping]) -> Result<()> {
    let early = |f: &&ForeignKey| all.iter().any(|p| p.mapping.target_name == f.ref_name);
    let Some(key) = standing.fkeys.iter().find(early) else {
        return Ok(());
    };
    Err(Error::shape_differs(
        standing.name.plain(),
        format!(
            "Its foreign key \"{}\" refers to another target, and rows arrive in any order.",
            key.name.as_str()
        ),
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {}; the end of the backfill adds one.",
            standing.name, key.name
        ),
    ))
}

/// Checks that targets which pg_mig creates can get foreign keys to this one.
fn can_be_referred_to(standing: &Shape, all: &[PlannedMapping]) -> Result<()> {
    let made = all.iter().filter(|p| p.standing.is_none());
    let mut keys = made.flat_map(|p| &p.layout.fkeys);
    let wanted = |k: &&TargetKey| k.references == standing.name && !can_be_referenced(k, all);
    let Some(key) = keys.find(wanted) else {
        return Ok(());
    };
    Err(Error::shape_differs(
        standing.name.plain(),
        format!(
            "It has no unique key over ({}), which foreign keys of other targets need.",
            list(&key.ref_columns)
        ),
        format!(
            "ALTER TABLE {} ADD UNIQUE ({});",
            standing.name,
            list(&key.ref_columns)
        ),
    ))
}

/// Whether the table that `key` refers to has, or will have, a unique key over its columns.
fn can_be_referenced(key: &TargetKey, all: &[PlannedMapping]) -> bool {
    let parent = all.iter().find(|p| p.mapping.target_name == key.references);
    match parent.and_then(|p| p.standing.as_ref()) {
        None => true,
        Some(table) => table.indexes.iter().any(|i| {
            let plain = i.plain_columns();
            i.unique
                && i.predicate.is_none()
                && plain == key.ref_columns
                && plain.len() == i.columns.len()
        }),
    }
}

/// Checks that an existing table can take the rows.
fn fits(standing: &Shape, p: &PlannedMapping) -> Result<()> {
    if standing.persistence == "t" {
        return Err(differs(standing, "It is a temporary table.".into()));
    }
    if standing.owner != p.source.owner {
        return Err(Error::shape_differs(
            standing.name.plain(),
            format!(
                "It belongs to role \"{}\", the source to \"{}\".",
                standing.owner_name.as_str(),
                p.source.owner_name.as_str()
            ),
            format!(
                "ALTER TABLE {} OWNER TO {};",
                standing.name, p.source.owner_name
            ),
        ));
    }
    for column in &p.layout.columns {
        match standing.column(&column.name) {
            None => {
                return Err(differs(
                    standing,
                    format!("Column \"{}\" is missing.", column.name.as_str()),
                ));
            }
            Some(c) if c.type_text != column.type_text => {
                return Err(differs(
                    standing,
                    format!(
                        "Column \"{}\" has type {}, and {} is needed.",
                        column.name.as_str(),
                        c.type_text,
                        column.type_text
                    ),
                ));
            }
            Some(c) if c.not_null && may_be_null(p, column) => {
                let name = column.name.as_str();
                let detail =
                    format!("Column \"{name}\" is NOT NULL, and may be null in the source.");
                return Err(differs(standing, detail));
            }
            Some(c) if c.generated.is_some() && column.insert => {
                return Err(differs(
                    standing,
                    format!(
                        "Column \"{}\" is generated and cannot be written.",
                        column.name.as_str()
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    let ours = |name: &Ident| p.layout.columns.iter().any(|c| c.name == *name);
    let unfilled = standing.columns.iter().find(|c| {
        c.not_null
            && c.default.is_none()
            && c.identity.is_none()
            && c.generated.is_none()
            && !ours(&c.name)
    });
    if let Some(c) = unfilled {
        return Err(differs(
            standing,
            format!(
                "Column \"{}\" is NOT NULL, has no default, and nothing fills it.",
                c.name.as_str()
            ),
        ));
    }
    Ok(())
}

fn may_be_null(p: &PlannedMapping, column: &TargetColumn) -> bool {
    let (source, layout) = (&p.source, &p.layout);
    let in_key = layout.key.iter().any(|k| k.target == column.name);
    // The row may lack the part that fills this column.
    let lacking = layout.merge.as_ref().is_some_and(|m| match column.origin {
        Origin::Partner => !m.by_main || m.leads() || !m.sources[0].columns.contains(&column.name),
        _ => !m.decides(),
    });
    if lacking && !in_key && column.origin != Origin::Scope {
        return true;
    }
    match &column.origin {
        Origin::Source(name) => source.column(name).is_some_and(|c| !c.not_null),
        _ => false,
    }
}

/// Returns the unique columns of an existing table that distinguish the scope's rows by the source's key.
fn arbiter_of(standing: &Shape, layout: &Layout) -> Option<Vec<Ident>> {
    let key: Vec<&Ident> = layout.key.iter().map(|k| &k.target).collect();
    let marks: Vec<&Ident> = layout.marks().map(|s| &s.column).collect();
    let usable = standing
        .indexes
        .iter()
        .filter(|i| i.unique && i.valid && i.predicate.is_none() && !i.deferrable && !i.exclusion);
    let mut found: Vec<Vec<Ident>> = usable
        .map(|i| (i.plain_columns(), i.columns.len()))
        .filter(|(columns, n)| {
            columns.len() == *n
                && key.iter().all(|k| columns.contains(k))
                && columns
                    .iter()
                    .all(|c| key.contains(&c) || marks.contains(&c))
        })
        .map(|(columns, _)| columns)
        .collect();
    // A key with the scope is better: a row of another scope with the same id then raises a conflict.
    found.sort_by_key(|columns| std::cmp::Reverse(columns.len()));
    found.into_iter().next()
}
