//! Scope pins that exist; see `sqlgen::scope_pin`.

use crate::error::Result;
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::Scope;
use crate::model::records::Mapping;
use crate::pg::lock::{LockMode, LockRequest};
use crate::pg::{catalog, role, spi};
use crate::sqlgen::scope_pin;
use crate::store::sides;
use pgrx::pg_sys::Oid;

/// Returns the scope's table and its key. None if ids change: then statements write the rows, and PostgreSQL itself checks
/// the scope's row.
pub fn parent(p: &Mapping) -> Option<(&Scope, &QualifiedName, &Ident)> {
    if p.remaps() || p.names_remapped() {
        return None;
    }
    let scope = p.layout.as_ref()?.scope.as_ref()?;
    let (table, key) = scope.table.as_ref()?;
    Some((scope, table, key))
}

pub fn exists(p: &Mapping) -> Result<bool> {
    Ok(catalog::find(&scope_pin::name(p.id))?.is_some())
}

/// Whether the target's scope column has a foreign key to the scope's row, and the tables' owner may refer to it as well.
pub fn is_wanted(p: &Mapping) -> Result<bool> {
    let Some((scope, table, key)) = parent(p) else {
        return Ok(false);
    };
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint c \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum] AND a.attname = $2 \
         JOIN pg_catalog.pg_attribute k ON k.attrelid = c.confrelid AND c.confkey = ARRAY[k.attnum] AND k.attname = $3 \
         WHERE c.conrelid = $1 AND c.contype = 'f' AND c.confrelid = pg_catalog.to_regclass({}) \
         AND pg_catalog.has_column_privilege(c.confrelid, k.attnum, 'REFERENCES'))",
        Literal(&table.to_string())
    );
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let wanted = spi::value::<bool>(
        &sql,
        &[
            Oid::from(p.target.unwrap_or(0)).into(),
            scope.column.as_str().into(),
            key.as_str().into(),
        ],
    )?;
    Ok(wanted == Some(true))
}

/// Releases the scope's row at the end of dual writing: from then on only the targets' own rows refer to it, if any.
pub fn release(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, _| vec![scope_pin::clear(p.id)])
}

/// Holds the scope's row again when dual writing restarts.
pub fn hold(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, scope| scope_pin::hold(p.id, scope).to_vec())
}

/// Drops the pins, under the locks that `locks` returns.
pub fn remove(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, _| vec![scope_pin::drop(p.id)])
}

/// Returns what the removal locks: the scope's table, because a foreign key to it is dropped.
pub fn locks(mappings: &[Mapping]) -> Result<Vec<LockRequest>> {
    let mut tables: Vec<LockRequest> = Vec::new();
    for p in mappings {
        if let (Some((_, table, _)), true) = (parent(p), exists(p)?)
            && !tables.iter().any(|known| known.name == *table)
        {
            tables.push(LockRequest::by_name(table, LockMode::AccessExclusive)?);
        }
    }
    Ok(tables)
}

fn run_for_each(mappings: &[Mapping], sql: impl Fn(&Mapping, &Scope) -> Vec<String>) -> Result<()> {
    for p in mappings {
        if let (Some((scope, ..)), true) = (parent(p), exists(p)?) {
            let _owner = role::confine(sides::owner(p)?)?;
            for sql in sql(p, scope) {
                spi::run(&sql, &[])?;
            }
        }
    }
    Ok(())
}
