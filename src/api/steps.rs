//! The functions that move a migration from phase to phase. All return `TABLE(source, target, action)`; pgrx reads that type only where it
//! is written out.

use super::{require_argument, run_engine};
use crate::engine::lifecycle::{archive, create, cutover, detach, rollback};
use crate::engine::types::Action;
use crate::error;
use crate::pg::argument::Text;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

fn run_step(
    f: impl FnOnce() -> error::Result<Vec<Action>>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    let done = run_engine(f)?;
    Ok(TableIterator::new(
        done.into_iter().map(|a| (a.source, a.target, a.action)),
    ))
}

#[pg_extern(sql = false)]
fn mig_create(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| create::create(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_dual_write(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| create::dual_write(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_rollback(
    migration: Option<Text>,
    to_phase: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| {
        rollback::rollback(
            &require_argument(migration, "migration")?,
            to_phase.as_deref(),
        )
    })
}

#[pg_extern(sql = false)]
fn mig_detach(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| detach::detach(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_drop(
    migration: Option<Text>,
    archives: Option<bool>,
    force: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| {
        archive::drop(
            &require_argument(migration, "migration")?,
            require_argument(archives, "archives")?,
            require_argument(force, "force")?,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_switch(
    migration: Option<Text>,
    force: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| cutover::switch(migration.as_deref(), require_argument(force, "force")?))
}

#[pg_extern(sql = false)]
fn mig_stop(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| cutover::stop(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_archive(
    migration: Option<Text>,
    suffix: Option<Text>,
    compat_views: Option<bool>,
    force: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(source, Option<pg_sys::Oid>),
            name!(target, Option<pg_sys::Oid>),
            name!(action, String),
        ),
    >,
    ErrorReport,
> {
    run_step(|| {
        archive::archive(
            migration.as_deref(),
            &require_argument(suffix, "suffix")?,
            require_argument(compat_views, "compat_views")?,
            require_argument(force, "force")?,
        )
    })
}
