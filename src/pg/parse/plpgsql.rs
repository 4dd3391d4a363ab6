//! What PL/pgSQL's own compiler says of a block, which it does not run.

use super::raw;
use crate::error::Result;
use crate::model::lint::statement::BlockCheck;
use crate::pg::tx;
use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_void};

/// plpgsql.h: makes a program of a text, and checks the SQL in it as `check_function_bodies` says.
type Compile = unsafe extern "C-unwind" fn(source: *mut c_char) -> *mut c_void;

/// Words, numbers and signs of a block that is compiled: the compiler looks for each new variable among all others, and hears no
/// interrupt meanwhile.
const MOST_TOKENS: usize = 20_000;

/// The first thing that is wrong. Nothing also where this server's PL/pgSQL hides its compiler.
///
/// Errors: what does not lie in the block, as a cancel.
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
    // SAFETY: the name of a library of PostgreSQL's own, and a symbol of it; null where it is not there.
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
    // SAFETY: plpgsql.h declares the symbol so from PostgreSQL 9.0 on; it allocates in the current memory context, and raises on a
    // syntax error, which the caller's subtransaction catches.
    unsafe {
        let compile: Compile = std::mem::transmute::<*mut c_void, Compile>(found);
        pg_sys::ffi::pg_guard_ffi_boundary(|| compile(text.as_ptr().cast_mut()));
    }
    Ok(())
}
