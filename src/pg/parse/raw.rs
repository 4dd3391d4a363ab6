//! Calls the server's parser so that nothing of the call remains: neither its memory nor its error.

use super::node;
use crate::error::{About, Error, Result, brief};
use crate::model::scan;
use crate::pg::tx;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use std::ffi::CString;

/// Returns what `read` makes of the statements of a text. The parse trees live only as long as the call.
///
/// Errors: PostgreSQL's error for the text; 22023 with a NUL byte in it.
pub fn raw<T>(text: &str, read: impl FnOnce(&[*mut pg_sys::RawStmt]) -> T) -> Result<T> {
    let sql = CString::new(text).map_err(|_| {
        Error::invalid(
            "a NUL byte".into(),
            "SQL text has none.".into(),
            "Leave it out.".into(),
        )
    })?;
    in_own_memory(|| {
        tx::probe(|| {
            // SAFETY: the parser allocates in the current context only, and raises an ERROR on a syntax error, which the
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

/// Runs `f`, which must catch every ERROR it raises, in a memory context of its own that is deleted afterwards.
pub fn in_own_memory<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: `f` returns, and its result contains Rust-owned values only; the previous context is current again when the new one
    // is deleted.
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

/// Checks whether a backslash escapes in a plain string of this session.
pub fn escapes() -> bool {
    // SAFETY: reads a setting of this backend.
    unsafe { !pg_sys::standard_conforming_strings }
}

/// The most bytes of a message.
const MOST_SAID: usize = 2000;

/// Returns PostgreSQL's message about a text. Errors that are not about the text are returned as errors.
pub fn syntax_message(e: Error) -> Result<String> {
    match e.code() {
        Code::ERRCODE_QUERY_CANCELED
        | Code::ERRCODE_ADMIN_SHUTDOWN
        | Code::ERRCODE_OUT_OF_MEMORY
            if e.about() == About::Server =>
        {
            Err(e)
        }
        // The message may quote all of the following text.
        _ => Ok(brief(e.to_string(), MOST_SAID)),
    }
}

/// Returns why a text is too large for the parser; None where it is not.
pub fn too_much(text: &str, most_tokens: usize) -> Option<String> {
    scan::weight(text, escapes()).too_much(most_tokens)
}
