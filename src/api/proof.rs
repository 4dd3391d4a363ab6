//! Checks, differences, repair and the checklist.

use super::{require_argument, run_engine};
use crate::engine::proof::{check, checklist, repair};
use crate::engine::types::CheckArguments;
use crate::error;
use crate::pg::argument::Text;
use crate::pg::document::JsonText;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

fn read_check_arguments<'a>(
    migration: &'a Option<Text>,
    mode: &'a Option<Text>,
    relation: Option<pg_sys::Oid>,
    sample: Option<i32>,
) -> error::Result<CheckArguments<'a>> {
    Ok(CheckArguments {
        migration: migration.as_deref(),
        mode: require_argument(mode.as_deref(), "mode")?,
        relation,
        sample: require_argument(sample, "sample")?,
    })
}

#[pg_extern(sql = false)]
fn mig_check(
    migration: Option<Text>,
    mode: Option<Text>,
    relation: Option<pg_sys::Oid>,
    sample: Option<i32>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(check_name, String),
            name!(source_value, Option<String>),
            name!(target_value, Option<String>),
            name!(ok, Option<bool>),
        ),
    >,
    ErrorReport,
> {
    let lines =
        run_engine(|| check::check(&read_check_arguments(&migration, &mode, relation, sample)?))?;
    Ok(TableIterator::new(lines.into_iter().map(|l| {
        (
            Some(pg_sys::Oid::from(l.source)),
            l.target.map(pg_sys::Oid::from),
            l.name,
            l.source_value,
            l.target_value,
            l.ok,
        )
    })))
}

#[pg_extern(sql = false)]
fn mig_check_start(
    migration: Option<Text>,
    mode: Option<Text>,
    relation: Option<pg_sys::Oid>,
    sample: Option<i32>,
    driver: Option<Text>,
) -> Result<i64, ErrorReport> {
    run_engine(|| {
        check::start(
            &read_check_arguments(&migration, &mode, relation, sample)?,
            &require_argument(driver, "driver")?,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_assert(migration: Option<Text>, mode: Option<Text>) -> Result<(), ErrorReport> {
    run_engine(|| check::assert(migration.as_deref(), &require_argument(mode, "mode")?))
}

#[pg_extern(sql = false)]
fn mig_diff(
    migration: Option<Text>,
    relation: Option<pg_sys::Oid>,
    max_rows: Option<i32>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(key, Option<JsonText>),
            name!(kind, String),
            name!(source_row, Option<JsonText>),
            name!(target_row, Option<JsonText>),
        ),
    >,
    ErrorReport,
> {
    let found = run_engine(|| {
        let relation = require_argument(relation, "relation")?;
        check::diff(
            migration.as_deref(),
            relation,
            require_argument(max_rows, "max_rows")?,
        )
    })?;
    Ok(TableIterator::new(
        found
            .into_iter()
            .map(|d| (d.key, d.kind, d.source, d.target)),
    ))
}

#[pg_extern(sql = false)]
fn mig_repair(
    migration: Option<Text>,
    relation: Option<pg_sys::Oid>,
    dry_run: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, pg_sys::Oid),
            name!(kind, String),
            name!(rows, i64),
        ),
    >,
    ErrorReport,
> {
    let done = run_engine(|| {
        repair::repair(
            migration.as_deref(),
            relation,
            require_argument(dry_run, "dry_run")?,
        )
    })?;
    Ok(TableIterator::new(done.into_iter().map(|r| {
        (pg_sys::Oid::from(r.source), r.kind.to_owned(), r.rows)
    })))
}

#[pg_extern(sql = false)]
fn mig_checklist(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(phase, String),
            name!(item, String),
            name!(ok, Option<bool>),
            name!(detail, String),
        ),
    >,
    ErrorReport,
> {
    let items = run_engine(|| checklist::checklist(migration.as_deref()))?;
    Ok(TableIterator::new(
        items
            .into_iter()
            .map(|i| (i.phase.to_owned(), i.item, i.ok, i.detail)),
    ))
}
