//! Catches a PostgreSQL ERROR as a value. What has to be rolled back is the caller's to know.

#![allow(
    ffi_unwind_calls,
    reason = "the callback has nothing to drop and calls nothing that raises"
)]

use crate::error::{Error, Result};
use crate::pg::error_context::{class, geterrcode};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr::null_mut;

thread_local! {
    /// The SQLSTATE that PostgreSQL raised last.
    static RAISED: Cell<c_int> = const { Cell::new(0) };
}

/// Runs `f`; an ERROR or a panic in it becomes an Err.
pub fn catch<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut link = pg_sys::ErrorContextCallback {
        previous: null_mut(),
        callback: Some(note_code),
        arg: null_mut(),
    };
    RAISED.set(0);
    // SAFETY: the entry is taken off below, when nothing that runs under it is left; code that unwinds restores the stack up to it.
    let before = unsafe {
        link.previous = pg_sys::error_context_stack;
        pg_sys::error_context_stack = &raw mut link;
        link.previous
    };
    let outcome = PgTryBuilder::new(AssertUnwindSafe(f))
        .catch_others(|caught| Err(from_caught(caught)))
        .catch_rust_panic(|caught| Err(from_caught(caught)))
        .execute();
    // SAFETY: as above.
    unsafe { pg_sys::error_context_stack = before };
    outcome
}

/// Called in the middle of errfinish(), so it looks nothing up.
unsafe extern "C-unwind" fn note_code(_argument: *mut c_void) {
    // SAFETY: an error, a warning or a notice is being raised.
    let code = unsafe { geterrcode() };
    if !matches!(&class(code), b"00" | b"01" | b"02") {
        RAISED.set(code);
    }
}

fn from_caught(caught: CaughtError) -> Error {
    let report = match caught {
        CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    // pgrx takes a code that PostgreSQL does not define for an internal error. Only functions of users raise those.
    let code = match report.sql_error_code() {
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR if is_own_code(RAISED.get()) => {
            PgSqlErrorCode::ERRCODE_RAISE_EXCEPTION
        }
        code => code,
    };
    Error::sql(
        code,
        report.message().to_owned(),
        report.detail().map(str::to_owned),
    )
}

/// Whether a user made up the code.
fn is_own_code(code: c_int) -> bool {
    code != 0
        && class(code) != *b"XX"
        && PgSqlErrorCode::from(code) == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
}
