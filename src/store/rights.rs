//! Who has rights on what we make.

use crate::error::Result;
use crate::ident::QualifiedName;
use crate::pg::{catalog, role, spi};
use crate::sqlgen::table;
use pgrx::pg_sys::Oid;

/// The relation, which we have just made, belongs to `owner`, and nobody else has rights on it.
pub fn hand_over(owner: Oid, kind: &str, relation: &QualifiedName) -> Result<()> {
    if role::current() != owner {
        let sql = format!("ALTER {kind} {relation} OWNER TO {}", role::name(owner));
        spi::run(&sql, &[])?;
    }
    revoke_defaults(relation)
}

/// Takes back whatever default privileges gave on the relation just made.
pub fn revoke_defaults(relation: &QualifiedName) -> Result<()> {
    for grantee in catalog::grantees(relation)? {
        spi::run(&table::revoke(relation, &grantee), &[])?;
    }
    Ok(())
}
