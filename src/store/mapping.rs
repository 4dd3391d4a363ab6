//! `mig.mapping`: source and target of each mapping, and the progress of its copy.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::archive::ArchivedTable;
use crate::model::catalog_facts::CreatedFacts;
use crate::model::layout::Layout;
use crate::model::records::{Mapping, Migration, Pass};
use crate::model::spec::{IdMode, Spec};
use crate::pg::catalog::Extent;
use crate::pg::{role, state};
use crate::sqlgen::direction::Direction;
use crate::sqlgen::view_names;
use crate::store::{author, block_range, reference_names};
use pgrx::JsonB;
use pgrx::pg_sys::Oid;
use serde::Serialize;

const NAME_OF: &str = "(SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ";

fn select() -> String {
    // A mirror must not fail after a new library is installed and before the objects are updated, when the column "settled"
    // does not exist yet.
    format!(
        "SELECT p.id, p.source::oid::bigint AS source, {NAME_OF} p.source) AS source_name, \
         (SELECT c.relowner::bigint FROM pg_catalog.pg_class c WHERE c.oid = p.source) AS source_owner, \
         pg_catalog.jsonb_build_object('schema', p.target_schema, 'name', p.target_name) AS target_name, \
         p.target::oid::bigint AS target, {NAME_OF} p.target) AS target_now, \
         (SELECT c.relowner::bigint FROM pg_catalog.pg_class c WHERE c.oid = p.target) AS target_owner, \
         p.adopted, p.id_mode, p.spec, (pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'author')::pg_catalog.regrole::oid::bigint AS author, p.layout, p.bound_blocks, p.next_block, p.filenode::bigint AS filenode, \
         p.batch_rows, p.rows_done, p.copied, p.pass, p.archived, coalesce((pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'settled')::boolean, false) AS settled, p.facts FROM mig.mapping p"
    )
}

/// Lists all mappings of a migration, in their fixed order.
pub fn list(migration: i32) -> Result<Vec<Mapping>> {
    let mut all: Vec<Mapping> = state::rows(
        &format!("{} WHERE p.migration = $1 ORDER BY p.ordinal", select()),
        &[migration.into()],
    )?;
    author::require_own_maps(&all)?;
    reference_names::follow(migration, &mut all)?;
    Ok(all)
}

pub fn by_id(id: i32) -> Result<Option<Mapping>> {
    state::first(&format!("{} WHERE p.id = $1", select()), &[id.into()])
}

#[derive(serde::Deserialize)]
struct PickedId {
    id: i32,
}

/// Returns those of `mappings` whose ids `sql` returns for the migration.
pub fn pick<'a>(m: &Migration, mappings: &'a [Mapping], sql: &str) -> Result<Vec<&'a Mapping>> {
    let picked: Vec<PickedId> = state::rows(sql, &[m.id.into()])?;
    let is_picked = |p: &&Mapping| picked.iter().any(|id| id.id == p.id);
    Ok(mappings.iter().filter(is_picked).collect())
}

/// What a mirror needs to know of its mapping, and can trust.
#[derive(serde::Deserialize)]
pub struct TrustedMapping {
    #[serde(flatten)]
    pub mapping: Mapping,
    pub view: Option<u32>,
    pub view_owner: Option<u32>,
    /// The written table has a column that only the server may set, once: identity ALWAYS, in an adopted table.
    pub fixed_identity: bool,
    /// The written table has mirrors as well.
    pub both_ways: bool,
    /// The written table has a retired guard: it is being brought up to date, and a row may become insertable only later.
    pub catching_up: bool,
    /// Deferred constraints of the written table, quoted.
    pub late_checks: Option<String>,
    /// Attribute numbers and types of the touched table's key.
    pub attributes: Vec<(i16, u32)>,
    pub code_path: Option<CodePath>,
}

/// The search_path of the application's code, and the role that answers for it.
#[derive(serde::Deserialize)]
pub struct CodePath {
    owner: u32,
    path: Option<String>,
}

impl CodePath {
    /// Returns the path, if the owner of the migration has the rights of the role that the code runs as.
    pub fn for_code_of(&self, role: Oid) -> Option<&str> {
        let path = self.path.as_deref();
        path.filter(|_| role::has_privileges_of(self.owner.into(), role))
    }
}

/// A scalar query for the path of a migration; `id` is SQL text. The column may not exist before the objects are updated.
fn select_code_path(id: &str) -> String {
    format!(
        "(SELECT pg_catalog.jsonb_build_object('owner', m.owner::oid::bigint, 'path', coalesce(m.options OPERATOR(pg_catalog.->>) 'search_path', \
         pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'search_path')) FROM mig.migration m WHERE m.id = {id})"
    )
}

/// FROM items: triggers (g) of pg_mig's functions (f).
const OUR_TRIGGERS: &str = "pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid AND f.pronamespace = 'mig'::pg_catalog.regnamespace";

/// Finds the mapping under the latest snapshot: the caller may be an old transaction, and the mapping new.
pub fn find_registered(id: i32, way: Direction) -> Result<Option<TrustedMapping>> {
    let (view, touched, written) = match way {
        Direction::Forward => (view_names::name(id), "source", "target"),
        Direction::Reverse => (view_names::reverse_name(id), "target", "source"),
    };
    let sql = format!(
        "SELECT x.*, v.oid::bigint AS view, v.relowner::bigint AS view_owner, \
         EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.{written}::oid AND a.attidentity = 'a') AS fixed_identity, \
         EXISTS (SELECT FROM {OUR_TRIGGERS} WHERE g.tgrelid = x.{written}::oid AND f.proname = 'mirror' \
           AND pg_catalog.split_part(pg_catalog.encode(g.tgargs, 'escape'), E'\\\\000', 1) = ANY (coalesce((SELECT pg_catalog.array_agg(s.one OPERATOR(pg_catalog.->>) 'mapping') \
           FROM pg_catalog.jsonb_array_elements(CASE WHEN x.layout OPERATOR(pg_catalog.->) 'merge' <> 'null' THEN x.layout OPERATOR(pg_catalog.#>) '{{merge,sources}}' END) s(one)), ARRAY[x.id::text]))) AS both_ways, \
         EXISTS (SELECT FROM {OUR_TRIGGERS} WHERE g.tgrelid = x.{written}::oid AND f.proname = 'guard') AS catching_up, \
         (SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') FROM pg_catalog.pg_constraint c \
          JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE c.conrelid = x.{written}::oid AND c.condeferred AND c.contype <> 't') AS late_checks, \
         (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attnum, a.atttypid::bigint) ORDER BY k.n), '[]') \
          FROM pg_catalog.jsonb_array_elements(x.layout OPERATOR(pg_catalog.->) 'key') WITH ORDINALITY k(part, n) \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = x.{touched}::oid AND a.attname = (k.part OPERATOR(pg_catalog.->>) '{touched}')::name \
          WHERE x.{touched} <> x.source::oid OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid \
            AND i.indisprimary AND a.attnum = ANY (i.indkey))) AS attributes, {} AS code_path \
         FROM ({} WHERE p.id = $1) x LEFT JOIN pg_catalog.pg_class v ON v.relnamespace = 'mig'::pg_catalog.regnamespace AND v.relname = $2",
        select_code_path("(SELECT c.migration FROM mig.mapping c WHERE c.id = x.id)"),
        select()
    );
    let name =
        pgrx::IntoDatum::into_datum(view.name.as_str()).unwrap_or(pgrx::pg_sys::Datum::from(0));
    state::first_latest(
        &sql,
        &[pgrx::pg_sys::INT4OID, pgrx::pg_sys::TEXTOID],
        &mut [pgrx::pg_sys::Datum::from(id), name],
    )
}

/// Returns the search_path of the application's code that runs as `role` for a mapping, under the latest snapshot.
pub fn code_path(id: i32, role: Oid) -> Result<Option<String>> {
    find_code_path("mig.mapping", id, role)
}

/// As `code_path`, for a row of a table that has migrations.
pub fn find_code_path(table: &str, id: i32, role: Oid) -> Result<Option<String>> {
    #[derive(serde::Deserialize)]
    struct FoundPath {
        code_path: Option<CodePath>,
    }
    let sql = format!(
        "SELECT {} AS code_path FROM {table} r WHERE r.id = $1",
        select_code_path("r.migration")
    );
    let found: Option<FoundPath> = state::first_latest(
        &sql,
        &[pgrx::pg_sys::INT4OID],
        &mut [pgrx::pg_sys::Datum::from(id)],
    )?;
    let path = found.and_then(|f| f.code_path);
    Ok(path.and_then(|p| p.for_code_of(role).map(str::to_owned)))
}

/// Returns other mappings of the migration whose touched tables refer to this one's by foreign keys, directly or
/// indirectly: TRUNCATE takes all of them or none. Under the latest snapshot, as `find_registered`.
pub fn truncated_with(id: i32, way: Direction) -> Result<Vec<Mapping>> {
    let touched = match way {
        Direction::Forward => "source",
        Direction::Reverse => "target",
    };
    let sql = format!(
        "WITH RECURSIVE referring(relation) AS (SELECT {touched}::oid FROM mig.mapping WHERE id = $1 UNION \
         SELECT c.conrelid FROM pg_catalog.pg_constraint c JOIN referring r ON c.confrelid = r.relation WHERE c.contype = 'f') \
         SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(x)), '[]') AS \"all\" FROM ({} \
         WHERE p.migration = (SELECT o.migration FROM mig.mapping o WHERE o.id = $1) AND p.id <> $1 \
         AND p.{touched}::oid IN (SELECT r.relation FROM referring r) ORDER BY p.ordinal) x",
        select()
    );
    several(&sql, pgrx::pg_sys::INT4OID, pgrx::pg_sys::Datum::from(id))
}

/// Returns mappings by their ids, in the order of the ids. Under the latest snapshot, as `find_registered`.
pub fn partners(ids: &[i32]) -> Result<Vec<Mapping>> {
    let sql = format!(
        "SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(x) ORDER BY pg_catalog.array_position($1, x.id)), '[]') AS \"all\" \
         FROM ({} WHERE p.id = ANY ($1)) x",
        select()
    );
    let given = pgrx::IntoDatum::into_datum(ids.to_vec()).unwrap_or(pgrx::pg_sys::Datum::from(0));
    several(&sql, pgrx::pg_sys::INT4ARRAYOID, given)
}

/// Returns the mappings that `sql` yields as one document, `all`, for one argument. Under the latest snapshot.
fn several(sql: &str, kind: Oid, argument: pgrx::pg_sys::Datum) -> Result<Vec<Mapping>> {
    #[derive(serde::Deserialize)]
    struct MappingDocument {
        all: Vec<Mapping>,
    }
    let found: Option<MappingDocument> = state::first_latest(sql, &[kind], &mut [argument])?;
    Ok(found.map_or_else(Vec::new, |f| f.all))
}

/// Returns the name of the migration, this one or another, that already uses the target.
pub fn takes_target(target: &QualifiedName) -> Result<Option<String>> {
    state::value(
        "SELECT m.name FROM mig.mapping p JOIN mig.migration m ON m.id = p.migration WHERE p.target_schema = $1 AND p.target_name = $2",
        &[target.schema.as_str().into(), target.name.as_str().into()],
    )
}

pub fn insert(
    migration: i32,
    source: Oid,
    target: &QualifiedName,
    id_mode: IdMode,
    spec: &Spec,
    author: Oid,
) -> Result<()> {
    state::run(
        "INSERT INTO mig.mapping (migration, ordinal, source, target_schema, target_name, id_mode, spec, author) \
         SELECT $1, coalesce(max(ordinal), 0) + 1, $2::regclass, $3, $4, $5, $6, $7::regrole FROM mig.mapping WHERE migration = $1",
        &[
            migration.into(),
            source.into(),
            target.schema.as_str().into(),
            target.name.as_str().into(),
            id_mode.as_str().into(),
            json(spec)?.into(),
            author.into(),
        ],
    )?;
    Ok(())
}

/// Saves what `mig_create` planned and created.
pub fn set_created(
    id: i32,
    target: Oid,
    adopted: bool,
    layout: &Layout,
    left: &CreatedFacts,
) -> Result<()> {
    state::run(
        "UPDATE mig.mapping p SET target = $2::regclass, adopted = $3, layout = $4, facts = $5, known_schema = n.nspname, known_name = c.relname \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.id = $1 AND c.oid = p.source",
        &[
            id.into(),
            target.into(),
            adopted.into(),
            json(layout)?.into(),
            json(left)?.into(),
        ],
    )?;
    state::run(
        "UPDATE mig.mapping p SET fingerprint = s.fingerprint FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    record_objects(id)
}

/// Keeps what belongs to the tables now; `mig.changes` compares.
fn record_objects(id: i32) -> Result<()> {
    state::run(
        "UPDATE mig.mapping p SET objects = pg_catalog.jsonb_build_object('place', s.place, 'all', \
         (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('side', o.side, 'oid', o.oid::bigint, 'object', o.object, 'meaning', o.meaning)), '[]') \
          FROM mig.objects o WHERE o.mapping = p.id)) FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    Ok(())
}

pub fn set_layout(id: i32, layout: &Layout) -> Result<()> {
    state::run(
        "UPDATE mig.mapping SET layout = $2 WHERE id = $1",
        &[id.into(), json(layout)?.into()],
    )?;
    Ok(())
}

pub fn clear_created(id: i32) -> Result<()> {
    reset_copy(id)?;
    state::run(
        "UPDATE mig.mapping SET target = NULL, adopted = false, layout = NULL, facts = NULL, fingerprint = NULL, known_schema = NULL, known_name = NULL, objects = NULL WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Resets to the first block: nothing copied, no mirror.
pub fn reset_copy(id: i32) -> Result<()> {
    block_range::clear(id)?;
    state::run(
        "UPDATE mig.mapping SET bound_blocks = NULL, next_block = 0, filenode = NULL, batch_rows = NULL, batch_ms = NULL, \
         rows_done = 0, rows_total = NULL, copy_started_at = NULL, copied = false, settled = false, pass = 'forth', seal = NULL, sealed_at = NULL, mirrors = NULL WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Marks the mapping as settled. The caller holds the lock that keeps writers out, and touches a trigger so that their
/// sessions reload it.
pub fn set_settled(id: i32) -> Result<()> {
    state::run(
        "UPDATE mig.mapping SET settled = true WHERE id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Saves what was renamed when the source was archived; None when it was restored.
pub fn set_archived(id: i32, archived: Option<&ArchivedTable>) -> Result<()> {
    let document = archived.map(json).transpose()?;
    state::run(
        "UPDATE mig.mapping SET archived = $2 WHERE id = $1",
        &[id.into(), document.into()],
    )?;
    Ok(())
}

/// Returns to the first block, for another pass over the rows.
pub fn begin_pass(id: i32, pass: Pass) -> Result<()> {
    block_range::clear(id)?;
    state::run(
        "UPDATE mig.mapping SET bound_blocks = NULL, next_block = 0, filenode = NULL, batch_rows = NULL, batch_ms = NULL, \
         rows_done = 0, rows_total = NULL, copy_started_at = NULL, copied = false, pass = $2 WHERE id = $1",
        &[id.into(), pass.as_str().into()],
    )?;
    Ok(())
}

/// Fixes the bound: rows beyond it were written with the mirror in place.
pub fn set_bound(id: i32, extent: &Extent) -> Result<()> {
    block_range::clear(id)?;
    state::run(
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

/// Saves the checkpoint in the transaction of the batch, never before or after it.
pub fn checkpoint(id: i32, at: &Checkpoint) -> Result<()> {
    state::run(
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

fn json<T: Serialize>(value: &T) -> Result<JsonB> {
    serde_json::to_value(value)
        .map(JsonB)
        .map_err(|e| Error::internal(format!("does not encode: {e}")))
}
