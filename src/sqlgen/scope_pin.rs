//! The scope pin of a mapping (table `m…_anchor`): one row of the extension's own that refers to the scope's row, so that the
//! scope's row cannot be deleted. Rows that mirrors write then need no lookup and no lock of it. All of them refer to the same
//! row; if each transaction locked it, transactions would wait for each other's locks.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::Scope;

/// Name of the scope pin of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_anchor")),
    }
}

/// Creates it, with the row first, so that adding the foreign key checks it at once. The key is deferred, so that a transaction
/// may still delete the scope's row and insert it again.
pub fn create(
    anchor: &QualifiedName,
    id: i32,
    scope: &Scope,
    (table, key): (&QualifiedName, &Ident),
) -> Vec<String> {
    let column = &scope.column;
    vec![
        format!(
            "CREATE TABLE {anchor} ({column} {} PRIMARY KEY)",
            scope.type_text
        ),
        format!(
            "COMMENT ON TABLE {anchor} IS 'While a migration writes rows of this scope, the scope cannot be deleted.'"
        ),
        set(anchor, scope),
        format!(
            "ALTER TABLE {anchor} ADD CONSTRAINT {} FOREIGN KEY ({column}) REFERENCES {table} ({key}) DEFERRABLE INITIALLY DEFERRED",
            constraint(id)
        ),
    ]
}

fn constraint(id: i32) -> Ident {
    Ident::new(format!("m{id}_anchor_fkey"))
}

/// Holds the scope's row from now on. The key is checked now and not at the end of the transaction: the table may be dropped
/// before that.
pub fn hold(id: i32, scope: &Scope) -> [String; 3] {
    let constraint = constraint(id);
    let check = |when| format!("SET CONSTRAINTS mig.{constraint} {when}");
    [check("IMMEDIATE"), set(&name(id), scope), check("DEFERRED")]
}

fn set(anchor: &QualifiedName, scope: &Scope) -> String {
    format!(
        "INSERT INTO {} VALUES ({}::{}) ON CONFLICT DO NOTHING",
        anchor,
        Literal(&scope.value),
        scope.type_text
    )
}

/// Releases the scope's row.
pub fn clear(id: i32) -> String {
    format!("DELETE FROM {}", name(id))
}

pub fn drop(id: i32) -> String {
    format!("DROP TABLE IF EXISTS {}", name(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn it_names_the_scope_by_a_deferred_key() {
        let (_, _, layout) = fixture::sign_ups();
        let scope = layout.scope.unwrap();
        let (table, key) = scope.table.clone().unwrap();
        let made = create(&name(7), 7, &scope, (&table, &key));
        assert_eq!(
            made[0],
            "CREATE TABLE \"mig\".\"m7_anchor\" (\"project_id\" uuid PRIMARY KEY)"
        );
        assert_eq!(
            made[3],
            "ALTER TABLE \"mig\".\"m7_anchor\" ADD CONSTRAINT \"m7_anchor_fkey\" FOREIGN KEY (\"project_id\") REFERENCES \"public\".\"projects\" (\"id\") DEFERRABLE INITIALLY DEFERRED"
        );
    }
}
