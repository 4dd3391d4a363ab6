//! Other sessions of this database.

use crate::error::Result;
use crate::pg::spi;

/// Whether one may still have a library that is older than this version: it keeps what it has loaded until it ends.
pub fn are_older_than(version: &str) -> Result<bool> {
    let found = spi::value(
        include_str!("../../sql/query/older_sessions.sql"),
        &[version.into()],
    )?;
    Ok(found.unwrap_or(false))
}
