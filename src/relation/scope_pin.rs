//! The anchors that stand; see `sqlgen::anchor`.

use crate::error::Result;
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::Scope;
use crate::model::records::Mapping;
use crate::pg::lock::LockMode;
use crate::pg::{catalog, role, spi};
use crate::sqlgen::scope_pin;
use crate::store::mapping;
use pgrx::pg_sys::Oid;

/// The scope's table and its key. Where ids change PostgreSQL looks for the scope's row itself, as rows are written by statements.
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

/// Whether the target's scope column refers to the scope's row, and the tables' owner may do the same.
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
    let _owner = role::confine_reading(mapping::owner(p)?)?;
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

/// The end of dual writing: the scope's row is held by the targets' own rows, or by nothing.
pub fn release(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, _| vec![scope_pin::clear(p.id)])
}

/// Dual writing begins anew.
pub fn hold(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, scope| scope_pin::hold(p.id, scope).to_vec())
}

/// The tables go, under the locks that `locks` names.
pub fn remove(mappings: &[Mapping]) -> Result<()> {
    run_for_each(mappings, |p, _| vec![scope_pin::drop(p.id)])
}

/// What the removal locks: the scope's table, which a foreign key refers to no more.
pub fn locks(mappings: &[Mapping]) -> Result<Vec<(QualifiedName, LockMode)>> {
    let mut tables = Vec::new();
    for p in mappings {
        if let (Some((_, table, _)), true) = (parent(p), exists(p)?) {
            let wanted = (table.clone(), LockMode::AccessExclusive);
            if !tables.contains(&wanted) {
                tables.push(wanted);
            }
        }
    }
    Ok(tables)
}

fn run_for_each(mappings: &[Mapping], sql: impl Fn(&Mapping, &Scope) -> Vec<String>) -> Result<()> {
    for p in mappings {
        if let (Some((scope, ..)), true) = (parent(p), exists(p)?) {
            let _owner = role::confine(mapping::owner(p)?)?;
            for sql in sql(p, scope) {
                spi::run(&sql, &[])?;
            }
        }
    }
    Ok(())
}
