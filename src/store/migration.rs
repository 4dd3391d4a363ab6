//! `mig.migration`

use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::shape::Shape;
use crate::model::state::Migration;
use crate::pg::{role, spi, tx};
use pgrx::pg_sys::Oid;
use pgrx::{JsonB, datum::DatumWithOid};
use serde_json::Value;

const SELECT: &str = "SELECT m.id, m.name, m.owner::oid::bigint AS owner, pg_catalog.pg_get_userbyid(m.owner) AS owner_name, \
    m.phase, m.scope_table::oid::bigint AS scope_table, \
    (SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = m.scope_table) AS scope_table_name, \
    m.scope_column, m.scope_value, m.scope_type, m.options FROM mig.migration m";

/// The migration of this name, or the only one there is.
pub fn find(name: Option<&str>) -> Result<Migration> {
    match name {
        Some(name) => by_name(name)?.ok_or_else(|| match names() {
            Ok(known) => Error::NoSuchMigration {
                name: name.to_owned(),
                known,
            },
            Err(e) => e,
        }),
        None => {
            let mut all: Vec<Migration> =
                spi::rows(&format!("{SELECT} ORDER BY m.name LIMIT 2"), &[])?;
            match (all.pop(), all.pop()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(Error::NoMigrationAtAll),
                _ => Err(Error::AmbiguousMigration { known: names()? }),
            }
        }
    }
}

/// As `find`, and the caller must own it, and nobody else changes it until this transaction ends.
pub fn find_mine(name: Option<&str>) -> Result<Migration> {
    tx::require_primary()?;
    let found = find(name)?;
    require_owner(&found)?;
    spi::run(
        "SELECT 1 FROM mig.migration WHERE id = $1 FOR NO KEY UPDATE",
        &[found.id.into()],
    )?;
    // The row may have changed while we waited for its lock.
    find(Some(&found.name))
}

pub fn require_owner(migration: &Migration) -> Result<()> {
    if role::has_privileges_of(role::current(), Oid::from(migration.owner)) {
        return Ok(());
    }
    Err(Error::NotOwnerOfMigration {
        migration: migration.name.clone(),
        role: current_role()?,
        owner: migration.owner_name.clone(),
    })
}

/// Errors with 42501 unless the caller may do what the table's owner may.
pub fn require_owner_of(table: &Shape) -> Result<()> {
    if role::has_privileges_of(role::current(), Oid::from(table.owner)) {
        return Ok(());
    }
    Err(Error::NotOwner {
        relation: table.name.plain(),
        role: current_role()?,
        owner: table.owner_name.as_str().to_owned(),
    })
}

/// A new library finds the old objects until somebody updates the extension.
pub fn require_up_to_date() -> Result<()> {
    let library = env!("CARGO_PKG_VERSION");
    let objects = spi::look::<String>(
        "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_mig'",
        &[],
    )?;
    match objects {
        Some(objects) if objects != library => Err(Error::OutOfDate { objects, library }),
        _ => Ok(()),
    }
}

pub fn current_role() -> Result<String> {
    Ok(spi::value("SELECT current_user::text", &[])?.unwrap_or_default())
}

pub fn by_name(name: &str) -> Result<Option<Migration>> {
    spi::first(&format!("{SELECT} WHERE m.name = $1"), &[name.into()])
}

pub fn by_id(id: i32) -> Result<Option<Migration>> {
    spi::first(&format!("{SELECT} WHERE m.id = $1"), &[id.into()])
}

fn names() -> Result<Vec<String>> {
    spi::json_rows(
        "SELECT pg_catalog.to_jsonb(name) FROM mig.migration ORDER BY name",
        &[],
    )
}

pub struct NewScope {
    pub table: Option<Oid>,
    pub column: String,
    pub value: String,
    pub type_text: String,
}

/// Adds a migration in phase `defined`, owned by the caller.
pub fn insert(name: &str, scope: Option<NewScope>, options: Value) -> Result<()> {
    let (table, column, value, type_text) = match scope {
        Some(s) => (s.table, Some(s.column), Some(s.value), Some(s.type_text)),
        None => (None, None, None, None),
    };
    let args: [DatumWithOid; 7] = [
        name.into(),
        role::current().into(),
        table.into(),
        column.into(),
        value.into(),
        type_text.into(),
        JsonB(options).into(),
    ];
    spi::run(
        "INSERT INTO mig.migration (name, owner, scope_table, scope_column, scope_value, scope_type, options) \
         VALUES ($1, $2::regrole, $3::regclass, $4, $5, $6, $7)",
        &args,
    )?;
    Ok(())
}

pub fn set_phase(migration: &Migration, phase: Phase) -> Result<()> {
    spi::run(
        "UPDATE mig.migration SET phase = $2, since = clock_timestamp(), state = 'ok', problem = NULL, drain = NULL WHERE id = $1",
        &[migration.id.into(), phase.as_str().into()],
    )?;
    Ok(())
}

pub fn set_state(id: i32, state: &str, problem: Option<&str>) -> Result<()> {
    spi::run(
        "UPDATE mig.migration SET state = $2, problem = $3 WHERE id = $1",
        &[id.into(), state.into(), problem.into()],
    )?;
    Ok(())
}

pub fn set_options(id: i32, options: Value) -> Result<()> {
    spi::run(
        "UPDATE mig.migration SET options = $2 WHERE id = $1",
        &[id.into(), JsonB(options).into()],
    )?;
    Ok(())
}

/// The old snapshots that foreign keys wait for; None before they were listed.
pub fn drain(id: i32) -> Result<Option<Vec<String>>> {
    #[derive(serde::Deserialize)]
    struct Row {
        drain: Option<Vec<String>>,
    }
    let row: Option<Row> = spi::first(
        "SELECT drain FROM mig.migration WHERE id = $1",
        &[id.into()],
    )?;
    Ok(row.and_then(|r| r.drain))
}

/// Days in the phase that it is in.
pub fn days_in_phase(id: i32) -> Result<f64> {
    let days = spi::value::<f64>(
        "SELECT (extract(epoch FROM pg_catalog.clock_timestamp() - since) / 86400)::float8 FROM mig.migration WHERE id = $1",
        &[id.into()],
    )?;
    Ok(days.unwrap_or(0.0))
}

pub fn set_drain(id: i32, holders: Option<Vec<String>>) -> Result<()> {
    spi::run(
        "UPDATE mig.migration SET drain = $2 WHERE id = $1",
        &[id.into(), holders.into()],
    )?;
    Ok(())
}

pub fn delete(id: i32) -> Result<()> {
    spi::run("DELETE FROM mig.migration WHERE id = $1", &[id.into()])?;
    Ok(())
}
