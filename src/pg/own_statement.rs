//! Which statement of ours runs, for hooks of the planner and the executor: they see statements of everybody, also those of functions and
//! foreign keys that a statement of ours sets off.

use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

#[derive(Clone, Copy)]
struct OwnStatement {
    /// Null where no statement of ours runs by SQL.
    text: *const c_char,
    /// The statement finds rows by their keys.
    looks_up: bool,
    /// The depth of triggers at which it began to write; None before.
    writes_at: Option<i32>,
}

const NONE: OwnStatement = OwnStatement {
    text: std::ptr::null(),
    looks_up: false,
    writes_at: None,
};

thread_local! {
    static RUNNING: Cell<OwnStatement> = const { Cell::new(NONE) };
}

/// While it lives, a statement of ours runs. An ERROR that unwinds drops it, too.
pub struct RunningGuard<'a> {
    outer: OwnStatement,
    text: PhantomData<&'a CStr>,
}

/// Marks the text as that of the statement of ours that runs.
pub fn run(text: &CStr) -> RunningGuard<'_> {
    replace(OwnStatement {
        text: text.as_ptr(),
        ..NONE
    })
}

/// As `run`, for a statement that finds rows by their keys.
pub fn look_up(text: &CStr) -> RunningGuard<'_> {
    replace(OwnStatement {
        text: text.as_ptr(),
        looks_up: true,
        ..NONE
    })
}

/// Whether the running statement finds rows by their keys.
pub fn looks_up() -> bool {
    RUNNING.get().looks_up
}

/// Marks a write that is made without a statement.
pub fn write_below_sql() -> RunningGuard<'static> {
    replace(OwnStatement {
        writes_at: Some(trigger_depth()),
        ..NONE
    })
}

fn replace<'a>(now: OwnStatement) -> RunningGuard<'a> {
    RunningGuard {
        outer: RUNNING.replace(now),
        text: PhantomData,
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        RUNNING.set(self.outer);
    }
}

/// Whether this text is that of the statement of ours that runs. Functions that it calls have texts of their own.
///
/// # Safety
/// `text` is null or NUL-terminated.
pub unsafe fn is_text(text: *const c_char) -> bool {
    let running = RUNNING.get().text;
    // SAFETY: guaranteed by the caller; the guard borrows the text of `running`.
    !running.is_null()
        && !text.is_null()
        && unsafe { CStr::from_ptr(running) == CStr::from_ptr(text) }
}

/// Notes that the running statement writes.
pub fn begin_writing() {
    RUNNING.set(OwnStatement {
        writes_at: Some(trigger_depth()),
        ..RUNNING.get()
    });
}

/// Whether a trigger runs that a write of ours has fired, and not a function in an expression of it.
pub fn is_firing() -> bool {
    let began = RUNNING.get().writes_at;
    began.is_some_and(|depth| trigger_depth() > depth)
}

/// How many triggers are running, one inside the other.
fn trigger_depth() -> i32 {
    // SAFETY: reads a counter of this backend, and no argument.
    unsafe { pg_sys::pg_trigger_depth(std::ptr::null_mut()).value() as i32 }
}
