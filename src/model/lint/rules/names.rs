//! Rules for names that applications use.

use crate::ident::{Ident, Literal};
use crate::model::lint::statement::{Act, LintStatement, Renamed};
use crate::model::lint::{File, RuleHit, WARNING, advise_new_column};

pub fn check_rename(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::Rename {
            what: Renamed::Column,
            table,
            from: Some(column),
            to,
        } if !file.is_new(table) && !file.has_added(table, column) => {
            let of_type = file
                .table(table)
                .and_then(|t| t.column(column))
                .map_or("type", |c| c.base.as_str());
            let (old, new) = (Ident::new(column.as_str()), Ident::new(to.as_str()));
            vec![
                RuleHit::new(
                    WARNING,
                    "rename-column",
                    format!("versions of the application that run say {column} and fail with 42703 from the commit on; those that come say {to}: both run at the same time during a deployment"),
                )
                .safer(advise_new_column(
                    table,
                    &new,
                    of_type,
                    &old.to_string(),
                    Some((&old, &new.to_string())),
                )),
            ]
        }
        Act::Rename {
            what: Renamed::Table | Renamed::View,
            table,
            to,
            ..
        } if !file.is_new(table) => {
            let old = table.sql();
            vec![
                RuleHit::new(
                    WARNING,
                    "rename-table",
                    format!("versions of the application that run say {} and fail with 42P01 from the commit on", table.plain()),
                )
                .safer(format!(
                    "BEGIN; ALTER TABLE {old} RENAME TO {0}; CREATE VIEW {old} AS SELECT * FROM {0}; COMMIT; -- a view that can be written takes the old name; or move it side by side:\nSELECT mig_add_table('migration', {1}, {2});",
                    Ident::new(to.as_str()),
                    Literal(&old),
                    Literal(to)
                )),
            ]
        }
        Act::MoveSchema { table } if !file.is_new(table) => vec![RuleHit::new(
            WARNING,
            "rename-table",
            format!(
                "versions of the application that run look for {} where it was, and fail with 42P01 from the commit on",
                table.plain()
            ),
        )],
        _ => Vec::new(),
    }
}
