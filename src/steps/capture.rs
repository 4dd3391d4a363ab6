//! Putting the mirrors in, and taking them out in an emergency: the DDL is the switch, so that no transaction writes past it.

use crate::error::Result;
use crate::ident::QualifiedName;
use crate::model::state::{Mapping, Migration};
use crate::pg::{catalog, lock, spi};
use crate::settings;
use crate::sqlgen::mirror;
use crate::store::{drift, mapping};

/// The emergency stop: mirrors off, on all sources or on none. Locks them ShareRowExclusive, which DISABLE TRIGGER
/// needs; DROP TRIGGER would make readers wait as well. A mirror that is missing is off already. How many were on.
pub fn disable(mappings: &[Mapping]) -> Result<usize> {
    let standing: Vec<(i32, &QualifiedName)> = mappings
        .iter()
        .filter_map(|p| Some((p.id, p.source_name.as_ref()?)))
        .collect();
    let locks: Vec<_> = standing
        .iter()
        .map(|(_, name)| ((*name).clone(), lock::Mode::ShareRowExclusive))
        .collect();
    lock::urgently(&locks)?;
    let mut disabled = 0;
    for (id, source) in standing {
        for kind in mirror::KINDS {
            let name = mirror::trigger_name(id, kind);
            if catalog::trigger_is_on(source, &name)? {
                spi::run(&mirror::disable_trigger(source, &name), &[])?;
                disabled += 1;
            }
        }
    }
    Ok(disabled)
}

/// Locks all sources (ShareRowExclusive, which waits for open writers), looks at their shapes again under the
/// lock, and creates the triggers. All of them, or none.
pub fn install(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let mut sources = Vec::new();
    for p in mappings {
        sources.push((mapping::source(p)?.clone(), lock::Mode::ShareRowExclusive));
    }
    lock::all(&sources, settings::lock_timeout_ms(m))?;
    drift::require_none(m)?;
    for p in mappings {
        for sql in mirror::create_triggers(p.id, mapping::source(p)?) {
            spi::run(&sql, &[])?;
        }
        mapping::reset_copy(p.id)?;
        mapping::seal(p.id)?;
    }
    Ok(())
}
