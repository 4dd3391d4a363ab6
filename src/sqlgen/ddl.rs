//! Constraints that are added without reading the table and validated while writes continue, and the rows that violate them.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::ddl_change::DdlChange;
pub use crate::sqlgen::fkey::validate;
use crate::sqlgen::row_name;

/// NOT VALID: the constraint applies to new writes only.
pub fn add(table: &QualifiedName, name: &Ident, change: &DdlChange) -> Option<String> {
    let rule = match change {
        DdlChange::NotNull { column } => format!("CHECK ({column} IS NOT NULL)"),
        // The line break ends a comment at the end of the expression.
        DdlChange::Check { expression, .. } => format!("CHECK ({expression}\n)"),
        DdlChange::ForeignKey {
            columns,
            references,
            ref_columns,
            on_delete,
            on_update,
            traits,
            ..
        } => format!(
            "FOREIGN KEY ({}) REFERENCES {references} ({}){} ON DELETE {}{} ON UPDATE {}{}{}",
            list(columns),
            list(ref_columns),
            if traits.match_full { " MATCH FULL" } else { "" },
            on_delete.sql(),
            match traits.set_columns.as_slice() {
                [] => String::new(),
                some => format!(" ({})", list(some)),
            },
            on_update.sql(),
            if traits.deferrable { " DEFERRABLE" } else { "" },
            if traits.initially_deferred {
                " INITIALLY DEFERRED"
            } else {
                ""
            },
        ),
        DdlChange::Index { .. } => return None,
    };
    Some(format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} {rule} NOT VALID"
    ))
}

/// The valid CHECK replaces the table scan (ALTER TABLE, manual; PostgreSQL 12 and later).
pub fn set_not_null(table: &QualifiedName, column: &Ident) -> String {
    format!("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")
}

pub fn drop_constraint(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
}

/// Lists the first rows that violate the constraint, each identified by one text; `key` are the columns that identify a row.
pub fn violators(
    table: &QualifiedName,
    key: &[Ident],
    change: &DdlChange,
    limit: u32,
) -> Option<String> {
    let condition = match change {
        DdlChange::NotNull { column } => format!("r.{column} IS NULL"),
        // A CHECK accepts null. Names in the expression are columns of the row.
        DdlChange::Check { expression, .. } => format!("({expression}\n) IS FALSE"),
        DdlChange::ForeignKey {
            columns,
            references,
            ref_columns,
            ..
        } => {
            let given = columns.iter().map(|c| format!("r.{c} IS NOT NULL"));
            let same = columns
                .iter()
                .zip(ref_columns)
                .map(|(c, p)| format!("p.{p} = r.{c}"));
            format!(
                "{} AND NOT EXISTS (SELECT FROM ONLY {references} p WHERE {})",
                given.collect::<Vec<_>>().join(" AND "),
                same.collect::<Vec<_>>().join(" AND ")
            )
        }
        DdlChange::Index { .. } => return None,
    };
    let shown = row_name("r", key);
    Some(format!(
        "SELECT pg_catalog.to_jsonb({shown}) FROM {table} r WHERE {condition} LIMIT {limit}"
    ))
}

pub fn drop_index(name: &QualifiedName) -> String {
    format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")
}

/// The statements to run by hand, without a worker, each in its own transaction.
pub fn by_hand(table: &QualifiedName, name: &Ident, change: &DdlChange) -> Vec<String> {
    let Some(add) = add(table, name, change) else {
        return Vec::new();
    };
    let mut all = vec![add, validate(table, name)];
    if let DdlChange::NotNull { column } = change {
        all.push(set_not_null(table, column));
        all.push(drop_constraint(table, name));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ddl_change::{FkAction, KeyTraits};

    fn table() -> QualifiedName {
        QualifiedName::new("public", "tips")
    }

    #[test]
    fn not_null_goes_by_a_check() {
        let change = DdlChange::NotNull {
            column: "email".into(),
        };
        assert_eq!(
            by_hand(&table(), &"c".into(), &change),
            [
                "ALTER TABLE \"public\".\"tips\" ADD CONSTRAINT \"c\" CHECK (\"email\" IS NOT NULL) NOT VALID",
                "ALTER TABLE \"public\".\"tips\" VALIDATE CONSTRAINT \"c\"",
                "ALTER TABLE \"public\".\"tips\" ALTER COLUMN \"email\" SET NOT NULL",
                "ALTER TABLE \"public\".\"tips\" DROP CONSTRAINT IF EXISTS \"c\"",
            ]
        );
    }

    #[test]
    fn a_row_without_parent_is_named_by_its_key() {
        let change = DdlChange::ForeignKey {
            name: "f".into(),
            columns: vec!["user".into()],
            references: QualifiedName::new("public", "users"),
            ref_columns: vec!["id".into()],
            on_delete: FkAction::Cascade,
            on_update: FkAction::NoAction,
            traits: KeyTraits::default(),
        };
        assert_eq!(
            violators(&table(), &["id".into()], &change, 3).unwrap(),
            "SELECT pg_catalog.to_jsonb(pg_catalog.concat_ws(', ', 'id = ' || r.\"id\"::pg_catalog.text)) \
             FROM \"public\".\"tips\" r WHERE r.\"user\" IS NOT NULL AND NOT EXISTS \
             (SELECT FROM ONLY \"public\".\"users\" p WHERE p.\"id\" = r.\"user\") LIMIT 3"
        );
    }
}
