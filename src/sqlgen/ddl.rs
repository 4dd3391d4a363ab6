//! Constraints that are added without reading the table, proved beside writers, and what stands in their way.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::ddl_change::DdlChange;
pub use crate::sqlgen::fkey::validate;
use crate::sqlgen::row_name;

/// NOT VALID: holds for what is written from now on.
pub fn add(table: &QualifiedName, name: &Ident, change: &DdlChange) -> Option<String> {
    let rule = match change {
        DdlChange::NotNull { column } => format!("CHECK ({column} IS NOT NULL)"),
        // The line break ends a comment that the expression may end with.
        DdlChange::Check { expression, .. } => format!("CHECK ({expression}\n)"),
        DdlChange::ForeignKey {
            columns,
            references,
            ref_columns,
            on_delete,
            on_update,
            ..
        } => format!(
            "FOREIGN KEY ({}) REFERENCES {references} ({}) ON DELETE {} ON UPDATE {}",
            list(columns),
            list(ref_columns),
            on_delete.sql(),
            on_update.sql()
        ),
        DdlChange::Index { .. } => return None,
    };
    Some(format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} {rule} NOT VALID"
    ))
}

/// The server believes the valid CHECK instead of reading the table (ALTER TABLE, manual; PostgreSQL 12 and later).
pub fn set_not_null(table: &QualifiedName, column: &Ident) -> String {
    format!("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")
}

pub fn drop_constraint(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
}

/// Keys of the first rows that break the rule, as one text each; `key` is what names a row.
pub fn violators(
    table: &QualifiedName,
    key: &[Ident],
    change: &DdlChange,
    limit: u32,
) -> Option<String> {
    let condition = match change {
        DdlChange::NotNull { column } => format!("r.{column} IS NULL"),
        // A CHECK lets null pass. Names in it are those of the row's columns.
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

/// By hand, without a worker: each a transaction of its own.
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
    use crate::model::ddl_change::FkAction;

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
        };
        assert_eq!(
            violators(&table(), &["id".into()], &change, 3).unwrap(),
            "SELECT pg_catalog.to_jsonb(pg_catalog.concat_ws(', ', 'id = ' || r.\"id\"::pg_catalog.text)) \
             FROM \"public\".\"tips\" r WHERE r.\"user\" IS NOT NULL AND NOT EXISTS \
             (SELECT FROM ONLY \"public\".\"users\" p WHERE p.\"id\" = r.\"user\") LIMIT 3"
        );
    }
}
