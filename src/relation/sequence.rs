//! Privileges on sequences.

use crate::error::Result;
use crate::ident::QualifiedName;
use crate::pg::{catalog, spi};
use crate::sqlgen::archive;

/// Revokes what default privileges gave on a new sequence, then grants what other roles have on `old`, if there is one.
pub fn grant_as(new: &QualifiedName, old: Option<&QualifiedName>) -> Result<()> {
    for grantee in catalog::grantees(new)? {
        spi::run(&archive::revoke_sequence(new, &grantee), &[])?;
    }
    let Some(old) = old else {
        return Ok(());
    };
    for grant in catalog::sequence_grants(old)? {
        spi::run(&archive::grant_sequence(new, &grant), &[])?;
    }
    Ok(())
}
