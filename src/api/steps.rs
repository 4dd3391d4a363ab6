//! The functions that move a migration from phase to phase: all return `TABLE(source, target, action)`. pgrx reads that
//! type only where it is spelled out.

use super::{given, guarded};
use crate::engine::{Action, archive, cutover, detach, phases, rollback};
use crate::error;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

fn acted(
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
    let done = guarded(f)?;
    Ok(TableIterator::new(
        done.into_iter().map(|a| (a.source, a.target, a.action)),
    ))
}

#[pg_extern(sql = false)]
fn mig_create(
    migration: Option<&str>,
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
    acted(|| phases::create(migration))
}

#[pg_extern(sql = false)]
fn mig_dual_write(
    migration: Option<&str>,
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
    acted(|| phases::dual_write(migration))
}

#[pg_extern(sql = false)]
fn mig_rollback(
    migration: Option<&str>,
    to_phase: Option<&str>,
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
    acted(|| rollback::rollback(given(migration, "migration")?, to_phase))
}

#[pg_extern(sql = false)]
fn mig_detach(
    migration: Option<&str>,
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
    acted(|| detach::detach(migration))
}

#[pg_extern(sql = false)]
fn mig_drop(
    migration: Option<&str>,
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
    acted(|| {
        archive::drop(
            given(migration, "migration")?,
            given(archives, "archives")?,
            given(force, "force")?,
        )
    })
}

/// For the views: an unknown or ambiguous name is an error there as everywhere.

#[pg_extern(sql = false)]
fn mig_switch(
    migration: Option<&str>,
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
    acted(|| cutover::switch(migration, given(force, "force")?))
}

#[pg_extern(sql = false)]
fn mig_stop(
    migration: Option<&str>,
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
    acted(|| cutover::stop(migration))
}

#[pg_extern(sql = false)]
fn mig_archive(
    migration: Option<&str>,
    suffix: Option<&str>,
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
    acted(|| {
        archive::archive(
            migration,
            given(suffix, "suffix")?,
            given(compat_views, "compat_views")?,
            given(force, "force")?,
        )
    })
}
