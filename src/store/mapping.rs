//! `mig.mapping`: what is copied where, and how far.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::layout::Layout;
use crate::model::spec::Spec;
use crate::model::state::Mapping;
use crate::pg::catalog::Extent;
use crate::pg::{plan, spi};
use pgrx::JsonB;
use pgrx::pg_sys::Oid;
use serde::Serialize;

const NAME_OF: &str = "(SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ";

fn select() -> String {
    format!(
        "SELECT p.id, p.source::oid::bigint AS source, {NAME_OF} p.source) AS source_name, \
         (SELECT c.relowner::bigint FROM pg_catalog.pg_class c WHERE c.oid = p.source) AS source_owner, \
         pg_catalog.jsonb_build_object('schema', p.target_schema, 'name', p.target_name) AS target_name, \
         p.target::oid::bigint AS target, {NAME_OF} p.target) AS target_now, \
         (SELECT c.relowner::bigint FROM pg_catalog.pg_class c WHERE c.oid = p.target) AS target_owner, \
         p.adopted, p.id_mode, p.spec, p.layout, p.bound_blocks, p.next_block, p.filenode::bigint AS filenode, \
         p.batch_rows, p.rows_done, p.copied FROM mig.mapping p"
    )
}

/// All mappings of a migration, in their fixed order.
pub fn all(migration: i32) -> Result<Vec<Mapping>> {
    spi::rows(
        &format!("{} WHERE p.migration = $1 ORDER BY p.ordinal", select()),
        &[migration.into()],
    )
}

pub fn by_id(id: i32) -> Result<Option<Mapping>> {
    spi::first(&format!("{} WHERE p.id = $1", select()), &[id.into()])
}

/// What a mirror needs to know of its mapping, and may believe.
#[derive(serde::Deserialize)]
pub struct Registered {
    #[serde(flatten)]
    pub mapping: Mapping,
    pub view: Option<u32>,
    pub view_owner: Option<u32>,
    /// The target has a column that only the server may set, once: an adopted one with identity ALWAYS.
    pub fixed_identity: bool,
    /// Attribute numbers and types of the source's key.
    pub attributes: Vec<(i16, u32)>,
}

/// Under the latest snapshot: the caller may be an old transaction, and the mapping a new one.
pub fn registered(id: i32) -> Result<Option<Registered>> {
    let sql = format!(
        "SELECT x.*, v.oid::bigint AS view, v.relowner::bigint AS view_owner, \
         EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.target::oid AND a.attidentity = 'a') AS fixed_identity, \
         (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attnum, a.atttypid::bigint) ORDER BY k.n) \
          FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey) WITH ORDINALITY k(num, n), pg_catalog.pg_attribute a \
          WHERE i.indrelid = x.source::oid AND i.indisprimary AND a.attrelid = i.indrelid AND a.attnum = k.num \
          AND k.n <= i.indnkeyatts) AS attributes \
         FROM ({} WHERE p.id = $1) x LEFT JOIN pg_catalog.pg_class v ON v.relnamespace = 'mig'::pg_catalog.regnamespace AND v.relname = $2",
        select()
    );
    let view = crate::sqlgen::view::name(id);
    let name =
        pgrx::IntoDatum::into_datum(view.name.as_str()).unwrap_or(pgrx::pg_sys::Datum::from(0));
    plan::first_latest(
        &sql,
        &[pgrx::pg_sys::INT4OID, pgrx::pg_sys::TEXTOID],
        &mut [pgrx::pg_sys::Datum::from(id), name],
    )
}

/// A target that already serves a migration, this one or another.
pub fn takes_target(target: &QualifiedName) -> Result<Option<String>> {
    spi::value(
        "SELECT m.name FROM mig.mapping p JOIN mig.migration m ON m.id = p.migration WHERE p.target_schema = $1 AND p.target_name = $2",
        &[target.schema.as_str().into(), target.name.as_str().into()],
    )
}

pub fn insert(
    migration: i32,
    source: Oid,
    target: &QualifiedName,
    id_mode: &str,
    spec: &Spec,
) -> Result<()> {
    spi::run(
        "INSERT INTO mig.mapping (migration, ordinal, source, target_schema, target_name, id_mode, spec) \
         SELECT $1, coalesce(max(ordinal), 0) + 1, $2::regclass, $3, $4, $5, $6 FROM mig.mapping WHERE migration = $1",
        &[
            migration.into(),
            source.into(),
            target.schema.as_str().into(),
            target.name.as_str().into(),
            id_mode.into(),
            json(spec)?.into(),
        ],
    )?;
    Ok(())
}

/// What `mig_create` worked out and made.
pub fn set_created(id: i32, target: Oid, adopted: bool, layout: &Layout) -> Result<()> {
    spi::run(
        "UPDATE mig.mapping SET target = $2::regclass, adopted = $3, layout = $4 WHERE id = $1",
        &[
            id.into(),
            target.into(),
            adopted.into(),
            json(layout)?.into(),
        ],
    )?;
    spi::run(
        "UPDATE mig.mapping p SET fingerprint = s.fingerprint FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Notes which mirror triggers stand now; `mig.drift` tells when one was touched.
pub fn seal(id: i32) -> Result<()> {
    spi::run(
        "UPDATE mig.mapping p SET seal = s.place || ' ' || s.triggers FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    Ok(())
}

pub fn clear_created(id: i32) -> Result<()> {
    reset_copy(id)?;
    spi::run(
        "UPDATE mig.mapping SET target = NULL, adopted = false, layout = NULL, fingerprint = NULL WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Back to the first block, nothing copied, no mirror.
pub fn reset_copy(id: i32) -> Result<()> {
    spi::run(
        "UPDATE mig.mapping SET bound_blocks = NULL, next_block = 0, filenode = NULL, batch_rows = NULL, batch_ms = NULL, \
         rows_done = 0, rows_total = NULL, copy_started_at = NULL, copied = false, seal = NULL WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Fixes the bound: what lies beyond it was written with the mirror in place.
pub fn set_bound(id: i32, extent: &Extent) -> Result<()> {
    spi::run(
        "UPDATE mig.mapping SET bound_blocks = $2, next_block = 0, filenode = $3::bigint::oid, rows_done = 0, rows_total = $4, \
         copy_started_at = clock_timestamp(), copied = false WHERE id = $1",
        &[
            id.into(),
            extent.blocks.into(),
            extent.filenode.into(),
            extent.rows.into(),
        ],
    )?;
    Ok(())
}

pub struct Checkpoint {
    pub next_block: i64,
    pub rows: i64,
    pub batch_rows: i32,
    pub batch_ms: i32,
    pub copied: bool,
}

/// Written in the transaction of the batch, never before or after it.
pub fn checkpoint(id: i32, at: &Checkpoint) -> Result<()> {
    spi::run(
        "UPDATE mig.mapping SET next_block = $2, rows_done = rows_done + $3, batch_rows = $4, batch_ms = $5, copied = $6 WHERE id = $1",
        &[
            id.into(),
            at.next_block.into(),
            at.rows.into(),
            at.batch_rows.into(),
            at.batch_ms.into(),
            at.copied.into(),
        ],
    )?;
    Ok(())
}

pub fn layout(mapping: &Mapping) -> Result<&Layout> {
    mapping
        .layout
        .as_ref()
        .ok_or_else(|| Error::Internal(format!("mapping {} has no layout", mapping.id)))
}

/// What helps an application whose writes fail because the mirror has lost something it needs.
pub const DETACH: &str = "SELECT mig_detach(); gives the application its writes back; then go back with mig_rollback(..., 'defined').";

/// Name of the target as it stands now.
pub fn target(mapping: &Mapping) -> Result<&QualifiedName> {
    mapping
        .target_now
        .as_ref()
        .ok_or_else(|| Error::Unsuitable {
            relation: mapping.target_name.plain(),
            kind: "gone: the target was dropped".into(),
            hint: DETACH.into(),
        })
}

/// Name of the source as it stands now.
pub fn source(mapping: &Mapping) -> Result<&QualifiedName> {
    mapping
        .source_name
        .as_ref()
        .ok_or_else(|| Error::Unsuitable {
            relation: format!("the source of {}", mapping.target_name.plain()),
            kind: "gone: the table was dropped".into(),
            hint: "Remove the migration with mig_rollback and mig_drop.".into(),
        })
}

/// Owner of the source, as whom rows are read and written: expressions run with his rights.
pub fn owner(mapping: &Mapping) -> Result<Oid> {
    let owner = mapping.source_owner.map(Oid::from);
    owner.ok_or_else(|| Error::Internal("the source has no owner".into()))
}

fn json<T: Serialize>(value: &T) -> Result<JsonB> {
    serde_json::to_value(value)
        .map(JsonB)
        .map_err(|e| Error::Internal(format!("does not encode: {e}")))
}
