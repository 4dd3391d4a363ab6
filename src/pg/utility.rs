//! Commands that must stand at the top level (CREATE INDEX CONCURRENTLY), from a worker: SPI refuses them.

use crate::error::{Error, Result};
use crate::pg::tx;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CString;
use std::panic::AssertUnwindSafe;

/// Runs one utility command that opens and closes transactions by itself. Must be called with no
/// transaction open; none is open after it either, whether it worked or not.
pub fn run_top_level(sql: &str) -> Result<()> {
    let text = CString::new(sql).map_err(|_| Error::Internal("NUL in SQL text".into()))?;
    PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: no transaction is open, as this function demands.
        unsafe { execute(&text) };
        Ok(())
    }))
    .catch_others(|caught| {
        let error = tx::from_caught(caught);
        // SAFETY: the ERROR left a transaction open; this cleans it up as the server's main loop would.
        unsafe { pg_sys::AbortCurrentTransaction() };
        Err(error)
    })
    .execute()
}

/// # Safety
/// Only with no transaction open.
unsafe fn execute(text: &CString) {
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
        let statement = pg_sys::list_nth(parsed, 0) as *mut pg_sys::RawStmt;
        let queries = analyze(statement, text);
        let plans = pg_sys::pg_plan_queries(queries, text.as_ptr(), 0, std::ptr::null_mut());
        pg_sys::ProcessUtility(
            pg_sys::list_nth(plans, 0) as *mut pg_sys::PlannedStmt,
            text.as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::MemoryContextDelete(context);
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
