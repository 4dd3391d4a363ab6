//! Rollback: removes mirrors, empties targets, removes targets.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::id_map::NewIds;
use crate::model::records::{Mapping, Migration};
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::notice::notice;
use crate::pg::{catalog, guc, role, spi};
use crate::relation::{deferred_constraints, id_pairs, scope_pin, triggers};
use crate::settings;
use crate::sqlgen::{id_map, mirror, scope};
use crate::store::{mapping, migration, pending_rows, sides};
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;

/// Up to this many rows are deleted while the application's writes wait; more are left to the operator.
const DELETE_AT_ONCE: i64 = 10_000;

/// Rolls back to `created`: one transaction under AccessExclusive locks, held for catalog changes and a TRUNCATE. If the
/// targets are dropped next (`drops`), they are not emptied first: TRUNCATE creates new files, and the disk may be full.
pub fn remove_mirrors(m: &Migration, mappings: &[Mapping], drops: bool) -> Result<()> {
    lock::lock_all(&tables_to_lock(mappings)?, settings::lock_timeout_ms(m))?;
    for p in mappings {
        triggers::drop_all(p)?;
    }
    drop_late_objects(mappings)?;
    scope_pin::remove(mappings)?;
    deferred_constraints::checked_at_once(&deferred_constraints::owners(mappings), true, || {
        empty_targets(m, mappings, drops)
    })?;
    for p in mappings {
        pending_rows::clear(p.id)?;
        mapping::reset_copy(p.id)?;
        if new_ids_of(p).is_some() {
            let _owner = role::confine(sides::owner(p)?)?;
            spi::run(&id_map::empty(p.id), &[])?;
        }
    }
    migration::set_drain(m.id, None)
}

/// Returns the sources, the targets, and the tables that foreign keys of ours refer to: dropping a key locks both tables.
fn tables_to_lock(mappings: &[Mapping]) -> Result<Vec<LockRequest>> {
    #[derive(serde::Deserialize)]
    struct KeyTable {
        oid: u32,
        name: QualifiedName,
    }
    let mode = LockMode::AccessExclusive;
    let made: Vec<&Mapping> = mappings.iter().filter(|p| p.target_now.is_some()).collect();
    let layouts = made.iter().filter_map(|p| p.layout.as_ref());
    let names = layouts
        .flat_map(|l| &l.fkeys)
        .map(|k| k.name.as_str().to_owned());
    let names: Vec<String> = names.collect();
    let targets: Vec<Oid> = made
        .iter()
        .filter_map(|p| p.target.map(Oid::from))
        .collect();
    let referenced: Vec<KeyTable> = spi::rows(
        include_str!("../../sql/query/referenced_tables.sql"),
        &[targets.into(), names.into()],
    )?;
    let sources = mappings.iter().filter(|p| p.source_name.is_some());
    let mut found: Vec<LockRequest> = Vec::new();
    for table in sources
        .map(|p| sides::source_lock(p, mode))
        .chain(made.iter().map(|p| sides::target_lock(p, mode)))
        .chain(
            referenced
                .iter()
                .map(|r| Ok(LockRequest::new(r.oid.into(), &r.name, mode))),
        )
        .chain(scope_pin::locks(mappings)?.into_iter().map(Ok))
        .chain(
            triggers::locks_elsewhere(mappings, mode)?
                .into_iter()
                .map(Ok),
        )
    {
        let table = table?;
        if !found.iter().any(|known| known.relation == table.relation) {
            found.push(table);
        }
    }
    Ok(found)
}

/// Drops what the end of the backfill added, so that the next one is as fast as the first: all foreign keys, then the
/// unique keys that they may depend on. An interrupted backfill has added only some of them.
fn drop_late_objects(mappings: &[Mapping]) -> Result<()> {
    // IF EXISTS, without a NOTICE for each missing object.
    let _quiet = guc::pin(&[(c"client_min_messages", c"warning")]);
    let made: Vec<_> = mappings
        .iter()
        .filter_map(|p| Some((p.target_now.as_ref()?, p.layout.as_ref()?)))
        .collect();
    let drop_constraint = |target: &QualifiedName, name: &Ident| {
        let sql = format!("ALTER TABLE {target} DROP CONSTRAINT IF EXISTS {name}");
        spi::run(&sql, &[])
    };
    for (target, layout) in &made {
        for key in &layout.fkeys {
            drop_constraint(target, &key.name)?;
        }
    }
    for (target, layout) in &made {
        for index in &layout.indexes {
            drop_constraint(target, &index.name)?;
            let name = QualifiedName {
                schema: target.schema.clone(),
                name: index.name.clone(),
            };
            // Another table's index may have the name.
            let is_its = spi::value::<bool>(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1) AND indrelid = pg_catalog.to_regclass($2))",
                &[name.to_string().into(), target.to_string().into()],
            )?;
            if is_its == Some(true) {
                spi::run(&format!("DROP INDEX {name}"), &[])?;
            }
        }
    }
    Ok(())
}

/// Empties the targets, all those of one owner at once: they may refer to each other.
fn empty_targets(m: &Migration, mappings: &[Mapping], drops: bool) -> Result<()> {
    let mut ours: BTreeMap<u32, Vec<&QualifiedName>> = BTreeMap::new();
    for p in mappings.iter().filter(|p| p.adopted || !drops) {
        let (Some(target), Some(_)) = (&p.target_now, &p.layout) else {
            continue;
        };
        if p.source_name.is_none() {
            notice(&format!(
                "{} keeps its rows: the old table, from which they would come again, is gone",
                target.plain()
            ));
            continue;
        }
        if !p.adopted && !holds_others(p)? {
            let owner = ours.entry(sides::owner(p)?.to_u32()).or_default();
            owner.push(target);
        } else {
            delete_scope(m, p, target)?;
        }
    }
    for (owner, targets) in ours {
        let _owner = role::confine(owner.into())?;
        triggers::truncate_silently(&targets)?;
    }
    Ok(())
}

/// Whether the target holds rows of other scopes.
pub fn holds_others(p: &Mapping) -> Result<bool> {
    let (Some(target), Some(layout)) = (&p.target_now, &p.layout) else {
        return Ok(false);
    };
    let Some(others) = scope::scope_is_another("t", layout) else {
        return Ok(false);
    };
    let sql = format!("SELECT EXISTS (SELECT FROM {target} AS t WHERE {others})");
    let _owner = role::confine_reading(sides::owner(p)?)?;
    Ok(spi::value::<bool>(&sql, &[])?.unwrap_or(false))
}

fn new_ids_of(p: &Mapping) -> Option<&NewIds> {
    p.layout.as_ref().and_then(|l| l.drawn.as_ref())
}

/// Restores the rows of the scope that existed before the migration.
fn restore(p: &Mapping, found: &NewIds) -> Result<()> {
    let standing = catalog::shape_of(sides::target_oid(p)?.to_u32(), &p.target_name.plain())?;
    let columns = standing
        .columns
        .into_iter()
        .filter(|c| c.generated.is_none());
    let columns: Vec<Ident> = columns.map(|c| c.name).collect();
    let _owner = role::confine(sides::owner(p)?)?;
    for sql in id_map::restore(&sides::forward(p)?, found, &columns) {
        spi::run(&sql, &[])?;
    }
    Ok(())
}

fn delete_scope(m: &Migration, p: &Mapping, target: &QualifiedName) -> Result<()> {
    if let Some(found) = new_ids_of(p).filter(|d| !d.natural.is_empty()) {
        return restore(p, found);
    }
    let clear = mirror::clear(target, sides::layout(p)?);
    let from = clear.trim_start_matches("DELETE ");
    let count = format!(
        "SELECT count(*) FROM (SELECT {from} LIMIT {}) x",
        DELETE_AT_ONCE + 1
    );
    let owner = sides::owner(p)?;
    let few = {
        let _owner = role::confine_reading(owner)?;
        spi::value::<i64>(&count, &[])?.unwrap_or(0) <= DELETE_AT_ONCE
    };
    if few {
        let _owner = role::confine(owner)?;
        spi::run(&clear, &[])?;
        return Ok(());
    }
    notice(&format!(
        "{} keeps the rows of this scope, because deleting them here would make writers of the source wait; \
         delete them before the next mig_dual_write({}): {clear};",
        target.plain(),
        Literal(&m.name),
    ));
    Ok(())
}

/// Rolls back to `defined`: drops the views and the targets that pg_mig created, never an adopted one.
pub fn remove_targets(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    lock::lock_all(
        &mappings
            .iter()
            .filter(|p| !p.adopted && p.target_now.is_some())
            .map(|p| sides::target_lock(p, LockMode::AccessExclusive))
            .collect::<Result<Vec<_>>>()?,
        settings::lock_timeout_ms(m),
    )?;
    for p in mappings {
        if !p.adopted && holds_others(p)? {
            return Err(Error::invalid(
                format!(
                    "table {} holds rows of other scopes",
                    sides::target(p)?.plain()
                ),
                "Dropping it would lose them.".into(),
                "Delete those rows or copy them elsewhere first.".into(),
            ));
        }
    }
    for p in mappings {
        triggers::drop_views(p.id)?;
    }
    for p in mappings {
        if let Some(drawn) = new_ids_of(p) {
            id_pairs::drop_or_keep_map(p, drawn, false)?;
        }
    }
    let made: Vec<String> = mappings
        .iter()
        .filter(|p| !p.adopted)
        .filter_map(|p| p.target_now.as_ref())
        .map(ToString::to_string)
        .collect();
    if !made.is_empty() {
        spi::run(&format!("DROP TABLE {}", made.join(", ")), &[])?;
    }
    mappings
        .iter()
        .try_for_each(|p| mapping::clear_created(p.id))
}
