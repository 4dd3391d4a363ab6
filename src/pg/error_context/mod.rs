//! Adds the origin of an ERROR as CONTEXT, and removes values that the session may not read.
//!
//! PostgreSQL calls the callbacks on `error_context_stack` when an ERROR is raised (errfinish in elog.c). pgrx turns each ERROR
//! that its functions meet into a panic, and raises it again at the border of the function that PostgreSQL called, without CONTEXT
//! and without the names of table and constraint. So the first call saves them and the second one restores them. The frame has to
//! outlive the panic in between, so it lives in PostgreSQL's memory; the code that catches the ERROR takes it off the stack. Texts are replaced at the second call only: code that catches the first ERROR inside may depend on its
//! text.

#![allow(
    ffi_unwind_calls,
    reason = "an ERROR in a callback is PostgreSQL's, and nothing here is dropped"
)]

mod raising;

use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use raising as pg;
use raising::{ErrorKind, is_same, restore, set_text, state};
pub use raising::{class, geterrcode};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;

const ERROR: c_int = PgLogLevel::ERROR as c_int;

/// What the session may see of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisibleParts {
    Everything,
    /// Rows of the named table, and the values in them.
    Rows,
    /// Names only.
    Names,
}

/// The texts to add to an error, made once.
pub struct ErrorTexts {
    line: CString,
    schema: CString,
    table: CString,
    general: CString,
}

impl ErrorTexts {
    /// `line` becomes CONTEXT; `table` is the table whose rows a session may see; `general` replaces a message that may quote a
    /// value.
    pub fn new(line: &str, (schema, table): (&str, &str), general: &str) -> Self {
        let text = |t: &str| CString::new(t).unwrap_or_default();
        Self {
            line: text(line),
            schema: text(schema),
            table: text(table),
            general: text(general),
        }
    }
}

/// A copy of `Told` that outlives it.
struct OwnedErrorTexts {
    line: *mut c_char,
    schema: *mut c_char,
    table: *mut c_char,
    general: *mut c_char,
}

struct ContextFrame {
    link: pg_sys::ErrorContextCallback,
    memory: pg_sys::MemoryContext,
    /// Invalid when `unwinds` is set.
    given: *const ErrorTexts,
    shows: VisibleParts,
    unwinds: bool,
    /// The last ERROR that passed; null before the first.
    first: *mut pg_sys::ErrorData,
    texts: OwnedErrorTexts,
}

/// Removes the frame when it is dropped.
pub struct ContextGuard<'a> {
    frame: *mut ContextFrame,
    _given: &'a ErrorTexts,
}

/// Adds `given` to ERRORs until the guard is dropped. The current memory context must live as long as the caller of the function
/// that PostgreSQL called.
pub fn explain_errors(given: &ErrorTexts, shows: VisibleParts) -> ContextGuard<'_> {
    // SAFETY: the frame is complete before it is linked into the stack, and code that unwinds past it restores the stack.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let frame: *mut ContextFrame = pg_sys::palloc(size_of::<ContextFrame>()).cast();
        frame.write(ContextFrame {
            link: pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(add_context),
                arg: frame.cast(),
            },
            memory,
            given,
            shows,
            unwinds: false,
            first: null_mut(),
            texts: OwnedErrorTexts {
                line: null_mut(),
                schema: null_mut(),
                table: null_mut(),
                general: null_mut(),
            },
        });
        pg_sys::error_context_stack = &raw mut (*frame).link;
        ContextGuard {
            frame,
            _given: given,
        }
    }
}

impl Drop for ContextGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: the frame lives as long as the memory context that was current, which outlives the call.
        unsafe {
            if std::thread::panicking() {
                (*self.frame).unwinds = true;
                pg_sys::error_context_stack = &raw mut (*self.frame).link;
            } else {
                pg_sys::error_context_stack = (*self.frame).link.previous;
            }
        }
    }
}

/// Called in the middle of errfinish(), so it looks nothing up.
unsafe extern "C-unwind" fn add_context(frame: *mut c_void) {
    // SAFETY: `explain_errors` has set its frame as the argument. An ERROR is being raised, so there is one to copy; on out of
    // memory nothing is copied.
    unsafe {
        let frame = &mut *frame.cast::<ContextFrame>();
        if class(pg::geterrcode()) == *b"53" {
            return;
        }
        let before = pg_sys::MemoryContextSwitchTo(frame.memory);
        let error = pg::CopyErrorData();
        pg_sys::MemoryContextSwitchTo(before);
        let level = (*error).elevel;
        if frame.unwinds && level >= ERROR {
            frame.raise_again(&*error);
        } else if level == ERROR {
            frame.keep(error);
        } else if level > ERROR {
            set_text(pg::errcontext_msg, (*frame.given).line.as_ptr());
        }
    }
}

impl ContextFrame {
    /// # Safety
    /// `error` was copied to the frame's memory.
    unsafe fn keep(&mut self, error: *mut pg_sys::ErrorData) {
        self.first = error;
        // SAFETY: `given` lives as long as nothing unwinds.
        unsafe {
            let given = &*self.given;
            let copy = |text: &CStr| pg::MemoryContextStrdup(self.memory, text.as_ptr());
            self.texts = OwnedErrorTexts {
                line: copy(&given.line),
                schema: copy(&given.schema),
                table: copy(&given.table),
                general: copy(&given.general),
            };
        }
    }

    /// # Safety
    /// `now` is the ERROR that is being raised.
    unsafe fn raise_again(&self, now: &pg_sys::ErrorData) {
        // SAFETY: pointers that are not null are C strings.
        unsafe {
            let Some(first) = self.first.as_ref() else {
                return;
            };
            // Another error may have been raised since.
            // pgrx takes a code that PostgreSQL does not define, as users' functions may raise it, for an internal error.
            let known = first.sqlerrcode == now.sqlerrcode || state(now.sqlerrcode) == *b"XX000";
            let same = known && is_same(first.message, now.message);
            if same {
                pg::errcode(first.sqlerrcode);
                restore(first);
            }
            self.withhold(if same { first } else { now });
            set_text(pg::errcontext_msg, self.texts.line);
        }
    }

    /// # Safety
    /// `error` is the ERROR that is being raised.
    unsafe fn withhold(&self, error: &pg_sys::ErrorData) {
        // SAFETY: pointers that are not null are C strings.
        unsafe {
            let kind = ErrorKind::classify(error);
            let hides_row = match self.shows {
                VisibleParts::Everything => false,
                VisibleParts::Rows => kind == ErrorKind::Constraint && !self.is_of_table(error),
                VisibleParts::Names => kind != ErrorKind::Harmless,
            };
            if !hides_row {
                return;
            }
            if kind == ErrorKind::Constraint {
                if !error.detail.is_null() {
                    set_text(pg::errdetail_log, error.detail);
                    set_text(
                        pg::errdetail_internal,
                        c"The row is shown to roles that may read its table.".as_ptr(),
                    );
                }
                return;
            }
            if error.detail.is_null() {
                set_text(pg::errdetail_log, error.message);
            } else {
                pg::errdetail_log(c"%s %s".as_ptr(), error.message, error.detail);
            }
            set_text(pg::errmsg_internal, self.texts.general);
            set_text(
                pg::errdetail_internal,
                c"What it says may have a value in it that the session's role may not read."
                    .as_ptr(),
            );
            set_text(pg::errhint, c"The server's log has all of it.".as_ptr());
        }
    }

    /// Checks whether the values that the error quotes are in the table of `texts`. A foreign key's always are: both of its tables
    /// have them.
    ///
    /// # Safety
    /// As for `withhold`.
    unsafe fn is_of_table(&self, error: &pg_sys::ErrorData) -> bool {
        let by_key = [*b"23503", *b"23001"].contains(&state(error.sqlerrcode));
        // SAFETY: upheld by the caller.
        by_key
            || error.table_name.is_null()
            || unsafe {
                is_same(error.table_name, self.texts.table)
                    && is_same(error.schema_name, self.texts.schema)
            }
    }
}
