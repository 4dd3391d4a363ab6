//! Putting the mirrors in: the DDL is the switch, so that no transaction writes past it.

use crate::error::Result;
use crate::model::state::{Mapping, Migration};
use crate::pg::{lock, spi};
use crate::settings;
use crate::sqlgen::mirror;
use crate::store::{drift, mapping};

/// Locks all sources (ShareRowExclusive, which waits for open writers), looks at their shapes again under the
/// lock, and creates the triggers. All of them, or none.
pub fn install(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let mut sources = Vec::new();
    for p in mappings {
        sources.push((mapping::source(p)?.clone(), lock::Mode::ShareRowExclusive));
    }
    lock::all(&sources, settings::lock_timeout_ms(m))?;
    for p in mappings {
        drift::require_same_shape(p)?;
        for sql in mirror::create_triggers(p.id, mapping::source(p)?) {
            spi::run(&sql, &[])?;
        }
        mapping::reset_copy(p.id)?;
    }
    Ok(())
}
