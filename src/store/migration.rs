//! `mig.migration`: migrations and their phases.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::phase::Phase;
use crate::model::records::{Migration, MigrationState};
use crate::model::shape::Shape;
use crate::pg::{role, spi, state, tx};
use pgrx::pg_sys::Oid;
use pgrx::{JsonB, datum::DatumWithOid};
use serde_json::Value;

const SELECT: &str = "SELECT m.id, m.name, m.owner::oid::bigint AS owner, pg_catalog.pg_get_userbyid(m.owner) AS owner_name, \
    m.phase, m.scope_table::oid::bigint AS scope_table, \
    (SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = m.scope_table) AS scope_table_name, \
    m.scope_column, m.scope_value, m.scope_type, m.options, m.search_path FROM mig.migration m";

/// Condition for the migrations that role $1 may see, as in the view mig.visible.
const VISIBLE: &str = "(pg_catalog.pg_has_role($1::oid, m.owner::oid, 'USAGE') OR pg_catalog.pg_has_role($1::oid, 'pg_monitor'::name, 'USAGE'))";

/// Returns the migration of this name, or the only one that the caller may see.
pub fn find(name: Option<&str>) -> Result<Migration> {
    if let Some(name) = name {
        return by_name(name)?.map_or_else(|| Err(unknown(name)?), Ok);
    }
    only_of(state::rows(
        &format!("{SELECT} WHERE {VISIBLE} ORDER BY m.name LIMIT 2"),
        &[role::current().into()],
    )?)
}

/// As `find`, for callers that only read: a migration that they may not see does not exist for them.
pub fn find_visible(name: Option<&str>) -> Result<Migration> {
    let Some(name) = name else { return find(None) };
    let found = state::first(
        &format!("{SELECT} WHERE {VISIBLE} AND m.name = $2"),
        &[role::current().into(), name.into()],
    )?;
    found.map_or_else(|| Err(unknown(name)?), Ok)
}

/// As `find`, for any owner: answers questions of applications.
pub fn find_any(name: Option<&str>) -> Result<Migration> {
    match name {
        Some(_) => find(name),
        None => only_of(state::rows(
            &format!("{SELECT} ORDER BY m.name LIMIT 2"),
            &[],
        )?),
    }
}

fn unknown(name: &str) -> Result<Error> {
    Ok(Error::no_such_migration(name.to_owned(), names()?))
}

fn only_of(mut all: Vec<Migration>) -> Result<Migration> {
    match (all.pop(), all.pop()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::no_migration_at_all()),
        _ => Err(Error::ambiguous_migration(names()?)),
    }
}

/// As `find`, for a caller that must own the migration. Locks it against changes until this transaction ends.
pub fn find_mine(name: Option<&str>) -> Result<Migration> {
    tx::require_primary()?;
    let found = find(name)?;
    require_owner(&found)?;
    state::run(
        "SELECT 1 FROM mig.migration WHERE id = $1 FOR NO KEY UPDATE",
        &[found.id.into()],
    )?;
    // The row may have changed while this transaction waited for its lock.
    find(Some(&found.name))
}

pub fn require_owner(migration: &Migration) -> Result<()> {
    if role::has_privileges_of(role::current(), Oid::from(migration.owner)) {
        return Ok(());
    }
    Err(Error::not_owner_of_migration(
        migration.name.clone(),
        current_role()?,
        migration.owner_name.clone(),
    ))
}

/// Errors: 42501 unless the caller has the rights of the table's owner.
pub fn require_owner_of(table: &Shape) -> Result<()> {
    require_table(&table.name, Oid::from(table.owner))
}

/// As `require_owner_of`, for a table by its name and owner.
pub fn require_table(table: &QualifiedName, owner: Oid) -> Result<()> {
    if role::has_privileges_of(role::current(), owner) {
        return Ok(());
    }
    Err(Error::not_owner(
        table.plain(),
        current_role()?,
        role::plain_name(owner),
    ))
}

/// Errors if the extension's objects are of another version than the library: they stay old until the extension is updated.
pub fn require_up_to_date() -> Result<()> {
    let library = env!("CARGO_PKG_VERSION");
    let objects = spi::look::<String>(
        "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_mig'",
        &[],
    )?;
    match objects {
        Some(objects) if objects != library => Err(Error::out_of_date(objects, library)),
        _ => Ok(()),
    }
}

pub fn current_role() -> Result<String> {
    Ok(spi::value("SELECT current_user::text", &[])?.unwrap_or_default())
}

pub fn by_name(name: &str) -> Result<Option<Migration>> {
    state::first(&format!("{SELECT} WHERE m.name = $1"), &[name.into()])
}

pub fn by_id(id: i32) -> Result<Option<Migration>> {
    state::first(&format!("{SELECT} WHERE m.id = $1"), &[id.into()])
}

fn names() -> Result<Vec<String>> {
    state::json_rows(
        &format!(
            "SELECT pg_catalog.to_jsonb(m.name) FROM mig.migration m WHERE {VISIBLE} ORDER BY m.name"
        ),
        &[role::current().into()],
    )
}

pub struct NewScope {
    pub table: Option<Oid>,
    pub column: String,
    pub value: String,
    pub type_text: String,
}

/// Adds a migration in phase `defined`, owned by the caller.
pub fn insert(
    name: &str,
    scope: Option<NewScope>,
    options: Value,
    search_path: &str,
) -> Result<()> {
    let (table, column, value, type_text) = match scope {
        Some(s) => (s.table, Some(s.column), Some(s.value), Some(s.type_text)),
        None => (None, None, None, None),
    };
    let args: [DatumWithOid; 8] = [
        name.into(),
        role::current().into(),
        table.into(),
        column.into(),
        value.into(),
        type_text.into(),
        JsonB(options).into(),
        search_path.into(),
    ];
    state::run(
        "INSERT INTO mig.migration (name, owner, scope_table, scope_column, scope_value, scope_type, options, search_path) \
         VALUES ($1, $2::regrole, $3::regclass, $4, $5, $6, $7, $8)",
        &args,
    )?;
    Ok(())
}

pub fn set_phase(migration: &Migration, phase: Phase) -> Result<()> {
    state::run(
        "UPDATE mig.migration SET phase = $2, since = clock_timestamp(), state = 'ok', problem = NULL, drain = NULL WHERE id = $1",
        &[migration.id.into(), phase.as_str().into()],
    )?;
    Ok(())
}

pub fn set_state(id: i32, state: MigrationState, problem: Option<&str>) -> Result<()> {
    state::run(
        "UPDATE mig.migration SET state = $2, problem = $3 WHERE id = $1",
        &[id.into(), state.as_str().into(), problem.into()],
    )?;
    Ok(())
}

pub fn set_options(id: i32, options: Value) -> Result<()> {
    state::run(
        "UPDATE mig.migration SET options = $2 WHERE id = $1",
        &[id.into(), JsonB(options).into()],
    )?;
    Ok(())
}

/// Returns the old snapshots that foreign keys wait for; None before they were listed.
pub fn drain(id: i32) -> Result<Option<Vec<String>>> {
    #[derive(serde::Deserialize)]
    struct DrainState {
        drain: Option<Vec<String>>,
    }
    let row: Option<DrainState> = state::first(
        "SELECT drain FROM mig.migration WHERE id = $1",
        &[id.into()],
    )?;
    Ok(row.and_then(|r| r.drain))
}

/// Returns how many days the migration has been in its phase.
pub fn days_in_phase(id: i32) -> Result<f64> {
    let days = state::value::<f64>(
        "SELECT (extract(epoch FROM pg_catalog.clock_timestamp() - since) / 86400)::float8 FROM mig.migration WHERE id = $1",
        &[id.into()],
    )?;
    Ok(days.unwrap_or(0.0))
}

pub fn set_drain(id: i32, holders: Option<Vec<String>>) -> Result<()> {
    state::run(
        "UPDATE mig.migration SET drain = $2 WHERE id = $1",
        &[id.into(), holders.into()],
    )?;
    Ok(())
}

pub fn delete(id: i32) -> Result<()> {
    state::run("DELETE FROM mig.migration WHERE id = $1", &[id.into()])?;
    Ok(())
}
