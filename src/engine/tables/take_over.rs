//! What came or went on the old tables since `mig_create`, and what was renamed: the new tables get their indexes and foreign keys at the end of
//! the backfill, so before it begins both are read anew.

use crate::error::Result;
use crate::model::records::{Mapping, Migration};
use crate::steps::{create, define};
use crate::store::mapping;

/// Plans the indexes and foreign keys of the targets that `mig_create` has made again, and keeps them. What an adopted target has is its
/// owner's choice.
pub(super) fn renew_keys(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    if mappings
        .iter()
        .any(|p| p.source_name.is_none() || p.target_now.is_none())
    {
        return Ok(());
    }
    let scope = define::scope::load_scope(m)?;
    let planned = create::plan(mappings.to_vec(), scope.as_ref())?;
    for (p, now) in mappings.iter().zip(planned) {
        let Some(stored) = p.layout.as_ref().filter(|_| !p.adopted) else {
            continue;
        };
        let mut layout = stored.clone();
        layout.indexes = now.layout.indexes;
        layout.fkeys = now.layout.fkeys;
        mapping::set_layout(p.id, &layout)?;
    }
    Ok(())
}
