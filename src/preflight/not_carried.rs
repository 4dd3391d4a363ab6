//! What the target does not get because it lacks columns of the source, or has them under other names.

use super::{PreflightFinding, Severity};
use crate::ident::{Ident, list};
use crate::model::layout::{Layout, TargetKey, indexes};
use crate::model::records::Mapping;
use crate::model::shape::{ForeignKey, Policy, Shape, TableColumn, TableIndex};
use crate::sqlgen::comments_stats;
use crate::sqlgen::table::checks;

const WHY: &str = "the target lacks a column that it names, or has it under another name";
const ROW: &str = "it is over the row itself, whose type is another one";

/// Severity, name of the check, detail and hint.
type Found = (Severity, &'static str, String, String);

/// Returns the findings for a source whose target is made by us.
pub fn findings(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<PreflightFinding> {
    let left = indexes::left_out(source, &p.spec, layout).into_iter();
    let all = left
        .map(|i| of_index(p, i))
        .chain(checks_left(p, source, layout))
        .chain(source.fkeys.iter().filter_map(|k| of_key(p, layout, k)))
        .chain(statistics_left(p, source, layout))
        .chain(
            source
                .policies
                .iter()
                .filter_map(|o| of_policy(source, layout, o)),
        )
        .chain(
            source
                .columns
                .iter()
                .filter_map(|c| of_column(p, layout, c)),
        );
    all.map(|(severity, check_name, detail, hint)| PreflightFinding {
        severity,
        check_name: check_name.into(),
        relation: Some(p.source),
        detail,
        hint: Some(hint),
    })
    .collect()
}

fn of_index(p: &Mapping, index: &TableIndex) -> Found {
    let (kind, loss) = match index.unique {
        true => (
            "UNIQUE INDEX",
            " The target takes rows that the old table refuses.",
        ),
        false => ("INDEX", ""),
    };
    (
        Severity::Warning,
        "index",
        format!(
            "Index {} is not carried over: {WHY}, or {ROW}.{loss}",
            index.name
        ),
        format!(
            "After the backfill: CREATE {kind} CONCURRENTLY ... ON {} (...); with the target's columns.",
            p.target_name
        ),
    )
}

fn checks_left(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<Found> {
    let left = source
        .checks
        .iter()
        .filter(|c| !checks::is_carried(c, layout));
    let found = left.map(|c| {
        let name = &c.name;
        (
            Severity::Warning,
            "check",
            format!("Check {name} is not carried over: {WHY}, or with another type, or {ROW}. The target takes rows that the old table refuses."),
            format!("After mig_create: ALTER TABLE {} ADD CONSTRAINT {name} CHECK (...); with the target's columns.", p.target_name),
        )
    });
    found.collect()
}

fn of_key(p: &Mapping, layout: &Layout, key: &ForeignKey) -> Option<Found> {
    let (name, target) = (&key.name, &p.target_name);
    if !key
        .columns
        .iter()
        .all(|c| layout.target_column_of(c).is_some())
    {
        return Some((
            Severity::Warning,
            "foreign key",
            format!("Foreign key {name} is not carried over: {WHY}."),
            format!(
                "After the backfill: ALTER TABLE {target} ADD FOREIGN KEY (...) REFERENCES ...; if the target has other columns in their place."
            ),
        ));
    }
    if !key.match_full || layout.scope.is_none() || !has_scope_in_front(layout, key) {
        return None;
    }
    let columns = list(&key.columns);
    Some((
        Severity::Warning,
        "foreign key",
        format!(
            "Foreign key {name} is MATCH FULL, and its copy is not, because the scope is never null: the target takes rows of which only some of {columns} are null."
        ),
        format!(
            "After mig_create: ALTER TABLE {target} ADD CHECK (num_nulls({columns}) IN (0, {}));",
            key.columns.len()
        ),
    ))
}

/// Whether the key goes to another table of the migration.
fn has_scope_in_front(layout: &Layout, key: &ForeignKey) -> bool {
    let names = key
        .columns
        .iter()
        .filter_map(|c| layout.target_column_of(c));
    let names: Vec<&Ident> = names.map(|c| &c.name).collect();
    let is_scoped = |k: &&TargetKey| k.columns.len() > names.len();
    let mut scoped = layout.fkeys.iter().filter(is_scoped);
    scoped.any(|k| {
        k.columns[k.columns.len() - names.len()..]
            .iter()
            .eq(names.iter().copied())
    })
}

fn statistics_left(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<Found> {
    let left = source.statistics.iter();
    let left = left.filter(|s| !comments_stats::carries_statistics(s, layout));
    let found = left.map(|s| {
        (
            Severity::Warning,
            "statistics",
            format!(
                "Statistics on {} are not carried over: {WHY}.",
                list(&s.columns)
            ),
            format!(
                "After mig_create: CREATE STATISTICS ... ON ... FROM {};",
                p.target_name
            ),
        )
    });
    found.collect()
}

/// An error: without the policy the target would show rows that it hides, or hide rows that it shows.
fn of_policy(source: &Shape, layout: &Layout, policy: &Policy) -> Option<Found> {
    let kept = |c: &Ident| layout.target_column_of(c).is_some_and(|t| t.name == *c);
    let name = &policy.name;
    (!policy.columns.iter().all(kept)).then(|| {
        (
            Severity::Error,
            "policy",
            format!("Policy {name} names columns that the target lacks, or has under other names: the target cannot have it."),
            format!("Make the target yourself, with policies of its own (mig_ddl has its statements), or take the policy away first: DROP POLICY {name} ON {};", source.name),
        )
    })
}

/// A generated column whose copy is an ordinary one.
fn of_column(p: &Mapping, layout: &Layout, column: &TableColumn) -> Option<Found> {
    let copy = layout.target_column_of(&column.name)?;
    (column.generated.is_some() && copy.insert).then(|| {
        let (name, target) = (&column.name, &p.target_name);
        (
            Severity::Warning,
            "generated column",
            format!("Column {name} is computed in the old table and an ordinary one in the target, because other columns change their names or go: applications that write the target give it a value."),
            format!("Leave it out of the target (columns => '{{\"{}\": null}}'), and after mig_stop: ALTER TABLE {target} ADD COLUMN {name} ... GENERATED ALWAYS AS (...) STORED;", name.as_str()),
        )
    })
}
