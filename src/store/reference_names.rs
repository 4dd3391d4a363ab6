//! What the keys of the layouts refer to, under today's names.

use crate::error::Result;
use crate::ident::QualifiedName;
use crate::model::layout::names_now::{KeyNow, TargetNow};
use crate::model::records::Mapping;
use crate::pg::state;

/// Replaces what the keys of the layouts refer to by today's names.
pub fn follow(migration: i32, all: &mut [Mapping]) -> Result<()> {
    if all.iter().all(|p| p.layout.is_none()) {
        return Ok(());
    }
    let sql = include_str!("../../sql/query/names_now.sql");
    let keys: Vec<KeyNow> = state::rows(sql, &[migration.into()])?;
    let names: Vec<(QualifiedName, QualifiedName)> = all
        .iter()
        .filter_map(|p| Some((p.target_name.clone(), p.target_now.clone()?)))
        .collect();
    let targets: Vec<TargetNow> = names
        .iter()
        .map(|(defined, now)| TargetNow { defined, now })
        .collect();
    for p in all.iter_mut().filter(|p| p.source_name.is_some()) {
        let id = p.id;
        if let Some(layout) = &mut p.layout {
            layout.rename(id, &keys, &targets);
        }
    }
    Ok(())
}
