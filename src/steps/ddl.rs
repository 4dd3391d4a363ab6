//! A constraint or an index of a table that is in use. The state of a job is read from the catalog each time, so that a
//! worker that continues after a crash, or after manual changes, starts from what exists.

use super::{SliceOutcome, TopLevelCommand};
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::ddl_change::{DdlChange, DdlJob};
use crate::model::layout::TargetIndex;
use crate::model::shape::Shape;
use crate::pg::draft::Draft;
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::{application_path, catalog, guc, parse, role, spi, tx};
use crate::settings;
use crate::sqlgen::{ddl as sql, index};
use crate::store::ddl_job;
use pgrx::pg_sys::Oid;

/// Number of rows that an error names.
const EXAMPLES: u32 = 10;

/// Does the next piece of work.
pub fn next(job: &DdlJob, table: &QualifiedName) -> Result<SliceOutcome> {
    match (&job.change, job.constraint()) {
        (DdlChange::Index { name, index }, _) => build(job, table, name, index.as_deref()),
        (_, Some(name)) => constraint(job, table, &name),
        (_, None) => Ok(SliceOutcome::Done),
    }
}

/// Whether the change has already been made.
pub fn is_made(relation: u32, table: &QualifiedName, wanted: &DdlChange) -> Result<bool> {
    match wanted {
        DdlChange::NotNull { column } => is_not_null(relation, column),
        DdlChange::Check { name, .. } | DdlChange::ForeignKey { name, .. } => {
            Ok(is_valid(relation, name)?.is_some_and(|valid| wanted.accepts(valid)))
        }
        DdlChange::Index { name, .. } => Ok(find_index_state(relation, table, name)? == Some(true)),
    }
}

/// Removes what is half-made; `Done` if there is nothing.
pub fn take_back(job: &DdlJob, table: &QualifiedName) -> Result<SliceOutcome> {
    if let DdlChange::Index { name, .. } = &job.change {
        return Ok(match find_index_state(job.relation, table, name)? {
            Some(false) => {
                require_nobody_builds(table)?;
                let index = QualifiedName::new(table.schema.as_str(), name.as_str());
                match find_index_state(job.relation, table, name)? {
                    Some(false) => SliceOutcome::TopLevel(TopLevelCommand {
                        sql: sql::drop_index(&index),
                        role: role::current(),
                        path: None,
                    }),
                    // Another session has finished it meanwhile.
                    _ => SliceOutcome::Did(0),
                }
            }
            _ => SliceOutcome::Done,
        });
    }
    let Some(name) = job.constraint() else {
        return Ok(SliceOutcome::Done);
    };
    let of_ours = matches!(job.change, DdlChange::NotNull { .. });
    match is_valid(job.relation, &name)? {
        Some(valid) if of_ours || !valid => {
            lock_for(job.relation, table, &job.change, true)?;
            spi::run(&sql::drop_constraint(table, &name), &[])?;
            Ok(SliceOutcome::Did(0))
        }
        _ => Ok(SliceOutcome::Done),
    }
}

/// Checks that no session builds an index on the table: a build holds this lock from the beginning to the end, and until
/// then its index is not valid, either. Errors: 55P03.
fn require_nobody_builds(table: &QualifiedName) -> Result<()> {
    let _timeout = guc::lock_timeout(settings::own_lock_timeout_ms());
    spi::run(
        &format!("LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE"),
        &[],
    )?;
    Ok(())
}

fn constraint(job: &DdlJob, table: &QualifiedName, name: &Ident) -> Result<SliceOutcome> {
    let not_null = match &job.change {
        DdlChange::NotNull { column } => Some(column),
        _ => None,
    };
    if let Some(column) = not_null
        && is_not_null(job.relation, column)?
    {
        return take_back(job, table);
    }
    match (is_valid(job.relation, name)?, not_null) {
        (None, _) if !job.looked && !job.change.accepts(false) => {
            // Before the application's writes are subject to it: a constraint that cannot stay should not be added.
            refuse_if_broken(job, table)?;
            ddl_job::set_looked(job.id)?;
            ddl_job::heartbeat(job.id, Some("adding"), None)?;
        }
        (None, _) => {
            lock_for(job.relation, table, &job.change, false)?;
            add(job, table, name)?;
            ddl_job::heartbeat(job.id, Some("validating"), None)?;
        }
        (Some(valid), None) if job.change.accepts(valid) => return Ok(SliceOutcome::Done),
        (Some(true), Some(column)) => {
            lock_for(job.relation, table, &job.change, true)?;
            spi::run(&sql::set_not_null(table, column), &[])?;
            spi::run(&sql::drop_constraint(table, name), &[])?;
        }
        (Some(_), _) => validate(job, table, name)?,
    }
    Ok(SliceOutcome::Did(0))
}

/// Adds the constraint. A foreign key is added as the caller, who may need a privilege on the other table; it contains
/// nothing but names. An expression is added as the table's owner.
fn add(job: &DdlJob, table: &QualifiedName, name: &Ident) -> Result<()> {
    let Some(add) = sql::add(table, name, &job.change) else {
        return Ok(());
    };
    let expressions = !matches!(job.change, DdlChange::ForeignKey { .. });
    let _owner = match expressions {
        true => Some(role::confine(owner(job)?)?),
        false => None,
    };
    let _path = guc::search_path(&job.search_path);
    spi::run(&add, &[])?;
    Ok(())
}

fn owner(job: &DdlJob) -> Result<Oid> {
    catalog::owner_of(Oid::from(job.relation))
}

/// Validates the constraint. ShareUpdateExclusive: readers and writers continue.
fn validate(job: &DdlJob, table: &QualifiedName, name: &Ident) -> Result<()> {
    let owner = owner(job)?;
    let named = [LockRequest::new(
        job.relation.into(),
        table,
        LockMode::AccessShare,
    )];
    lock::lock_for_job(&named, settings::own_lock_timeout_ms())?;
    let proved = tx::subtransaction(|| {
        let _owner = role::confine(owner)?;
        let _path = guc::search_path(&job.search_path);
        let _code = application_path::switch();
        spi::run(&sql::validate(table, name), &[])
    });
    match proved {
        Ok(_) => Ok(()),
        // A violating row that came between the check and the constraint: it is named as the others are.
        Err(e) if e.is_about_data() => refuse_if_broken(job, table).and(Err(e)),
        Err(e) => Err(e),
    }
}

fn refuse_if_broken(job: &DdlJob, table: &QualifiedName) -> Result<()> {
    let key = key(job.relation)?;
    let Some(look) = sql::violators(table, &key, &job.change, EXAMPLES + 1) else {
        return Ok(());
    };
    let mut rows: Vec<String> = {
        let _owner = role::confine_reading(owner(job)?)?;
        let _path = guc::search_path(&job.search_path);
        spi::json_rows(&look, &[])?
    };
    if rows.is_empty() {
        return Ok(());
    }
    let more = rows.len() > EXAMPLES as usize;
    rows.truncate(EXAMPLES as usize);
    Err(Error::rows_break(
        table.plain(),
        job.change.describe(),
        format!(
            "({}){}",
            rows.join("), ("),
            if more { " and more" } else { "" }
        ),
        look.replace("pg_catalog.to_jsonb", ""),
    ))
}

/// Returns the primary key's columns; none without a primary key.
fn key(relation: u32) -> Result<Vec<Ident>> {
    spi::json_rows(
        "SELECT pg_catalog.to_jsonb(a.attname) FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY k(attnum, n) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = $1 AND i.indisprimary ORDER BY k.n",
        &[Oid::from(relation).into()],
    )
}

/// Takes the locks that ALTER TABLE needs for the change, with a time limit.
fn lock_for(
    relation: u32,
    table: &QualifiedName,
    wanted: &DdlChange,
    takes_away: bool,
) -> Result<()> {
    let mode = match wanted {
        DdlChange::ForeignKey { .. } if !takes_away => LockMode::ShareRowExclusive,
        _ => LockMode::AccessExclusive,
    };
    let mut tables = vec![LockRequest::new(relation.into(), table, mode)];
    if let DdlChange::ForeignKey { references, .. } = wanted
        && references != table
    {
        tables.push(LockRequest::by_name(references, mode)?);
    }
    lock::lock_for_job(&tables, settings::own_lock_timeout_ms())
}

fn is_not_null(relation: u32, column: &Ident) -> Result<bool> {
    let found = spi::value::<bool>(
        "SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped",
        &[Oid::from(relation).into(), column.as_str().into()],
    )?;
    Ok(found == Some(true))
}

/// Whether the constraint is valid; None if there is no such constraint.
pub fn is_valid(relation: u32, name: &Ident) -> Result<Option<bool>> {
    spi::value(
        "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND conname = $2",
        &[Oid::from(relation).into(), name.as_str().into()],
    )
}

/// Whether the index is valid; None if there is no index of this name.
fn find_index_state(relation: u32, table: &QualifiedName, name: &Ident) -> Result<Option<bool>> {
    let index = QualifiedName::new(table.schema.as_str(), name.as_str());
    let Some(oid) = catalog::find(&index)? else {
        return Ok(None);
    };
    let valid = spi::value::<bool>(
        "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = $1 AND indrelid = $2",
        &[oid.into(), Oid::from(relation).into()],
    )?;
    valid.map(Some).ok_or_else(|| {
        Error::invalid(
            format!("the name {} is taken", index.plain()),
            format!("It is no index of {}.", table.plain()),
            "Give the index another name.".into(),
        )
    })
}

fn build(
    job: &DdlJob,
    table: &QualifiedName,
    name: &Ident,
    made: Option<&TargetIndex>,
) -> Result<SliceOutcome> {
    Ok(match find_index_state(job.relation, table, name)? {
        None => {
            let made = made.ok_or_else(|| not_known(name))?;
            SliceOutcome::TopLevel(TopLevelCommand {
                sql: index::create(table, made, true),
                role: super::builder(made, owner(job)?),
                path: application_path::current().or_else(|| Some(job.search_path.clone())),
            })
        }
        Some(true) => SliceOutcome::Done,
        // Left by an interrupted build; writers maintain it and no query reads it.
        Some(false) => take_back(job, table)?,
    })
}

fn not_known(name: &Ident) -> Error {
    Error::not_supported(
        format!(
            "building index {}, which an earlier version planned,",
            name.as_str()
        ),
        "It was kept as the text of a statement, and no such text is run any more.".into(),
        "Build it by hand with CREATE INDEX CONCURRENTLY under this name, and call again.".into(),
    )
}

/// Returns what a CREATE INDEX defines, with every name resolved in the caller's search_path: PostgreSQL creates it on an
/// empty table with the same columns, and the catalog describes it.
pub fn analysed_index(
    shape: &Shape,
    given: &parse::index::ParsedIndex,
    statement: &str,
    path: &str,
) -> Result<TargetIndex> {
    let owner = Oid::from(shape.owner);
    let table = tx::probe(|| {
        let draft = Draft::open(owner)?;
        let _owner = role::confine(owner)?;
        let copy = draft.name(&shape.name);
        spi::run(&format!("CREATE TABLE {copy} (LIKE {})", shape.name), &[])?;
        {
            let _path = guc::search_path(path);
            parse::index::make_on(statement, &copy)?;
        }
        catalog::find(&copy)?.map_or(Ok(None), catalog::shape)
    })?;
    let made = table.and_then(|t| t.indexes.into_iter().next());
    let made = made.ok_or_else(|| Error::internal("the index was not made".into()))?;
    Ok(TargetIndex {
        name: given.name.clone(),
        unique: made.unique,
        constraint: false,
        deferrable: false,
        nulls_not_distinct: made.nulls_not_distinct,
        method: made.method,
        columns: made.columns,
        include: made.include,
        predicate: made.predicate,
        options: made.options,
        tablespace: given.tablespace.clone(),
        comment: None,
        statistics: Vec::new(),
    })
}
