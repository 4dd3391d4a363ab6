//! Rules for changes of a column's type.

use crate::ident::Ident;
use crate::model::lint::statement::{Act, ColumnType, LintStatement, TableChange, WrittenName};
use crate::model::lint::{File, INFO, RuleHit, WARNING, advise_new_column, facts};

pub fn check_type_change(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let all = changes.iter().filter_map(|c| match c {
        TableChange::ColumnType { column, to, using } => Some((column, to, *using)),
        _ => None,
    });
    all.map(|(column, to, using)| judge_type_change(file, table, column, to, using))
        .collect()
}

fn judge_type_change(
    file: &File,
    table: &WrittenName,
    column: &str,
    to: &ColumnType,
    using: bool,
) -> RuleHit {
    let known = file.table(table).and_then(|t| t.column(column));
    if !using && let Some(known) = known {
        match cost(file, known, to) {
            RewriteCost::Catalog => {
                return RuleHit::new(
                    INFO,
                    "change-column-type",
                    format!(
                        "{} becomes {}: values stay as they are, only the catalog changes",
                        known.base,
                        to.text()
                    ),
                );
            }
            RewriteCost::Scan => {
                return RuleHit::new(
                    file.severity(table),
                    "change-column-type",
                    format!(
                        "{} becomes {}: every value is looked at under AccessExclusiveLock ({})",
                        known.base,
                        to.text(),
                        file.work(table, false)
                    ),
                )
                .safer(advise_type_change(file, table, column, to));
            }
            RewriteCost::Rewrite => {}
        }
    }
    let severity = if file.is_quick(table) { INFO } else { WARNING };
    RuleHit::new(
        severity,
        "change-column-type",
        format!(
            "column {column} becomes {}: the table and its indexes are rewritten under AccessExclusiveLock ({}), and running versions of the application get another type",
            to.text(),
            file.work(table, true)
        ),
    )
    .safer(advise_type_change(file, table, column, to))
}

fn advise_type_change(file: &File, table: &WrittenName, column: &str, to: &ColumnType) -> String {
    let (old, new) = (Ident::new(column), Ident::new(format!("{column}_new")));
    let known = file.table(table).and_then(|t| t.column(column));
    let back = known.map_or("old type", |c| c.base.as_str());
    advise_new_column(
        table,
        &new,
        &to.text(),
        &format!("{old}::{}", to.text()),
        Some((&old, &format!("{new}::{back}"))),
    )
}

enum RewriteCost {
    Catalog,
    Scan,
    Rewrite,
}

/// Follows ATColumnChangeRequiresRewrite() (tablecmds.c): no rewrite where the new type is binary coercible, or is the same
/// type with a modifier that no value can violate.
fn cost(file: &File, old: &facts::ColumnFact, to: &ColumnType) -> RewriteCost {
    if to.array {
        return RewriteCost::Rewrite;
    }
    let named = file
        .facts
        .types
        .iter()
        .find(|(written, _)| *written == to.name);
    let new = named.map_or(to.name.as_str(), |(_, base)| base.as_str());
    if old.base != new {
        let coercible = file
            .facts
            .coercible
            .iter()
            .any(|c| c.from == old.base && c.to == new);
        let utc = file.facts.timezone_is_utc
            && old.base.starts_with("timestamp")
            && new.starts_with("timestamp");
        return match (coercible, to.modifiers.is_empty()) {
            (true, true) => RewriteCost::Catalog,
            _ if utc => RewriteCost::Catalog,
            _ => RewriteCost::Rewrite,
        };
    }
    match (old.modifier, to.modifiers.as_slice()) {
        (_, []) => RewriteCost::Catalog,
        (-1, _) => cost_of_shorter(new),
        (old, [length]) if new == "character varying" || new == "bit varying" => {
            // The modifier of varchar includes four bytes for the header.
            let old = if new == "bit varying" {
                old
            } else {
                old.saturating_sub(4)
            };
            if *length >= old {
                RewriteCost::Catalog
            } else {
                cost_of_shorter(new)
            }
        }
        (old, modifiers) if new == "numeric" => wider_numeric(old, modifiers),
        _ => RewriteCost::Rewrite,
    }
}

/// A shorter length, which values may exceed: each value is checked, and for these types PostgreSQL rewrites the table.
fn cost_of_shorter(base: &str) -> RewriteCost {
    match base {
        "numeric" | "character varying" | "bit varying" => RewriteCost::Rewrite,
        _ => RewriteCost::Scan,
    }
}

/// More digits before the decimal point, the same number after it (numeric_support()).
fn wider_numeric(old: i32, new: &[i32]) -> RewriteCost {
    let old = old.saturating_sub(4);
    let (precision, scale) = (old >> 16 & 0xffff, old & 0x7ff);
    let (wanted, behind) = (new[0], new.get(1).copied().unwrap_or(0));
    if behind == scale && wanted >= precision {
        RewriteCost::Catalog
    } else {
        RewriteCost::Rewrite
    }
}
