//! A text of SQL, statement by statement, read by the server's own parser; nothing is run. It knows one error at a time: what
//! stands before the statement that has it is read alone, then what stands behind it.

mod alter;
pub mod index;
mod node;
mod plpgsql;
mod tree;

use crate::error::Error;
use crate::model::lint::statement::{Act, Statement};
use crate::pg::tx;
use pgrx::pg_sys;
use std::ffi::{CString, c_int, c_void};

/// Ends of statements that are tried for the one before an error.
const TRIES: usize = 200;

/// All statements of a text, in its order.
pub fn statements(text: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut rest = text.to_owned();
    let mut from = 0;
    while from < rest.len() {
        let wrong = match parse(&rest[from..]) {
            Ok(parsed) => {
                found.extend(parsed.into_iter().map(|p| p.moved(from)));
                break;
            }
            Err(wrong) => wrong,
        };
        let at = (from + wrong.at).min(rest.len() - 1);
        let at = (0..=at)
            .rev()
            .find(|n| rest.is_char_boundary(*n))
            .unwrap_or(from);
        if let Some(line) = line_of_psql(&rest, from, at) {
            found.push(Found::meta(line.clone()));
            rest.replace_range(line.clone(), &" ".repeat(line.len()));
            continue;
        }
        let (before, start) = statements_before(&rest[from..at]);
        found.extend(before.into_iter().map(|p| p.moved(from)));
        let end = rest[at..].find(';').map_or(rest.len(), |n| at + n);
        found.push(Found::invalid(from + start..end, wrong.message));
        from = (end + 1).min(rest.len());
    }
    found.sort_by_key(|f| f.at);
    let of = |f: Found| match f.act {
        Act::Meta => f.statement(text),
        _ => f.statement(&rest),
    };
    found.into_iter().filter_map(of).collect()
}

/// The statements before the one that goes on at the end of `text`, and where that begins.
fn statements_before(text: &str) -> (Vec<Found>, usize) {
    let ends = text.rmatch_indices(';').take(TRIES);
    ends.map(|(end, _)| end)
        .find_map(|end| parse(&text[..=end]).ok().map(|parsed| (parsed, end + 1)))
        .unwrap_or_default()
}

/// The line around `at`, without its end, where it is a command of psql.
fn line_of_psql(text: &str, from: usize, at: usize) -> Option<std::ops::Range<usize>> {
    let start = text[from..=at].rfind('\n').map_or(from, |n| from + n + 1);
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    text[start..end]
        .trim_start()
        .starts_with('\\')
        .then_some(start..end)
}

/// A statement, or what should be one.
struct Found {
    at: usize,
    end: usize,
    tag: String,
    act: Act,
}

impl Found {
    fn moved(mut self, by: usize) -> Self {
        self.at += by;
        self.end += by;
        self
    }

    fn meta(line: std::ops::Range<usize>) -> Self {
        Self {
            at: line.start,
            end: line.end,
            tag: "psql".into(),
            act: Act::Meta,
        }
    }

    fn invalid(place: std::ops::Range<usize>, message: String) -> Self {
        Self {
            at: place.start,
            end: place.end,
            tag: "SQL".into(),
            act: Act::Invalid { message },
        }
    }

    /// None for blanks and comments.
    fn statement(self, text: &str) -> Option<Statement> {
        let at = self.at + blank(&text[self.at..self.end]);
        let own = text[at..self.end].trim_end();
        let line = 1 + text[..at].matches('\n').count();
        (!own.is_empty()).then(|| Statement {
            line: i32::try_from(line).unwrap_or(i32::MAX),
            text: own.to_owned(),
            tag: self.tag,
            act: self.act,
        })
    }
}

/// Bytes of white space and comments that a text begins with.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        rest = if rest.starts_with("--") {
            rest.find('\n').map_or("", |n| &rest[n..])
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or("", |n| &rest[n + 2..])
        } else {
            return text.len() - rest.len();
        };
    }
}

struct Wrong {
    /// A byte of the text.
    at: usize,
    message: String,
}

fn parse(text: &str) -> Result<Vec<Found>, Wrong> {
    let Ok(sql) = CString::new(text) else {
        return Err(Wrong {
            at: text.find('\0').unwrap_or(0),
            message: "a NUL byte".into(),
        });
    };
    let mut place = Place::default();
    let parsed = place.noting(|| {
        tx::probe(|| {
            // SAFETY: the parser allocates in the current context only, and raises on a syntax error, which the
            // subtransaction catches; it returns a list of RawStmt.
            Ok(unsafe {
                let parsed =
                    pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
                let all = node::items(parsed).into_iter();
                all.map(|n| found(&*n.cast(), text.len())).collect()
            })
        })
    });
    parsed.map_err(|e| Wrong {
        at: place.outer(text),
        message: message(e),
    })
}

/// # Safety
/// As `raw_parser` returned it, of a text of this length.
unsafe fn found(raw: &pg_sys::RawStmt, length: usize) -> Found {
    let at = usize::try_from(raw.stmt_location).unwrap_or(0);
    let own = usize::try_from(raw.stmt_len).unwrap_or(0);
    // SAFETY: as the caller says.
    unsafe {
        let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(raw.stmt));
        Found {
            at,
            end: if own == 0 { length } else { at + own },
            tag: node::text(tag).unwrap_or_default(),
            act: tree::act(raw.stmt),
        }
    }
}

fn message(e: Error) -> String {
    match e {
        Error::Sql { message, .. } => message,
        other => other.to_string(),
    }
}

/// Where in its text PostgreSQL has found an error, in characters from 1, 0 if it does not say.
#[derive(Default)]
struct Place {
    outer: c_int,
    inner: c_int,
}

impl Place {
    /// What `f` raises tells its place here: it is not part of what pgrx keeps of an error.
    fn noting<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let mut callback = pg_sys::ErrorContextCallback {
            callback: Some(note),
            arg: std::ptr::from_mut(self).cast(),
            ..Default::default()
        };
        // SAFETY: as the server's own callbacks are put on the stack; `f` catches what it raises, so that it comes off again.
        unsafe {
            callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut callback;
        }
        let value = f();
        // SAFETY: as above.
        unsafe { pg_sys::error_context_stack = callback.previous };
        value
    }

    fn outer(&self, text: &str) -> usize {
        byte(text, self.outer)
    }

    fn inner(&self, text: &str) -> usize {
        byte(text, self.inner)
    }
}

fn byte(text: &str, character: c_int) -> usize {
    let number = usize::try_from(character - 1).unwrap_or(0);
    text.char_indices()
        .nth(number)
        .map_or(text.len(), |(at, _)| at)
}

/// # Safety
/// Called by the server while it raises an error; `place` is a `Place`.
unsafe extern "C-unwind" fn note(place: *mut c_void) {
    // SAFETY: as said.
    unsafe {
        let place = &mut *place.cast::<Place>();
        place.outer = pg_sys::geterrposition();
        place.inner = pg_sys::getinternalerrposition();
    }
}
