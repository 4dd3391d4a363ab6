//! PostgreSQL's functions that make an ERROR, and what an ERROR says.

use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};

// As `do_ereport` of pgrx has them: without a guard, because an ERROR in a callback is PostgreSQL's to handle. No frame of ours
// in between has anything to drop.
unsafe extern "C-unwind" {
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

/// What may be in the texts of an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Names in the message, values in the detail.
    Constraint,
    /// States of the server and rights.
    Harmless,
    /// Anything, as from a conversion or a function.
    Free,
}

impl ErrorKind {
    /// # Safety
    /// What is not null in `error` is a C string.
    pub unsafe fn classify(error: &pg_sys::ErrorData) -> Self {
        /// Where procedural languages raise what a function wants to say, under whatever SQLSTATE.
        const LANGUAGES: [&CStr; 4] = [c"pl_exec.c", c"plperl.c", c"plpy_elog.c", c"pltcl.c"];
        let spoken = !error.filename.is_null() && {
            // SAFETY: as the caller says.
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

/// What pgrx leaves out.
///
/// # Safety
/// What is not null in `first` is a C string; an ERROR is being raised.
pub unsafe fn restore(first: &pg_sys::ErrorData) {
    for (field, text) in [
        (pg_sys::PG_DIAG_SCHEMA_NAME, first.schema_name),
        (pg_sys::PG_DIAG_TABLE_NAME, first.table_name),
        (pg_sys::PG_DIAG_COLUMN_NAME, first.column_name),
        (pg_sys::PG_DIAG_DATATYPE_NAME, first.datatype_name),
        (pg_sys::PG_DIAG_CONSTRAINT_NAME, first.constraint_name),
    ] {
        if !text.is_null() {
            // SAFETY: as the caller says.
            unsafe { err_generic_string(c_int::from(field), text) };
        }
    }
    if !first.detail_log.is_null() {
        // SAFETY: as the caller says.
        unsafe { set_text(errdetail_log, first.detail_log) };
    }
}

/// # Safety
/// `set` sets a text of the ERROR that is being raised, by a format, and `text` is null or a C string.
pub unsafe fn set_text(
    set: unsafe extern "C-unwind" fn(*const c_char, ...) -> c_int,
    text: *const c_char,
) {
    if !text.is_null() {
        // SAFETY: as the caller says.
        unsafe { set(c"%s".as_ptr(), text) };
    }
}

/// # Safety
/// Both are null or C strings.
pub unsafe fn is_same(a: *const c_char, b: *const c_char) -> bool {
    // SAFETY: as the caller says.
    !a.is_null() && !b.is_null() && unsafe { CStr::from_ptr(a) == CStr::from_ptr(b) }
}

/// The five characters of an SQLSTATE, six bits each (MAKE_SQLSTATE in elog.h).
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
