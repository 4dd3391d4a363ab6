//! Deferred constraints.

use crate::error::Result;
use crate::model::records::Mapping;
use crate::pg::{role, spi};
use pgrx::pg_sys::Oid;

/// Checks the deferred constraints of both sides now, for tables that the caller owns. Those of other owners are checked
/// immediately anyway, see `checked_at_once`. Constraint triggers of the application wait: no write of ours fires them.
pub fn answer(mappings: &[&Mapping]) -> Result<()> {
    let sources = mappings.iter().map(|p| p.source);
    let tables: Vec<Oid> = sources
        .chain(mappings.iter().filter_map(|p| p.target))
        .map(Oid::from)
        .collect();
    let names: Option<String> = spi::value(
        "SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') \
         FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace \
         JOIN pg_catalog.pg_class t ON t.oid = c.conrelid \
         WHERE c.conrelid = ANY ($1) AND c.condeferred AND c.contype <> 't' AND t.relowner = $2",
        &[tables.into(), role::current().into()],
    )?;
    if let Some(names) = names {
        spi::run(&format!("SET CONSTRAINTS {names} IMMEDIATE"), &[])?;
        spi::run(&format!("SET CONSTRAINTS {names} DEFERRED"), &[])?;
    }
    Ok(())
}

/// Runs `f`, which writes as the tables' owners. Unless the whole session runs as that role, no check may wait for the
/// commit: there it would run with the caller's rights (`role::confine` refuses that). So all constraints are immediate
/// while `f` runs. With `lasting` the transaction continues after it, and constraints that are deferred by default are
/// deferred again.
pub fn checked_at_once<T>(
    owners: &[Oid],
    lasting: bool,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if owners.iter().all(|owner| role::is_whole_session(*owner)) {
        return f();
    }
    spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    let done = f()?;
    if lasting {
        wait_for_commit_again()?;
    }
    Ok(done)
}

fn wait_for_commit_again() -> Result<()> {
    let names: Option<String> = spi::value(
        "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') \
         FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace \
         WHERE c.condeferred AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_temp') \
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')",
        &[],
    )?;
    if let Some(names) = names {
        spi::run(&format!("SET CONSTRAINTS {names} DEFERRED"), &[])?;
    }
    Ok(())
}

/// Returns the owners of the tables of these mappings.
pub fn owners(mappings: &[Mapping]) -> Vec<Oid> {
    let sources = mappings.iter().filter_map(|p| p.source_owner);
    let targets = mappings.iter().filter_map(|p| p.target_owner);
    sources.chain(targets).map(Oid::from).collect()
}
