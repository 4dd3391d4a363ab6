//! What the catalog says of a relation.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::shape::Shape;
use crate::pg::spi;
use pgrx::pg_sys::Oid;

/// None if there is no such relation.
pub fn shape(oid: Oid) -> Result<Option<Shape>> {
    Ok(spi::json_rows(
        include_str!("../../sql/query/table_shape.sql"),
        &[oid.into()],
    )?
    .into_iter()
    .next())
}

/// The shape of a relation that must be there.
pub fn shape_of(oid: u32, name: &str) -> Result<Shape> {
    shape(Oid::from(oid))?.ok_or_else(|| Error::Unsuitable {
        relation: name.to_owned(),
        kind: "gone: the table was dropped".into(),
        hint: "Remove the migration with mig_drop, or restore the table.".into(),
    })
}

/// The relation that a name in a document means: qualified, or in schema public, because documents are read
/// with a pinned search_path.
pub fn regclass(text: &str) -> Result<Oid> {
    let name = QualifiedName::parse(text, "public").ok_or_else(|| Error::BadName {
        text: text.to_owned(),
    })?;
    find(&name)?.ok_or_else(|| Error::Sql {
        code: pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        message: format!("relation \"{text}\" does not exist"),
        detail: Some(format!("{} was looked for.", name.plain())),
    })
}

/// The relation of this name, if it stands.
pub fn find(name: &QualifiedName) -> Result<Option<Oid>> {
    spi::value(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2",
        &[name.schema.as_str().into(), name.name.as_str().into()],
    )
}

/// Whether the table has this trigger, and it is not disabled.
pub fn trigger_is_on(table: &QualifiedName, name: &Ident) -> Result<bool> {
    let found = spi::value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = pg_catalog.to_regclass($1) AND tgname = $2 AND tgenabled <> 'D')",
        &[table.to_string().into(), name.as_str().into()],
    )?;
    Ok(found.unwrap_or(false))
}

/// File, size in blocks and estimated rows of a table.
#[derive(serde::Deserialize)]
pub struct Extent {
    pub filenode: i64,
    pub blocks: i64,
    pub rows: i64,
}

pub fn extent(table: u32) -> Result<Option<Extent>> {
    spi::first(
        "SELECT pg_catalog.pg_relation_filenode(c.oid)::bigint AS filenode, \
         pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS blocks, \
         (CASE WHEN c.relpages > 0 THEN c.reltuples / c.relpages ELSE 100 END \
          * (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint))::bigint AS rows \
         FROM pg_catalog.pg_class c WHERE c.oid = $1",
        &[Oid::from(table).into()],
    )
}
