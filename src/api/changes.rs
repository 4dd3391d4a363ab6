//! Columns, constraints and indexes without blocking. Functions that need the caller's search_path read it before `run_engine` pins another
//! one.

use super::{require_argument, run_engine, with_search_path};
use crate::engine::lifecycle::define;
use crate::engine::online_ddl::{self, ForeignKeyArguments, control};
use crate::error;
use crate::pg::argument::Text;
use crate::steps::columns::define::ColumnArguments;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::CStr;

fn name(value: Option<&CStr>, what: &'static str) -> error::Result<String> {
    Ok(require_argument(value, what)?
        .to_string_lossy()
        .into_owned())
}

fn names(all: Array<'_, &CStr>) -> error::Result<Vec<String>> {
    all.iter().map(|n| name(n, "a column")).collect()
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "the SQL function has them")]
fn mig_add_column(
    migration: Option<Text>,
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    type_text: Option<Text>,
    up: Option<Text>,
    down: Option<Text>,
    column_default: Option<Text>,
    not_null: Option<bool>,
    replaces: Option<&CStr>,
) -> Result<(), ErrorReport> {
    run_engine(|| {
        let asked = ColumnArguments {
            relation: require_argument(relation, "relation")?,
            name: name(column_name, "column_name")?,
            type_text: &require_argument(type_text, "type")?,
            up: &require_argument(up, "up")?,
            down: down.as_deref(),
            column_default: column_default.as_deref(),
            not_null: require_argument(not_null, "not_null")?,
            replaces: replaces.map(|r| r.to_string_lossy().into_owned()),
        };
        define::add_column(&require_argument(migration, "migration")?, &asked)
    })
}

#[pg_extern(sql = false)]
fn mig_set_not_null(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
) -> Result<Option<i64>, ErrorReport> {
    with_search_path(|path| {
        let column = name(column_name, "column_name")?;
        online_ddl::set_not_null(require_argument(relation, "relation")?, &column, path)
    })
}

#[pg_extern(sql = false)]
fn mig_add_check(
    relation: Option<pg_sys::Oid>,
    constraint_name: Option<&CStr>,
    expression: Option<Text>,
) -> Result<Option<i64>, ErrorReport> {
    with_search_path(|path| {
        let constraint = name(constraint_name, "constraint_name")?;
        let expression = &require_argument(expression, "expression")?;
        online_ddl::add_check(
            require_argument(relation, "relation")?,
            &constraint,
            expression,
            path,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_add_foreign_key(
    relation: Option<pg_sys::Oid>,
    constraint_name: Option<&CStr>,
    columns: Option<Array<'_, &CStr>>,
    ref_relation: Option<pg_sys::Oid>,
    ref_columns: Option<Array<'_, &CStr>>,
    on_delete: Option<Text>,
    on_update: Option<Text>,
) -> Result<Option<i64>, ErrorReport> {
    with_search_path(|path| {
        let constraint = name(constraint_name, "constraint_name")?;
        let key = ForeignKeyArguments {
            name: &constraint,
            columns: names(require_argument(columns, "columns")?)?,
            references: require_argument(ref_relation, "ref_relation")?,
            ref_columns: names(require_argument(ref_columns, "ref_columns")?)?,
            on_delete: &require_argument(on_delete, "on_delete")?,
            on_update: &require_argument(on_update, "on_update")?,
        };
        online_ddl::add_foreign_key(require_argument(relation, "relation")?, &key, path)
    })
}

#[pg_extern(sql = false)]
fn mig_create_index(statement: Option<Text>) -> Result<Option<i64>, ErrorReport> {
    with_search_path(|path| {
        online_ddl::create_index(&require_argument(statement, "statement")?, path)
    })
}

#[pg_extern(sql = false)]
fn mig_cancel_job(job: Option<i64>) -> Result<bool, ErrorReport> {
    run_engine(|| control::cancel(require_argument(job, "job")?))
}

#[pg_extern(sql = false)]
fn mig_wait_job(job: Option<i64>, timeout: Option<Interval>) -> Result<bool, ErrorReport> {
    run_engine(|| {
        let timeout = super::duration(require_argument(timeout, "timeout")?);
        control::wait_for(require_argument(job, "job")?, timeout)
    })
}
