//! What is told of an ERROR beside what PostgreSQL says of it: where it came from, and no value that the session may not read.
//!
//! PostgreSQL asks whoever stands on `error_context_stack` when an ERROR is raised (errfinish in elog.c). pgrx turns each ERROR that
//! its functions meet into a panic, and raises it again at the border of the function that PostgreSQL called, without CONTEXT and
//! without the names of table and constraint. So a frame of ours stays on the stack while a panic unwinds: what the first call saw is
//! put back at the second. Nobody takes the frame off then, because whoever catches an ERROR restores the stack; so it is not in
//! Rust's memory. Texts are replaced at the second call only: who catches the first one inside may go by its text.

#![allow(
    ffi_unwind_calls,
    reason = "an ERROR in a callback is PostgreSQL's, and nothing here is dropped"
)]

mod raising;

use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use raising as pg;
use raising::{ErrorKind, class, is_same, restore, set_text, state};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;

const ERROR: c_int = PgLogLevel::ERROR as c_int;

/// What the session may see of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisibleParts {
    Everything,
    /// Rows of the table that is named, and what they are made of.
    Rows,
    /// Names only.
    Names,
}

/// What is said, made once.
pub struct Told {
    line: CString,
    schema: CString,
    table: CString,
    general: CString,
}

impl Told {
    /// `line` becomes CONTEXT; `table` is the one whose rows a session may see; `general` stands for a message that may quote a
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

/// The same, where it outlives whoever said it.
struct OwnedErrorTexts {
    line: *mut c_char,
    schema: *mut c_char,
    table: *mut c_char,
    general: *mut c_char,
}

struct ContextFrame {
    link: pg_sys::ErrorContextCallback,
    memory: pg_sys::MemoryContext,
    /// Not to be used when `unwinds`.
    told: *const Told,
    shows: VisibleParts,
    unwinds: bool,
    /// The last ERROR that passed, and null before.
    first: *mut pg_sys::ErrorData,
    texts: OwnedErrorTexts,
}

/// Takes the frame off.
pub struct ContextGuard<'a> {
    frame: *mut ContextFrame,
    _told: &'a Told,
}

/// Until the guard is dropped, `told` is told of ERRORs. It needs the memory context that is current, for as long as whoever called
/// our function.
pub fn explain_errors(told: &Told, shows: VisibleParts) -> ContextGuard<'_> {
    // SAFETY: the frame is whole before anybody else sees it, and whoever unwinds past it restores the stack.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let frame: *mut ContextFrame = pg_sys::palloc(size_of::<ContextFrame>()).cast();
        frame.write(ContextFrame {
            link: pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(raised),
                arg: frame.cast(),
            },
            memory,
            told,
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
        ContextGuard { frame, _told: told }
    }
}

impl Drop for ContextGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: the frame lives as long as the memory context that was current, and that outlives the call.
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

/// Called in the middle of errfinish(): it looks nothing up.
unsafe extern "C-unwind" fn raised(frame: *mut c_void) {
    // SAFETY: `tell` has put its frame here. An ERROR is being raised, so there is one to copy; without memory there is none.
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
            set_text(pg::errcontext_msg, (*frame.told).line.as_ptr());
        }
    }
}

impl ContextFrame {
    /// # Safety
    /// `error` was copied to the frame's memory.
    unsafe fn keep(&mut self, error: *mut pg_sys::ErrorData) {
        self.first = error;
        // SAFETY: who tells is there as long as nothing unwinds.
        unsafe {
            let told = &*self.told;
            let copy = |text: &CStr| pg::MemoryContextStrdup(self.memory, text.as_ptr());
            self.texts = OwnedErrorTexts {
                line: copy(&told.line),
                schema: copy(&told.schema),
                table: copy(&told.table),
                general: copy(&told.general),
            };
        }
    }

    /// # Safety
    /// `now` is the ERROR that is being raised.
    unsafe fn raise_again(&self, now: &pg_sys::ErrorData) {
        // SAFETY: what is not null is a C string.
        unsafe {
            let Some(first) = self.first.as_ref() else {
                return;
            };
            // Something else may have gone wrong since.
            let same = first.sqlerrcode == now.sqlerrcode && is_same(first.message, now.message);
            if same {
                restore(first);
            }
            self.withhold(if same { first } else { now });
            set_text(pg::errcontext_msg, self.texts.line);
        }
    }

    /// # Safety
    /// `error` is the one that is being raised.
    unsafe fn withhold(&self, error: &pg_sys::ErrorData) {
        // SAFETY: what is not null is a C string.
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

    /// A foreign key's values are in both of its tables.
    ///
    /// # Safety
    /// As `withhold`.
    unsafe fn is_of_table(&self, error: &pg_sys::ErrorData) -> bool {
        let by_key = [*b"23503", *b"23001"].contains(&state(error.sqlerrcode));
        // SAFETY: as the caller says.
        by_key
            || error.table_name.is_null()
            || unsafe {
                is_same(error.table_name, self.texts.table)
                    && is_same(error.schema_name, self.texts.schema)
            }
    }
}
