//! Checks a block with PL/pgSQL's own compiler, without running it.

use super::raw;
use crate::error::Result;
use crate::model::lint::statement::BlockCheck;
use crate::pg::tx;
use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_void};

/// The compiler (plpgsql.h): compiles a text, and checks the SQL in it according to `check_function_bodies`.
type Compile = unsafe extern "C-unwind" fn(source: *mut c_char) -> *mut c_void;

/// The most tokens (words, numbers and signs) of a block that is compiled: the compiler looks for each new variable among all
/// others, and serves no interrupt meanwhile.
const MOST_TOKENS: usize = 20_000;

/// Returns the first error in the block; none also where this server's PL/pgSQL does not export its compiler.
///
/// Errors: those that the block does not cause, such as a cancel.
pub fn check(body: &str) -> Result<BlockCheck> {
    if raw::too_much(body, MOST_TOKENS).is_some() {
        return Ok(BlockCheck::TooLong);
    }
    let Ok(text) = CString::new(body) else {
        return Ok(BlockCheck::Fine);
    };
    match raw::in_own_memory(|| tx::probe(|| compile(&text))) {
        Ok(()) => Ok(BlockCheck::Fine),
        Err(e) => raw::syntax_message(e).map(BlockCheck::Wrong),
    }
}

#[allow(ffi_unwind_calls, reason = "the call is guarded")]
fn compile(text: &CString) -> Result<()> {
    // SAFETY: the name of a library of PostgreSQL and of a symbol in it; null where the symbol does not exist.
    let found = unsafe {
        pg_sys::load_external_function(
            c"$libdir/plpgsql".as_ptr(),
            c"plpgsql_compile_inline".as_ptr(),
            false,
            std::ptr::null_mut(),
        )
    };
    if found.is_null() {
        return Ok(());
    }
    // SAFETY: plpgsql.h declares the symbol this way since PostgreSQL 9.0; it allocates in the current memory context, and raises
    // an ERROR on a syntax error, which the caller's subtransaction catches.
    unsafe {
        let compile: Compile = std::mem::transmute::<*mut c_void, Compile>(found);
        pg_sys::ffi::pg_guard_ffi_boundary(|| compile(text.as_ptr().cast_mut()));
    }
    Ok(())
}
