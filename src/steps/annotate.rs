//! Comments and statistics targets of the indexes and foreign keys that are created after the copy.

use crate::error::Result;
use crate::model::records::Mapping;
use crate::pg::spi;
use crate::sqlgen::comments_stats;
use crate::store::sides;

/// Sets them at the end of the backfill. Idempotent.
pub fn annotate(p: &Mapping) -> Result<()> {
    let (target, layout) = (sides::target(p)?, sides::layout(p)?);
    let indexes = layout.indexes.iter();
    let keys = layout.fkeys.iter();
    let statements = indexes
        .flat_map(|i| comments_stats::of_index(target, i))
        .chain(keys.filter_map(|k| comments_stats::of_key(target, k)));
    for sql in statements {
        spi::run(&sql, &[])?;
    }
    Ok(())
}
