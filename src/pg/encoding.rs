//! Server texts as Rust strings. pg_mig's statements are UTF-8, and so are the contents of a UTF8 database.

use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::ffi::CStr;

/// Returns the text. Errors: one that names the encoding of the database.
pub fn read(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || is_utf8() => Ok(text.to_owned()),
        _ => Err(Error::not_supported(
            "this text".into(),
            format!(
                "It is not ASCII, and the database has the encoding {}.",
                name()
            ),
            "pg_mig reads what is not ASCII in databases of the encoding UTF8.".into(),
        )),
    }
}

/// Requires a UTF8 database. Statements, names and messages pass between the server and pg_mig unconverted, so that in a database
/// of another encoding no name, value or message could be trusted.
pub fn require_utf8() -> Result<()> {
    if is_utf8() {
        return Ok(());
    }
    Err(Error::not_supported(
        format!("a database of the encoding {}", name()),
        "pg_mig works in databases of the encoding UTF8; mig_lint reads ASCII in any.".into(),
        "Move the data to such a database first: CREATE DATABASE new_name ENCODING 'UTF8' TEMPLATE template0; \
               then pg_dump and pg_restore, which convert them.".into(),
    ))
}

fn is_utf8() -> bool {
    // SAFETY: reads a global of this backend.
    unsafe { pg_sys::GetDatabaseEncoding() }.unsigned_abs() == pg_sys::pg_enc::PG_UTF8
}

fn name() -> String {
    // SAFETY: the name is a constant string of the server.
    let name = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
    name.to_string_lossy().into_owned()
}
