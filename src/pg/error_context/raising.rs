//! PostgreSQL's functions that fill in an ERROR, and the kinds of ERROR texts.

use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};

// Declared as in `do_ereport` of pgrx: without a guard, because PostgreSQL handles an ERROR in a callback. No Rust frame in between
// has anything to drop.
unsafe extern "C-unwind" {
    pub fn errcode(code: c_int) -> c_int;
    pub fn errmsg_internal(format: *const c_char, ...) -> c_int;
    pub fn errdetail_internal(format: *const c_char, ...) -> c_int;
    pub fn errdetail_log(format: *const c_char, ...) -> c_int;
    pub fn errhint(format: *const c_char, ...) -> c_int;
    pub fn errcontext_msg(format: *const c_char, ...) -> c_int;
    fn err_generic_string(field: c_int, text: *const c_char) -> c_int;
    pub fn geterrcode() -> c_int;
    pub fn CopyErrorData() -> *mut pg_sys::ErrorData;
    pub fn MemoryContextStrdup(context: pg_sys::MemoryContext, text: *const c_char) -> *mut c_char;
}

/// What the texts of an error may contain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Names in the message, values in the detail.
    Constraint,
    /// Server states and privileges.
    Harmless,
    /// Anything, for example from a conversion or a function.
    Free,
}

impl ErrorKind {
    /// # Safety
    /// Pointers that are not null in `error` are C strings.
    pub unsafe fn classify(error: &pg_sys::ErrorData) -> Self {
        /// Source files in which procedural languages raise a function's own message, under any SQLSTATE.
        const LANGUAGES: [&CStr; 4] = [c"pl_exec.c", c"plperl.c", c"plpy_elog.c", c"pltcl.c"];
        let spoken = !error.filename.is_null() && {
            // SAFETY: upheld by the caller.
            let file = unsafe { CStr::from_ptr(error.filename) };
            LANGUAGES.contains(&file)
        };
        let named = [error.table_name, error.constraint_name, error.datatype_name];
        match &class(error.sqlerrcode) {
            _ if spoken => ErrorKind::Free,
            b"23" if named.iter().any(|n| !n.is_null()) => ErrorKind::Constraint,
            b"40" | b"53" | b"54" | b"55" | b"57" | b"58" => ErrorKind::Harmless,
            b"42" if state(error.sqlerrcode) == *b"42501" => ErrorKind::Harmless,
            _ => ErrorKind::Free,
        }
    }
}

/// Restores the fields that pgrx leaves out.
///
/// # Safety
/// Pointers that are not null in `first` are C strings; an ERROR is being raised.
pub unsafe fn restore(first: &pg_sys::ErrorData) {
    for (field, text) in [
        (pg_sys::PG_DIAG_SCHEMA_NAME, first.schema_name),
        (pg_sys::PG_DIAG_TABLE_NAME, first.table_name),
        (pg_sys::PG_DIAG_COLUMN_NAME, first.column_name),
        (pg_sys::PG_DIAG_DATATYPE_NAME, first.datatype_name),
        (pg_sys::PG_DIAG_CONSTRAINT_NAME, first.constraint_name),
    ] {
        if !text.is_null() {
            // SAFETY: upheld by the caller.
            unsafe { err_generic_string(c_int::from(field), text) };
        }
    }
    if !first.detail_log.is_null() {
        // SAFETY: upheld by the caller.
        unsafe { set_text(errdetail_log, first.detail_log) };
    }
}

/// # Safety
/// `set` takes a format and sets a text of the ERROR that is being raised; `text` is null or a C string.
pub unsafe fn set_text(
    set: unsafe extern "C-unwind" fn(*const c_char, ...) -> c_int,
    text: *const c_char,
) {
    if !text.is_null() {
        // SAFETY: upheld by the caller.
        unsafe { set(c"%s".as_ptr(), text) };
    }
}

/// # Safety
/// Both are null or C strings.
pub unsafe fn is_same(a: *const c_char, b: *const c_char) -> bool {
    // SAFETY: upheld by the caller.
    !a.is_null() && !b.is_null() && unsafe { CStr::from_ptr(a) == CStr::from_ptr(b) }
}

/// Returns the five characters of an SQLSTATE, six bits each (MAKE_SQLSTATE in elog.h).
pub fn state(code: c_int) -> [u8; 5] {
    std::array::from_fn(|n| ((code >> (6 * n)) & 0x3f) as u8 + b'0')
}

pub fn class(code: c_int) -> [u8; 2] {
    let [a, b, ..] = state(code);
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for text in ["23505", "22P02", "42501", "XX000", "P0001"] {
            let bytes = text.as_bytes();
            let code = (0..5).fold(0, |all, n| {
                all | ((c_int::from(bytes[n]) - 0x30) & 0x3f) << (6 * n)
            });
            assert_eq!(state(code), bytes);
        }
    }
}
