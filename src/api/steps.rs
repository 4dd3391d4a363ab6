//! The functions that move a migration from phase to phase: all return `TABLE(source, target, action)`. pgrx reads that
//! type only where it is spelled out.

use super::{given, guarded};
use crate::engine::{Action, archive, cutover, detach, phases, rollback};
use crate::error;
use crate::pg::argument::Text;
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
    acted(|| phases::create(migration.as_deref()))
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
    acted(|| phases::dual_write(migration.as_deref()))
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
    acted(|| rollback::rollback(&given(migration, "migration")?, to_phase.as_deref()))
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
    acted(|| detach::detach(migration.as_deref()))
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
    acted(|| {
        archive::drop(
            &given(migration, "migration")?,
            given(archives, "archives")?,
            given(force, "force")?,
        )
    })
}

/// For the views: an unknown or ambiguous name is an error there as everywhere.

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
    acted(|| cutover::switch(migration.as_deref(), given(force, "force")?))
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
    acted(|| cutover::stop(migration.as_deref()))
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
    acted(|| {
        archive::archive(
            migration.as_deref(),
            &given(suffix, "suffix")?,
            given(compat_views, "compat_views")?,
            given(force, "force")?,
        )
    })
}
