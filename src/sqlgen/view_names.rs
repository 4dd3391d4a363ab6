//! Names of the mapping views, and of the columns that they have beside the rows' own.

use crate::ident::{Ident, QualifiedName};

/// Name of the view of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_forward")),
    }
}

/// Name of the view that yields rows of the old table out of the new one.
pub fn reverse_name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_reverse")),
    }
}

/// The touched table's key, in the view: not a name that a user's column would have.
pub fn key_name(n: usize) -> Ident {
    Ident::new(format!("mig:k{}", n + 1))
}

/// The row's place in the heap.
pub fn place() -> Ident {
    "mig:ctid".into()
}

/// The transaction and the command that wrote the row.
pub fn writer() -> [Ident; 2] {
    ["mig:xmin".into(), "mig:cmin".into()]
}
