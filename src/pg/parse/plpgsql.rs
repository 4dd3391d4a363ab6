//! What PL/pgSQL's own compiler says of a block, which it does not run.

use super::Place;
use crate::pg::tx;
use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_void};

/// plpgsql.h: makes a program of a text, and checks the SQL in it as `check_function_bodies` says.
type Compile = unsafe extern "C-unwind" fn(source: *mut c_char) -> *mut c_void;

/// The first thing that is wrong, and where in the text. None also where this server's PL/pgSQL hides its compiler.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
pub fn wrong(body: &str) -> Option<(usize, String)> {
    let text = CString::new(body).ok()?;
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
        return None;
    }
    // SAFETY: plpgsql.h declares the symbol so from PostgreSQL 9.0 on.
    let compile: Compile = unsafe { std::mem::transmute::<*mut c_void, Compile>(found) };
    let mut place = Place::default();
    let compiled = place.noting(|| {
        tx::probe(|| {
            // SAFETY: allocates in the current memory context, and raises on a syntax error, which the subtransaction catches.
            unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| compile(text.as_ptr().cast_mut())) };
            Ok(())
        })
    });
    let message = super::message(compiled.err()?);
    Some((place.inner(body), message))
}
