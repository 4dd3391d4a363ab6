//! Rules for columns that are added, dropped or set NOT NULL.

use super::constraints;
use crate::ident::{Ident, Literal};
use crate::model::lint::statement::{
    Act, ColumnDefinition, LintStatement, TableChange, WrittenName,
};
use crate::model::lint::{ERROR, File, INFO, RuleHit, WARNING, advise_new_column};

pub fn check_added(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let new = changes.iter().filter_map(|c| match c {
        TableChange::AddColumn(column) => Some(column),
        _ => None,
    });
    new.flat_map(|column| {
        let rewritten = rewrites(file, table, column);
        let empty = must_have_a_value(file, table, column);
        let rules = constraints::of_column(file, s, table, column);
        rewritten.into_iter().chain(empty).chain(rules)
    })
    .collect()
}

/// Since PostgreSQL 11, a default that is the same for all rows is stored in the catalog; any other default rewrites every row.
fn rewrites(file: &File, table: &WrittenName, column: &ColumnDefinition) -> Option<RuleHit> {
    let name = Ident::new(column.name.as_str());
    let of_type = column.kind.text();
    let volatile = column.default.as_ref().and_then(|d| {
        let is_volatile = |f: &&String| file.facts.volatile.contains(f);
        d.calls.iter().find(is_volatile)
    });
    let (why, safer) = if column.numbered {
        (
            "numbers every row".to_owned(),
            format!(
                "ALTER TABLE {0} ADD COLUMN {name} bigint; -- then a sequence as its default for new rows, and numbers for the old in batches",
                table.sql()
            ),
        )
    } else if column.computed {
        (
            "is computed for every row".to_owned(),
            advise_new_column(table, &name, &of_type, "the expression", None),
        )
    } else if let Some(function) = volatile {
        (
            format!("calls {function}(), which is called again for every row"),
            format!(
                "ALTER TABLE {0} ADD COLUMN {name} {of_type};\nALTER TABLE {0} ALTER COLUMN {name} SET DEFAULT …; -- new rows have it from now on; fill the old ones in batches",
                table.sql()
            ),
        )
    } else {
        return None;
    };
    let detail = format!(
        "column {} {why}: the table is rewritten under AccessExclusiveLock ({})",
        column.name,
        file.work(table, true)
    );
    Some(RuleHit::new(file.severity(table), "add-column-rewrite", detail).safer(safer))
}

fn must_have_a_value(
    file: &File,
    table: &WrittenName,
    column: &ColumnDefinition,
) -> Option<RuleHit> {
    let gets_one =
        column.numbered || column.computed || column.default.as_ref().is_some_and(|d| !d.is_null);
    if !column.not_null || gets_one || file.is_new(table) {
        return None;
    }
    let rows = file.table(table).map_or(1, |t| t.rows);
    let severity = if rows > 0 { ERROR } else { INFO };
    let detail = format!(
        "column {} must not be null and has no default: it fails with 23502 if the table has a row, and so does each INSERT of a version that does not know the column",
        column.name
    );
    let (name, of_type) = (Ident::new(column.name.as_str()), column.kind.text());
    Some(RuleHit::new(severity, "add-column-not-null", detail).safer(format!(
        "ALTER TABLE {0} ADD COLUMN {name} {of_type}; -- fill it in batches, then\nSELECT mig_set_not_null({1}, {2});",
        table.sql(),
        Literal(&table.sql()),
        Literal(&column.name)
    )))
}

pub fn check_dropped(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let gone = changes.iter().filter_map(|c| match c {
        TableChange::DropColumn { name } if !file.has_added(table, name) => Some(name),
        _ => None,
    });
    gone.map(|column| {
        RuleHit::new(
            WARNING,
            "drop-column",
            format!("running versions of the application that name column {column} fail with 42703, and its values are gone for good; dropping it is quick in itself"),
        )
        .safer("-- first deploy a version that does not name it")
    })
    .collect()
}

pub fn not_null(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let wanted = changes.iter().filter_map(|c| match c {
        TableChange::SetNotNull { column } => Some(column),
        _ => None,
    });
    wanted
        .filter(|column| !is_proved(file, table, column))
        .map(|column| {
            let (t, c) = (table.sql(), Ident::new(column.as_str()));
            let check = Ident::derive(&[&table.name, column, "not_null"]);
            let detail = format!(
                "reads the whole table under AccessExclusiveLock, since no valid CHECK says that {column} is not null ({})",
                file.work(table, false)
            );
            RuleHit::new(file.severity(table), "set-not-null", detail).safer(format!(
                "SELECT mig_set_not_null({}, {}); -- or by hand, each a transaction of its own:\n\
                 ALTER TABLE {t} ADD CONSTRAINT {check} CHECK ({c} IS NOT NULL) NOT VALID;\n\
                 ALTER TABLE {t} VALIDATE CONSTRAINT {check};\n\
                 ALTER TABLE {t} ALTER COLUMN {c} SET NOT NULL;\n\
                 ALTER TABLE {t} DROP CONSTRAINT {check};",
                Literal(&t),
                Literal(column)
            ))
        })
        .collect()
}

/// Since PostgreSQL 12, a valid CHECK replaces the table scan (ALTER TABLE, manual).
fn is_proved(file: &File, table: &WrittenName, column: &str) -> bool {
    if file.is_new(table) {
        return true;
    }
    let known = file.table(table);
    known.is_some_and(|t| {
        t.checked_not_null.iter().any(|c| c == column)
            || t.column(column).is_some_and(|c| c.not_null)
    }) || file.has_proved(table, column)
}
