//! Statements that are planned and never run: their plans show where the server would write.

use crate::ident::QualifiedName;

pub fn statements(table: &QualifiedName) -> [String; 2] {
    [
        format!("INSERT INTO {table} DEFAULT VALUES"),
        format!(
            "DELETE FROM ONLY {table} AS t WHERE t.ctid OPERATOR(pg_catalog.=) '(0,0)'::pg_catalog.tid"
        ),
    ]
}
