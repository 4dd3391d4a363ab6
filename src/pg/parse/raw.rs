//! The server's parser, called so that nothing of the call stays: neither its memory nor its error.

use super::node;
use crate::error::{Error, Result, brief};
use crate::model::scan;
use crate::pg::tx;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use std::ffi::CString;

/// What `read` makes of the statements of a text. Its trees live only as long as the call.
///
/// Errors: what PostgreSQL says of the text; 22023 with a NUL byte in it.
pub fn raw<T>(text: &str, read: impl FnOnce(&[*mut pg_sys::RawStmt]) -> T) -> Result<T> {
    let sql = CString::new(text).map_err(|_| Error::Invalid {
        message: "a NUL byte".into(),
        detail: "SQL text has none.".into(),
        hint: "Leave it out.".into(),
    })?;
    in_own_memory(|| {
        tx::probe(|| {
            // SAFETY: the parser allocates in the current context only, and raises on a syntax error, which the
            // subtransaction catches; it returns a list of RawStmt.
            let parsed = unsafe {
                let parsed =
                    pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
                node::items(parsed)
            };
            let statements: Vec<*mut pg_sys::RawStmt> =
                parsed.into_iter().map(|n| n.cast()).collect();
            Ok(read(&statements))
        })
    })
}

/// Runs `f`, which catches what it raises, in a memory context of its own that is gone afterwards.
pub fn in_own_memory<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: `f` returns, and gives back Rust's own values only; the context before is current again when its own one goes.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let own = pg_sys::AllocSetContextCreateExtended(
            outer,
            c"pg_mig parser".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::MemoryContextSwitchTo(own);
        let value = f();
        pg_sys::MemoryContextSwitchTo(outer);
        pg_sys::MemoryContextDelete(own);
        value
    }
}

/// Whether a backslash escapes in a plain string of this session.
pub fn escapes() -> bool {
    // SAFETY: reads a setting of this backend.
    unsafe { !pg_sys::standard_conforming_strings }
}

/// Bytes of what is said.
const MOST_SAID: usize = 2000;

/// What PostgreSQL says of a text. Errors that say nothing of it go on.
pub fn syntax_message(e: Error) -> Result<String> {
    match e {
        Error::Sql {
            code:
                Code::ERRCODE_QUERY_CANCELED
                | Code::ERRCODE_ADMIN_SHUTDOWN
                | Code::ERRCODE_OUT_OF_MEMORY,
            ..
        } => Err(e),
        // It may quote all that follows.
        Error::Sql { message, .. } => Ok(brief(message, MOST_SAID)),
        other => Ok(other.to_string()),
    }
}

/// Why the parser should not be made to read a text; None where it may.
pub fn too_much(text: &str, most_tokens: usize) -> Option<String> {
    scan::weight(text, escapes()).too_much(most_tokens)
}
