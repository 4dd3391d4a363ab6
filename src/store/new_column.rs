//! `mig.new_column`: columns that `mig_add_column` adds, and the checkpoint of their backfill.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::column_change::{ArchivedNames, ColumnChange, Dependent, NewColumn};
use crate::pg::catalog::Extent;
use crate::pg::{catalog, spi, state};
use crate::sqlgen::columns::view_name;
use crate::store::author::{self, Misplaced};
use crate::store::mapping;
use pgrx::JsonB;
use pgrx::pg_sys::Oid;

const SELECT: &str = "SELECT c.id, c.leader, c.relation::oid::bigint AS relation, k.relowner::bigint AS owner, (pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'author')::pg_catalog.regrole::oid::bigint AS author, \
    CASE WHEN k.oid IS NOT NULL THEN pg_catalog.jsonb_build_object('schema', n.nspname, 'name', k.relname) END AS table, \
    c.name, c.type, c.up, c.down, c.column_default, c.not_null, c.replaces, c.mutable, c.bound_blocks, c.next_block, \
    c.filenode::bigint AS filenode, c.batch_blocks, c.filled, c.busy, c.late, c.archived \
    FROM mig.new_column c LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace";

/// Lists the column changes of a migration; none if it moves tables.
pub fn list(migration: i32) -> Result<Vec<ColumnChange>> {
    let found: Vec<NewColumn> = state::rows(
        &format!("{SELECT} WHERE c.migration = $1 ORDER BY c.id"),
        &[migration.into()],
    )?;
    Ok(ColumnChange::group_columns(found))
}

/// Returns the owner of the table, as whom the expressions run. Errors: 55000 if another role owns the view that holds them.
pub fn trusted_owner(r: &ColumnChange) -> Result<Oid> {
    let owner = r.leader().owner.map(Oid::from);
    let owner = owner.ok_or_else(|| catalog::missing_table("the table"))?;
    let view = view_name(r.id);
    author::require_author(&view, owner)?;
    // What was defined before 0.8.0 has no author; the view, which has an owner, holds its expressions.
    let made = catalog::oid_of(&view).is_some();
    for c in r.columns.iter().filter(|c| !made || c.author.is_some()) {
        author::require_author_of_text(&r.describe(), c.author, owner)?;
    }
    Ok(owner)
}

/// Returns the views of the changes that another role than the table's owner owns. Errors: 55000 if it lacks the rights of the owner.
pub fn list_misplaced_views(all: &[ColumnChange]) -> Result<Vec<Misplaced>> {
    let mut found = Vec::new();
    for r in all {
        let owner = trusted_owner(r)?;
        found.extend(author::list_misplaced(
            std::iter::once(view_name(r.id)),
            owner,
        )?);
    }
    Ok(found)
}

/// Returns the migration that adds a column of this name to the table.
pub fn taken_by(relation: u32, name: &str) -> Result<Option<String>> {
    state::value(
        "SELECT m.name FROM mig.new_column c JOIN mig.migration m ON m.id = c.migration WHERE c.relation = $1 AND c.name = $2",
        &[Oid::from(relation).into(), name.into()],
    )
}

/// Returns another migration that works on the table or on its columns.
pub fn other_migration(migration: i32, relation: u32) -> Result<Option<String>> {
    state::value(
        "SELECT m.name FROM mig.migration m WHERE m.id <> $1 AND m.phase NOT IN ('defined', 'archived') \
         AND (EXISTS (SELECT FROM mig.mapping p WHERE p.migration = m.id AND $2 IN (p.source::oid, p.target::oid)) \
           OR EXISTS (SELECT FROM mig.new_column c WHERE c.migration = m.id AND c.relation = $2)) LIMIT 1",
        &[migration.into(), Oid::from(relation).into()],
    )
}

/// Returns the search_path of the application's code for a change of this table, under the latest snapshot.
pub fn code_path(id: i32, relation: Oid) -> Result<Option<String>> {
    mapping::find_code_path("mig.new_column", id, catalog::owner_of(relation)?)
}

/// A column as requested.
pub struct RequestedColumn<'a> {
    pub relation: u32,
    /// The owner of the table at this moment, whose rights the caller has.
    pub author: Oid,
    pub name: &'a str,
    pub type_text: &'a str,
    pub up: &'a str,
    pub down: Option<&'a str>,
    pub column_default: Option<&'a str>,
    pub not_null: bool,
    pub replaces: Option<&'a str>,
    pub mutable: bool,
}

/// Adds a column; `leader` is the first column that replaces the same one.
pub fn insert(migration: i32, w: &RequestedColumn, leader: Option<i32>) -> Result<()> {
    let id: Option<i32> = state::value(
        "INSERT INTO mig.new_column (leader, migration, relation, name, type, up, down, column_default, not_null, replaces, mutable, author) \
         VALUES (coalesce($1, 0), $2, $3::regclass, $4, $5, $6, $7, $8, $9, $10, $11, $12::regrole) RETURNING id",
        &[
            leader.into(),
            migration.into(),
            Oid::from(w.relation).into(),
            w.name.into(),
            w.type_text.into(),
            w.up.into(),
            w.down.into(),
            w.column_default.into(),
            w.not_null.into(),
            w.replaces.into(),
            w.mutable.into(),
            w.author.into(),
        ],
    )?;
    if leader.is_none() {
        state::run(
            "UPDATE mig.new_column SET leader = id WHERE id = $1",
            &[id.into()],
        )?;
    }
    Ok(())
}

/// Records the catalog row of the trigger: any later change to the trigger leaves another row.
pub fn record_installed(r: &ColumnChange) -> Result<()> {
    state::run(
        "UPDATE mig.new_column c SET seal = (SELECT pg_catalog.format('%s/%s %s', k.system_identifier, d.oid, t.seal) \
         FROM (SELECT pg_catalog.string_agg(pg_catalog.format('%s:%s', t.oid, t.xmin), ' ' ORDER BY t.name) AS seal FROM mig.triggers t \
           WHERE t.leader = c.id AND t.at_home) t, pg_catalog.pg_control_system() k, pg_catalog.pg_database d \
         WHERE t.seal IS NOT NULL AND d.datname = pg_catalog.current_database()) WHERE c.id = $1",
        &[r.id.into()],
    )?;
    Ok(())
}

/// Records the name of the table: another table that has it later has replaced this one.
pub fn record_name(r: &ColumnChange) -> Result<()> {
    let table = r.table()?;
    state::run(
        "UPDATE mig.new_column SET known_schema = $2, known_name = $3 WHERE leader = $1",
        &[
            r.id.into(),
            table.schema.as_str().into(),
            table.name.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Resets the backfill to its beginning.
pub fn reset(id: i32) -> Result<()> {
    state::run(
        "UPDATE mig.new_column SET bound_blocks = NULL, next_block = 0, filenode = NULL, batch_blocks = NULL, batch_rows = NULL, \
         batch_ms = NULL, rows_done = 0, rows_total = NULL, started_at = NULL, filled = false, busy = '{}', late = NULL WHERE leader = $1",
        &[id.into()],
    )?;
    Ok(())
}

pub fn set_bound(id: i32, extent: &Extent) -> Result<()> {
    state::run(
        "UPDATE mig.new_column SET bound_blocks = $2, next_block = 0, filenode = $3::bigint::oid, rows_done = 0, rows_total = $4, \
         busy = '{}', filled = false, started_at = clock_timestamp() WHERE id = $1",
        &[
            id.into(),
            extent.blocks.into(),
            extent.filenode.into(),
            extent.rows.into(),
        ],
    )?;
    Ok(())
}

/// Result of a batch.
pub struct FillBatch {
    pub next_block: i64,
    pub busy: Vec<i64>,
    pub rows: i64,
    pub ms: i64,
    pub batch_blocks: i64,
    pub filled: bool,
}

pub fn checkpoint(id: i32, b: FillBatch) -> Result<()> {
    state::run(
        "UPDATE mig.new_column SET next_block = $2, busy = $3, rows_done = rows_done + $4, batch_rows = $4, batch_ms = $5, batch_blocks = $6, \
         filled = $7 WHERE id = $1",
        &[
            id.into(),
            b.next_block.into(),
            b.busy.into(),
            b.rows.into(),
            i32::try_from(b.ms).unwrap_or(i32::MAX).into(),
            b.batch_blocks.into(),
            b.filled.into(),
        ],
    )?;
    Ok(())
}

pub fn set_late(id: i32, late: &[Dependent]) -> Result<()> {
    let document = serde_json::to_value(late).map_err(|e| Error::internal(e.to_string()))?;
    state::run(
        "UPDATE mig.new_column SET late = $2 WHERE id = $1",
        &[id.into(), JsonB(document).into()],
    )?;
    Ok(())
}

pub fn set_archived(id: i32, names: Option<&ArchivedNames>) -> Result<()> {
    let document = names
        .map(serde_json::to_value)
        .transpose()
        .map_err(|e| Error::internal(e.to_string()))?;
    state::run(
        "UPDATE mig.new_column SET archived = $2 WHERE id = $1",
        &[id.into(), document.map(JsonB).into()],
    )?;
    Ok(())
}

/// Saves the names that the archive, or the rollback from it, gave the columns.
pub fn set_names(id: i32, name: &str, replaces: Option<&str>) -> Result<()> {
    state::run(
        "UPDATE mig.new_column SET name = $2, replaces = $3 WHERE id = $1",
        &[id.into(), name.into(), replaces.into()],
    )?;
    Ok(())
}

/// Returns what reads a column besides its own indexes and constraints: views, policies, generated columns, triggers; as
/// text.
pub fn dependents(relation: u32, column: &Ident) -> Result<Vec<String>> {
    spi::json_rows(
        include_str!("../../sql/query/column_dependents.sql"),
        &[Oid::from(relation).into(), column.as_str().into()],
    )
}
