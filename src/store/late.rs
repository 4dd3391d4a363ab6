//! Constraints and constraint triggers that speak at commit.

use crate::error::Result;
use crate::model::state::Mapping;
use crate::pg::{role, spi};
use pgrx::pg_sys::Oid;

#[derive(serde::Deserialize)]
struct Late {
    owner: u32,
    names: String,
}

/// Lets what our writes have queued on both sides speak now, as each table's owner: at commit it would be as whoever runs the
/// job, and a superuser would lend his rights to the trigger functions of others. With `of_others` only where that matters.
pub fn answer(mappings: &[&Mapping], of_others: bool) -> Result<()> {
    let sources = mappings.iter().map(|p| p.source);
    let tables: Vec<Oid> = sources
        .chain(mappings.iter().filter_map(|p| p.target))
        .map(Oid::from)
        .collect();
    let found: Vec<Late> = spi::rows(
        "SELECT t.relowner::bigint AS owner, pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') AS names \
         FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace \
         JOIN pg_catalog.pg_class t ON t.oid = c.conrelid \
         WHERE c.conrelid = ANY ($1) AND c.condeferred AND (t.relowner <> $2 OR NOT $3) GROUP BY t.relowner",
        &[tables.into(), role::current().into(), of_others.into()],
    )?;
    for Late { owner, names } in found {
        let _owner = role::act_as(Oid::from(owner));
        spi::run(&format!("SET CONSTRAINTS {names} IMMEDIATE"), &[])?;
        spi::run(&format!("SET CONSTRAINTS {names} DEFERRED"), &[])?;
    }
    Ok(())
}
