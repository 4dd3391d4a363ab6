//! pg_mig's triggers on the tables of a mapping: those that exist, and those that should.

use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::records::Mapping;
use crate::pg::{guc, spi, state};
use crate::sqlgen::{trigger, view_names};
use pgrx::pg_sys::Oid;

/// An existing trigger of pg_mig.
#[derive(serde::Deserialize)]
pub struct InstalledTrigger {
    pub table: QualifiedName,
    pub name: Ident,
    pub enabled: bool,
}

/// Lists pg_mig's triggers on both sides; a dropped table has taken its triggers with it.
pub fn list_installed(p: &Mapping) -> Result<Vec<InstalledTrigger>> {
    let tables: Vec<Oid> = [Some(p.source), p.target]
        .into_iter()
        .flatten()
        .map(Oid::from)
        .collect();
    spi::rows(
        "SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS \"table\", t.tgname AS name, \
         t.tgenabled <> 'D' AS enabled FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE t.tgrelid = ANY ($1) AND t.tgname ~ ('^!mig_' || $2::text || '_') ORDER BY t.tgrelid, t.tgname",
        &[tables.into(), p.id.into()],
    )
}

pub fn drop_all(p: &Mapping) -> Result<()> {
    for t in list_installed(p)? {
        spi::run(&trigger::drop(&t.table, &t.name), &[])?;
    }
    Ok(())
}

/// Records the mirror triggers that exist now; `mig.drift` reports later changes to them.
pub fn record_installed(id: i32) -> Result<()> {
    state::run(
        "UPDATE mig.mapping p SET seal = s.place || ' ' || s.triggers, mirrors = s.mirrors, sealed_at = clock_timestamp() FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Runs TRUNCATE for the tables without firing a trigger of the application, which the hook of the executor never sees
/// (`pg/silent_triggers.rs`). The caller has locked the tables AccessExclusive, and is their owner.
pub fn truncate_silently(tables: &[&QualifiedName]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct TruncateTrigger {
        table: QualifiedName,
        name: Ident,
        enabled: String,
    }
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let found: Vec<TruncateTrigger> = spi::rows(
        "SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS \"table\", t.tgname AS name, t.tgenabled AS enabled \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid \
         WHERE t.tgrelid = ANY ($1::pg_catalog.regclass[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
         AND t.tgtype & 32 <> 0 AND f.pronamespace <> 'mig'::pg_catalog.regnamespace",
        &[names.clone().into()],
    )?;
    for t in &found {
        spi::run(&trigger::disable(&t.table, &t.name), &[])?;
    }
    spi::run(&format!("TRUNCATE ONLY {}", names.join(", ")), &[])?;
    for t in &found {
        spi::run(&trigger::enable(&t.table, &t.name, &t.enabled), &[])?;
    }
    Ok(())
}

/// Drops the mapping's views that exist.
pub fn drop_views(id: i32) -> Result<()> {
    // IF EXISTS, without a NOTICE for each missing view.
    let _quiet = guc::pin(&[(c"client_min_messages", c"warning")]);
    for name in [view_names::reverse_name(id), view_names::name(id)] {
        spi::run(&format!("DROP VIEW IF EXISTS {name}"), &[])?;
    }
    Ok(())
}
