//! Foreign keys of the target: added without a scan, then validated.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::TargetKey;

/// Always deferred to the end of the transaction: rows arrive in the order in which the application writes the source tables,
/// so an immediate check would refuse what is legal there. Actions (CASCADE, SET NULL) still run at once.
pub fn add(target: &QualifiedName, key: &TargetKey) -> String {
    let columns = if key.set_columns.is_empty() {
        String::new()
    } else {
        format!(" ({})", list(&key.set_columns))
    };
    format!(
        "ALTER TABLE {target} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){} ON DELETE {}{} ON UPDATE {} \
         DEFERRABLE INITIALLY DEFERRED NOT VALID",
        key.name,
        list(&key.columns),
        key.references,
        list(&key.ref_columns),
        if key.match_full { " MATCH FULL" } else { "" },
        action(&key.on_delete),
        if matches!(key.on_delete.as_str(), "n" | "d") {
            columns.as_str()
        } else {
            ""
        },
        action(&key.on_update),
    )
}

/// The body of a DO block that adds the key unless a key of that name exists.
pub fn add_unless_there(target: &QualifiedName, key: &TargetKey) -> String {
    format!(
        "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = {}::pg_catalog.regclass AND conname = {}) THEN {}; END IF; END",
        Literal(&target.to_string()),
        Literal(key.name.as_str()),
        add(target, key)
    )
}

pub fn validate(table: &QualifiedName, constraint: &Ident) -> String {
    format!("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
}

/// RESTRICT cannot be deferred (its check is never postponed); NO ACTION forbids the same end state.
fn action(code: &str) -> &'static str {
    match code {
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => "NO ACTION",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn member_key_carries_the_scope_and_the_action() {
        let (_, target, layout) = fixture::sign_ups();
        let key = &layout.fkeys[1];
        assert_eq!(
            add(&target, key),
            "ALTER TABLE \"public\".\"project_sign_ups\" ADD CONSTRAINT \"project_sign_ups_round_id_fkey\" \
             FOREIGN KEY (\"project_id\", \"round_id\") REFERENCES \"public\".\"project_rounds\" (\"project_id\", \"id\") \
             ON DELETE CASCADE ON UPDATE NO ACTION DEFERRABLE INITIALLY DEFERRED NOT VALID"
        );
    }
}
