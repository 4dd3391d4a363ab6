//! `mig.unmirrored`: mirrors that let writes pass, because the owner of a table lacked the rights that they write with. It is drift until the
//! mirrors are installed again, which waits for every open writer; a check finds the rows.

use crate::error::Result;
use crate::pg::state;
use crate::sqlgen::direction::Direction;

/// Notes that the mirror of this mapping lets a write pass, in the application's transaction.
pub fn note_mapping(mapping: i32, way: Direction) -> Result<()> {
    note("mapping", mapping, way)
}

/// The same for columns of one table; `leader` is the first of them.
pub fn note_columns(leader: i32) -> Result<()> {
    note("new_column", leader, Direction::Forward)
}

fn note(of: &str, id: i32, way: Direction) -> Result<()> {
    state::run(
        &format!("INSERT INTO mig.unmirrored ({of}, way) VALUES ($1, $2) ON CONFLICT DO NOTHING"),
        &[id.into(), way.as_str().into()],
    )?;
    Ok(())
}

/// Forgets the notes of a mapping, whose mirror is installed again or removed.
pub fn forget_mapping(mapping: i32) -> Result<()> {
    forget("mapping", mapping)
}

pub fn forget_columns(leader: i32) -> Result<()> {
    forget("new_column", leader)
}

fn forget(of: &str, id: i32) -> Result<()> {
    state::run(
        &format!("DELETE FROM mig.unmirrored WHERE {of} = $1"),
        &[id.into()],
    )?;
    Ok(())
}
