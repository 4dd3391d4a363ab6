//! Hooks of the planner and the executor, which see the statements of everybody. They are called by the server and call it again, so an ERROR of
//! the application passes through: it must not meet a border of pgrx, which would raise it again without CONTEXT and without the names
//! of table and constraint. So the frames here have nothing to drop, call the server directly, and leave the rest to functions that
//! return before.

#![allow(
    ffi_unwind_calls,
    reason = "an ERROR of the server passes; nothing here is dropped"
)]
#![allow(
    improper_ctypes_definitions,
    reason = "what has a guard of pgrx is called from here alone"
)]

use crate::pg::guc::{self, SettingsGuard};
use crate::pg::{application_path, plan_guard, silent_triggers};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{c_char, c_int};

/// The server's functions, without the wrappers of pgrx.
mod server {
    use pgrx::pg_sys::{ParamListInfo, PlannedStmt, Query, QueryDesc, ScanDirection};
    use std::ffi::{c_char, c_int};

    unsafe extern "C-unwind" {
        pub fn standard_planner(
            query: *mut Query,
            text: *const c_char,
            options: c_int,
            parameters: ParamListInfo,
        ) -> *mut PlannedStmt;
        pub fn standard_ExecutorStart(query: *mut QueryDesc, flags: c_int);
        pub fn standard_ExecutorRun(
            query: *mut QueryDesc,
            direction: ScanDirection::Type,
            count: u64,
            once: bool,
        );
        pub fn standard_ExecutorFinish(query: *mut QueryDesc);
    }
}

thread_local! {
    static PLANNER: Cell<pg_sys::planner_hook_type> = const { Cell::new(None) };
    static START: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
    static RUN: Cell<pg_sys::ExecutorRun_hook_type> = const { Cell::new(None) };
    static FINISH: Cell<pg_sys::ExecutorFinish_hook_type> = const { Cell::new(None) };
}

/// Called once in each process that loads the library.
pub fn register() {
    // SAFETY: a PostgreSQL process has one thread, and no statement is being planned or started.
    unsafe {
        PLANNER.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
        START.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(start);
        RUN.set(pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(run);
        FINISH.set(pg_sys::ExecutorFinish_hook);
        pg_sys::ExecutorFinish_hook = Some(finish);
    }
}

/// A nesting level of settings, or 0 for none.
type Level = c_int;

fn level_of(settings: Option<SettingsGuard>) -> Level {
    settings.map_or(0, SettingsGuard::into_level)
}

#[pg_guard]
unsafe extern "C-unwind" fn restore(level: Level) {
    if level > 0 {
        drop(guc::from_level(level));
    }
}

unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the server passes what its planner takes; nothing here has to be dropped when an ERROR passes.
    unsafe {
        let level = before_plan(query, text);
        let planned = match PLANNER.get() {
            Some(previous) => previous(query, text, options, parameters),
            None => server::standard_planner(query, text, options, parameters),
        };
        restore(level);
        planned
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_plan(query: *mut pg_sys::Query, text: *const c_char) -> Level {
    // SAFETY: passed on.
    level_of(unsafe { plan_guard::check(query, text) })
}

unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: the server passes a query that is ready to start; nothing here has to be dropped when an ERROR passes.
    unsafe {
        let mut level = 0;
        let mut writer = None;
        let flags = before_start(query, flags, &mut writer, &mut level);
        match START.get() {
            Some(previous) => previous(query, flags),
            None => server::standard_ExecutorStart(query, flags),
        }
        after_start(query, flags, writer);
        restore(level);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_start(
    query: *mut pg_sys::QueryDesc,
    flags: c_int,
    writer: &mut Option<silent_triggers::Writer>,
    level: &mut Level,
) -> c_int {
    // SAFETY: passed on. Opening a table looks into the functions of its indexes.
    unsafe {
        *level = level_of(application_path::switch_for_query(query));
        *writer = silent_triggers::writer_of(query, flags);
        silent_triggers::flags_for(query, flags, *writer)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn after_start(
    query: *mut pg_sys::QueryDesc,
    flags: c_int,
    writer: Option<silent_triggers::Writer>,
) {
    if let Some(writer) = writer {
        // SAFETY: the query has just been started.
        unsafe { silent_triggers::silence(query, flags, writer) };
    }
}

unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    // SAFETY: the server passes a started query; nothing here has to be dropped when an ERROR passes.
    unsafe {
        let level = before_run(query);
        match RUN.get() {
            Some(previous) => previous(query, direction, count, once),
            None => server::standard_ExecutorRun(query, direction, count, once),
        }
        restore(level);
    }
}

/// AFTER triggers fire here: actions of foreign keys, which write other tables.
unsafe extern "C-unwind" fn finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as for `run`.
    unsafe {
        let level = before_run(query);
        match FINISH.get() {
            Some(previous) => previous(query),
            None => server::standard_ExecutorFinish(query),
        }
        restore(level);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_run(query: *mut pg_sys::QueryDesc) -> Level {
    // SAFETY: passed on.
    level_of(unsafe { application_path::switch_for_query(query) })
}
