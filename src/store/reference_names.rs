//! What the keys of the layouts refer to, under today's names.

use crate::error::Result;
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
    let target_now = |p: &Mapping| {
        Some(TargetNow {
            defined: p.target_name.clone(),
            now: p.target_now.clone()?,
        })
    };
    let targets: Vec<TargetNow> = all.iter().filter_map(target_now).collect();
    for p in all.iter_mut().filter(|p| p.source_name.is_some()) {
        let id = p.id;
        if let Some(layout) = &mut p.layout {
            layout.rename(id, &keys, &targets);
        }
    }
    Ok(())
}
