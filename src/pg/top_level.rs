//! Commands that must stand at the top level (CREATE INDEX CONCURRENTLY), from a worker: SPI refuses them.

use crate::error::{Error, Result};
use crate::pg::{role, tx};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CString;
use std::panic::AssertUnwindSafe;

/// Runs one utility command that opens and closes transactions by itself, as `role`: what it says may call functions of that
/// role's. Must be called with no transaction open; none is open after it either, whether it worked or not.
pub fn run_top_level(sql: &str, role: pg_sys::Oid) -> Result<()> {
    let text = CString::new(sql).map_err(|_| Error::Internal("NUL in SQL text".into()))?;
    let mine = role::current();
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: no transaction is open, as this function demands.
        unsafe { execute(&text, role) }
    }))
    .catch_others(|caught| Err(tx::from_caught(caught)))
    .execute();
    // SAFETY: an ERROR left a transaction open, which this cleans up as the server's main loop would. That restores the role which the
    // innermost transaction began with, the command's: this process has its own again.
    unsafe {
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::SetUserIdAndSecContext(mine, 0);
    }
    outcome
}

/// # Safety
/// Only with no transaction open.
unsafe fn execute(text: &CString, role: pg_sys::Oid) -> Result<()> {
    // SAFETY: what exec_simple_query() in postgres.c does for one utility statement. Parse tree and parse
    // state live in a context of their own, because the command commits transactions under way.
    unsafe {
        pg_sys::StartTransactionCommand();
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_mig utility".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if parsed.is_null() || (*parsed).length != 1 {
            return Err(Error::Internal("not one statement".into()));
        }
        let statement = pg_sys::list_nth(parsed, 0) as *mut pg_sys::RawStmt;
        let plan = plan_utility(statement, text);
        if !role::is_whole_session(role) {
            let flags =
                pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
            pg_sys::SetUserIdAndSecContext(role, flags as i32);
        }
        process(
            plan,
            text,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
        );
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::MemoryContextDelete(context);
    }
    Ok(())
}

/// Runs a utility statement inside the transaction.
///
/// # Safety
/// `statement` was parsed from `text`, and is a utility statement.
pub unsafe fn run_parsed(statement: *mut pg_sys::RawStmt, text: &CString) {
    // SAFETY: as the caller says.
    unsafe {
        let plan = plan_utility(statement, text);
        process(
            plan,
            text,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY,
        );
        pg_sys::CommandCounterIncrement();
    }
}

/// # Safety
/// `statement` was parsed from `text`, and is a utility statement.
unsafe fn plan_utility(
    statement: *mut pg_sys::RawStmt,
    text: &CString,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: as the caller says; one utility statement gives one plan.
    unsafe {
        let queries = analyze(statement, text);
        let plans = pg_sys::pg_plan_queries(queries, text.as_ptr(), 0, std::ptr::null_mut());
        pg_sys::list_nth(plans, 0) as *mut pg_sys::PlannedStmt
    }
}

/// # Safety
/// `plan` is of `text`, and a snapshot is active.
unsafe fn process(
    plan: *mut pg_sys::PlannedStmt,
    text: &CString,
    context: pg_sys::ProcessUtilityContext::Type,
) {
    // SAFETY: as the caller says.
    unsafe {
        pg_sys::ProcessUtility(
            plan,
            text.as_ptr(),
            false,
            context,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
    }
}

#[cfg(not(feature = "pg14"))]
unsafe fn analyze(statement: *mut pg_sys::RawStmt, text: &CString) -> *mut pg_sys::List {
    // SAFETY: a statement just parsed from `text`, without parameters.
    unsafe {
        pg_sys::pg_analyze_and_rewrite_fixedparams(
            statement,
            text.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
        )
    }
}

#[cfg(feature = "pg14")]
unsafe fn analyze(statement: *mut pg_sys::RawStmt, text: &CString) -> *mut pg_sys::List {
    // SAFETY: a statement just parsed from `text`, without parameters.
    unsafe {
        pg_sys::pg_analyze_and_rewrite(
            statement,
            text.as_ptr(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        )
    }
}
