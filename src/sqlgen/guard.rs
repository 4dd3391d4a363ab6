//! The guard that refuses writes to an old table after the cutover.

use crate::ident::{Ident, QualifiedName};

fn name(id: i32, kind: &str) -> Ident {
    Ident::new(format!("!mig_{id}_guard_{kind}"))
}

/// Statements, also those that touch no row: an UPDATE of a row that only the new table has must not pass in silence. And
/// rows, because logical replication's apply fires no statement triggers for them.
pub fn create(id: i32, table: &QualifiedName, target: u32) -> Vec<String> {
    let rest = format!("EXECUTE FUNCTION mig.guard('{target}')");
    let (statement, row) = (name(id, "statement"), name(id, "row"));
    vec![
        format!(
            "CREATE TRIGGER {statement} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT {rest}"
        ),
        format!(
            "CREATE TRIGGER {row} BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW {rest}"
        ),
        format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {statement}"),
        format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {row}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_rows_are_refused_and_the_new_table_is_known() {
        let made = create(7, &QualifiedName::new("public", "sign_ups"), 4711);
        assert_eq!(
            made[0],
            "CREATE TRIGGER \"!mig_7_guard_statement\" BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON \"public\".\"sign_ups\" \
             FOR EACH STATEMENT EXECUTE FUNCTION mig.guard('4711')"
        );
        assert!(made[1].contains("FOR EACH ROW") && made[3].contains("ENABLE ALWAYS"));
    }
}
