//! The functions that SQL calls: they read the arguments, call the engine and return its result. The SQL side of each function (argument
//! names, defaults, comments) is in `sql/install/`.

mod changes;
mod lint;
mod proof;
mod steps;

use crate::engine::job::control;
use crate::engine::lifecycle::{cutover, define};
use crate::engine::plan;
use crate::error::{self, Error};
use crate::model::spec::TableArguments;
use crate::pg::argument::{Document, Text};
use crate::pg::{encoding, guc, role, syscache};
use crate::steps::define::scope::ScopeArguments;
use crate::store::migration;
use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::CStr;
use std::time::Duration;

/// Returns an argument that must not be null. Errors: 22004.
fn require_argument<T>(value: Option<T>, name: &'static str) -> error::Result<T> {
    value.ok_or_else(|| Error::null_argument(name))
}

/// Converts an interval: a negative one becomes zero, and one that is too long for a count of microseconds becomes `Duration::MAX`.
fn duration(interval: Interval) -> Duration {
    let micros = interval.as_micros().max(0);
    u64::try_from(micros).map_or(Duration::MAX, Duration::from_micros)
}

/// As `run_engine`, with the caller's own search_path as an argument. The SQL function does not set one.
fn with_search_path<T>(f: impl FnOnce(&str) -> error::Result<T>) -> Result<T, ErrorReport> {
    let path = guc::own_search_path();
    run_engine(|| f(&path))
}

/// Runs the engine with the settings that its statements depend on.
fn run_engine<T>(f: impl FnOnce() -> error::Result<T>) -> Result<T, ErrorReport> {
    let _safe = guc::pin(&guc::SAFE);
    encoding::require_utf8()
        .and_then(|()| migration::require_up_to_date())
        .and_then(|()| f())
        .map_err(ErrorReport::from)
}

#[pg_extern(sql = false)]
fn mig_define(
    migration: Option<Text>,
    scope_table: Option<pg_sys::Oid>,
    scope_value: Option<Text>,
    scope_column: Option<&CStr>,
    options: Option<Document>,
) -> Result<String, ErrorReport> {
    with_search_path(|path| {
        let column = require_argument(scope_column, "scope_column")?;
        let scope = ScopeArguments {
            table: scope_table,
            value: scope_value.map(|v| v.to_owned()),
            column: column.to_string_lossy().into_owned(),
        };
        let options = require_argument(options, "options")?;
        define::define(
            &require_argument(migration, "migration")?,
            &scope,
            &options.0,
            path,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_define_config(config: Option<Document>) -> Result<String, ErrorReport> {
    with_search_path(|path| define::define_config(&require_argument(config, "config")?.0, path))
}

#[pg_extern(sql = false)]
fn mig_config(migration: Option<Text>) -> Result<JsonB, ErrorReport> {
    run_engine(|| {
        Ok(JsonB(
            serde_json::to_value(plan::config(migration.as_deref())?).unwrap_or_default(),
        ))
    })
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn mig_add_table(
    migration: Option<Text>,
    source: Option<pg_sys::Oid>,
    target: Option<Text>,
    unique_keys: Option<Document>,
    columns: Option<Document>,
    refs: Option<Document>,
    target_key: Option<Document>,
    id_mode: Option<Text>,
    filter: Option<Text>,
    combine: Option<Text>,
) -> Result<(), ErrorReport> {
    let json = |v: Option<Document>| v.map(|d| d.0);
    let text = |v: Option<Text>| v.map(|t| t.to_owned());
    run_engine(|| {
        let arguments = TableArguments {
            unique_keys: json(unique_keys),
            columns: json(columns),
            refs: json(refs),
            target_key: json(target_key),
            id_mode: require_argument(id_mode, "id_mode")?.to_owned(),
            filter: text(filter),
            combine: text(combine),
        };
        let (migration, source) = (
            &require_argument(migration, "migration")?,
            require_argument(source, "source")?,
        );
        define::add_table(
            migration,
            source,
            &require_argument(target, "target")?,
            &arguments,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_configure(migration: Option<Text>, options: Option<Document>) -> Result<JsonB, ErrorReport> {
    run_engine(|| {
        let options = require_argument(options, "options")?;
        define::configure(&require_argument(migration, "migration")?, &options.0).map(JsonB)
    })
}

#[pg_extern(sql = false)]
fn mig_preflight(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(severity, String),
            name!(check_name, String),
            name!(relation, Option<pg_sys::Oid>),
            name!(detail, String),
            name!(hint, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let found = run_engine(|| plan::preflight(migration.as_deref()))?;
    Ok(TableIterator::new(found.into_iter().map(|f| {
        (
            f.severity.to_string(),
            f.check_name,
            f.relation.map(pg_sys::Oid::from),
            f.detail,
            f.hint,
        )
    })))
}

#[pg_extern(sql = false)]
fn mig_plan(
    migration: Option<Text>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(step, i32),
            name!(phase, String),
            name!(relation, String),
            name!(action, String),
            name!(lock_mode, String),
            name!(est_rows, i64),
            name!(est_bytes, i64),
        ),
    >,
    ErrorReport,
> {
    let steps = run_engine(|| plan::plan(migration.as_deref()))?;
    Ok(TableIterator::new((1..).zip(steps).map(|(n, s)| {
        (
            n,
            s.phase.to_string(),
            s.statement.relation.plain(),
            s.statement.sql,
            s.statement.lock.to_owned(),
            s.rows,
            s.bytes,
        )
    })))
}

#[pg_extern(sql = false)]
fn mig_ddl(
    migration: Option<Text>,
    phase: Option<Text>,
) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    Ok(SetOfIterator::new(run_engine(|| {
        plan::ddl(migration.as_deref(), &require_argument(phase, "phase")?)
    })?))
}

#[pg_extern(sql = false)]
fn mig_backfill(migration: Option<Text>, driver: Option<Text>) -> Result<i64, ErrorReport> {
    run_engine(|| control::backfill(migration.as_deref(), &require_argument(driver, "driver")?))
}

#[pg_extern(sql = false)]
fn mig_step(migration: Option<Text>, max_ms: Option<i32>) -> Result<i64, ErrorReport> {
    run_engine(|| control::step(migration.as_deref(), require_argument(max_ms, "max_ms")?))
}

#[pg_extern(sql = false)]
fn mig_step_of(job: i64, max_ms: i32) -> Result<i64, ErrorReport> {
    run_engine(|| control::step_of(job, max_ms))
}

#[pg_extern(sql = false)]
fn mig_pause(migration: Option<Text>) -> Result<bool, ErrorReport> {
    run_engine(|| control::pause(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_resume(migration: Option<Text>) -> Result<bool, ErrorReport> {
    run_engine(|| control::resume(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_cancel(migration: Option<Text>) -> Result<bool, ErrorReport> {
    run_engine(|| control::cancel(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_wait(migration: Option<Text>, timeout: Option<Interval>) -> Result<bool, ErrorReport> {
    run_engine(|| {
        let timeout = duration(require_argument(timeout, "timeout")?);
        control::wait_for(migration.as_deref(), timeout)
    })
}

#[pg_extern(sql = false)]
fn mig_only(migration: Option<Text>) -> Result<String, ErrorReport> {
    run_engine(|| migration::find_visible(migration.as_deref()).map(|m| m.name))
}

#[pg_extern(sql = false)]
fn mig_open_job(migration: Option<Text>) -> Result<Option<i64>, ErrorReport> {
    run_engine(|| control::open(migration.as_deref()))
}

#[pg_extern(sql = false)]
fn mig_cron_drives(job: i64) -> Result<bool, ErrorReport> {
    run_engine(|| control::cron_drives(job))
}

#[pg_extern(sql = false)]
fn mig_is_owner(relation: pg_sys::Oid) -> bool {
    let owner = syscache::owner_of(relation);
    owner.is_some_and(|o| role::has_privileges_of(role::current(), o))
}

#[pg_extern(sql = false)]
fn mig_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[pg_extern(sql = false)]
fn mig_map(
    migration: Option<Text>,
    source: Option<pg_sys::Oid>,
    old_key: Option<Text>,
) -> Result<Option<String>, ErrorReport> {
    run_engine(|| {
        plan::new_id(
            migration.as_deref(),
            require_argument(source, "source")?,
            &require_argument(old_key, "old_key")?,
        )
    })
}

#[pg_extern(sql = false)]
fn mig_reads(migration: Option<Text>) -> Result<&'static str, ErrorReport> {
    run_engine(|| cutover::reads(migration.as_deref()))
}
