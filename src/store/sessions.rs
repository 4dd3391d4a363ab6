//! Other sessions of this database.

use crate::error::Result;
use crate::pg::spi;

/// Sessions that may have a library that is older than some version: a session keeps what it has loaded until it ends.
#[derive(serde::Deserialize)]
pub struct Older {
    pub maybe: i64,
    /// Those that are seen to have begun before the update.
    pub known: i64,
}

pub fn older_than(version: &str) -> Result<Older> {
    let found = spi::first(
        include_str!("../../sql/query/older_sessions.sql"),
        &[version.into()],
    )?;
    Ok(found.unwrap_or(Older { maybe: 0, known: 0 }))
}
