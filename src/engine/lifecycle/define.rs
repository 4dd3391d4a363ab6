//! Definition: what a migration moves or changes, and its options. Nothing of the user's is touched.

use crate::engine::gate::lock_idle_migration;
use crate::error::{Error, Result};
use crate::model::config::{self, Config};
use crate::model::records::Migration;
use crate::model::spec::TableArguments;
use crate::pg::catalog;
use crate::steps::columns::define::{self as columns, ColumnArguments};
use crate::steps::define;
use crate::steps::define::scope::ScopeArguments;
use crate::store::{log, mapping, migration, new_column};
use pgrx::pg_sys::Oid;
use serde_json::Value;

/// Defines a migration. A name that is a JSON object is a document whose `::jsonb` was left out: PostgreSQL reads an
/// untyped literal as text. `path`: the caller's search_path.
pub fn define(
    name: &str,
    scope: &ScopeArguments,
    option_values: &Value,
    path: &str,
) -> Result<String> {
    if name.trim_start().starts_with('{') {
        let document =
            serde_json::from_str(name).map_err(|e| config::malformed_document(format!("{e}.")))?;
        return define_config(&document, path);
    }
    define::migration(name, scope, option_values, path)?;
    Ok(name.to_owned())
}

/// Defines the whole document, or nothing. `path`: the caller's search_path.
pub fn define_config(document: &Value, path: &str) -> Result<String> {
    let Config {
        migration: name,
        scope_table,
        scope_value,
        scope_column,
        options,
        tables,
        columns: new_columns,
    } = config::read(document)?;
    let table = scope_table.as_deref().map(catalog::regclass).transpose()?;
    define::migration(
        &name,
        &ScopeArguments {
            table,
            value: scope_value,
            column: scope_column,
        },
        &options,
        path,
    )?;
    let m = migration::find(Some(&name))?;
    for t in &tables {
        define::table(&m, catalog::regclass(&t.source)?, &t.target, &t.arguments())?;
    }
    for c in new_columns {
        let asked = ColumnArguments {
            relation: catalog::regclass(&c.relation)?,
            name: c.column_name,
            type_text: &c.type_text,
            up: &c.up,
            down: c.down.as_deref(),
            column_default: c.column_default.as_deref(),
            not_null: c.not_null,
            replaces: c.replaces,
        };
        add_column(&name, &asked)?;
    }
    Ok(name)
}

pub fn add_table(name: &str, source: Oid, target: &str, arguments: &TableArguments) -> Result<()> {
    let m = lock_idle_migration(Some(name), "mig_add_table")?;
    require_no_columns(&m)?;
    define::table(&m, source, target, arguments)
}

pub fn add_column(name: &str, asked: &ColumnArguments) -> Result<()> {
    let m = lock_idle_migration(Some(name), "mig_add_column")?;
    let mappings = mapping::list(m.id)?;
    if !mappings.is_empty() || m.scope_column.is_some() && m.scope_table.is_some() {
        return Err(Error::not_supported(
            format!("a column in migration \"{}\", which moves tables", m.name),
            "A migration moves tables, or it changes columns.".into(),
            "Define another one: SELECT mig_define('columns');".into(),
        ));
    }
    columns::column(&m, asked)
}

/// Errors: 0A000 if a table is added to a migration that changes columns.
fn require_no_columns(m: &Migration) -> Result<()> {
    if new_column::list(m.id)?.is_empty() {
        return Ok(());
    }
    Err(Error::not_supported(
        format!("a table in migration \"{}\", which changes columns", m.name),
        "A migration moves tables, or it changes columns.".into(),
        "Define another one: SELECT mig_define('tables');".into(),
    ))
}

/// Changes options. Running jobs read them before each batch.
pub fn configure(name: &str, changes: &Value) -> Result<Value> {
    let m = migration::find_mine(Some(name))?;
    let merged = define::merge_options(&m.options, changes)?;
    migration::set_options(m.id, merged.clone())?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("mig_configure {changes}"),
    )?;
    Ok(merged)
}
