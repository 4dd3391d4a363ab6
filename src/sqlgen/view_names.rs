//! Names of the mapping views, and names in SQL text that no column of a user may have. Where a name without a qualifier would mean a whole
//! row, PostgreSQL looks for a column first: such an alias is one of these.

use crate::ident::{Ident, QualifiedName};

/// What names of ours begin with; `mig_add_table` refuses columns that do.
pub const RESERVED: &str = "mig:";
/// A row of a table of the user's, as a whole.
pub const ROW: &str = "\"mig:row\"";

/// Name of the forward view of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_forward")),
    }
}

/// Name of the view that computes source rows from target rows.
pub fn reverse_name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_reverse")),
    }
}

/// View column with part `n` of the touched table's key; not a name that a user column would have.
pub fn key_name(n: usize) -> Ident {
    Ident::new(format!("mig:k{}", n + 1))
}

/// View column with the row's tid.
pub fn place() -> Ident {
    "mig:ctid".into()
}

/// View columns with the transaction and the command that wrote the row.
pub fn writer() -> [Ident; 2] {
    ["mig:xmin".into(), "mig:cmin".into()]
}
