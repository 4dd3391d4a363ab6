//! The anchor of a mapping: one row of ours that refers to the scope's row. As long as it stands nobody can take that away, so the
//! rows that mirrors write need not look for it, nor lock it: all of them name the same one, and where each transaction locks it,
//! transactions wait for each other's locks on it.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::Scope;

/// Name of the anchor of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_anchor")),
    }
}

/// Makes it: the row first, so that the foreign key speaks at once. Deferred, so that a transaction may still take the scope's row
/// away and bring it back.
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
            "COMMENT ON TABLE {anchor} IS 'While a migration writes rows of this scope, nobody deletes the scope.'"
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

/// Holds the scope's row from now on. The key is checked now, and not at the end of the transaction: the table may be dropped before
/// that.
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

/// From now on it is not.
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
