//! Reads SQL text statement by statement with the server's own parser; nothing is run. The text is split first, and each statement
//! is parsed alone: an error in one is reported for that one, and costs no more than its length.

mod alter;
pub mod index;
mod node;
mod parts;
mod plpgsql;
mod raw;
mod tree;

use crate::error::Result;
use crate::model::lint::statement::{Act, LintStatement};
use crate::model::scan::{Piece, Pieces, Scanner};
use crate::pg::wait;
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ops::Range;

pub use raw::{raw, syntax_message, too_much};

/// The most tokens (words, numbers and signs) of a statement that the parser is given: it serves no interrupt, and needs some
/// hundred bytes for each token.
const MOST_TOKENS: usize = 500_000;

/// The size of a batch of statements: the names in a batch are looked up together.
const BATCH_STATEMENTS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// The statements of a text, in order, in batches.
pub struct StatementReader<'a> {
    text: &'a str,
    pieces: Pieces<'a>,
    lines: LineCounter<'a>,
}

impl<'a> StatementReader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            pieces: Pieces::new(text, raw::escapes()),
            lines: LineCounter::new(text),
        }
    }

    /// Returns the next batch; None at the end of the text.
    pub fn batch(&mut self) -> Result<Option<Vec<LintStatement>>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < BATCH_STATEMENTS && bytes < BATCH_BYTES {
            wait::hear_interrupts();
            let Some(piece) = self.pieces.next() else {
                return Ok((bytes > 0).then_some(found));
            };
            bytes += piece.place.len();
            found.extend(self.statements(&piece)?);
        }
        Ok(Some(found))
    }

    /// Returns the statements of a piece, as a rule one, followed by the psql commands in it.
    fn statements(&mut self, piece: &Piece) -> Result<Vec<LintStatement>> {
        let text = blank_meta_commands(&self.text[piece.place.clone()], piece);
        let start = piece.place.start;
        let mut found: Vec<LintStatement> = Vec::new();
        let mut lines = self.lines.clone();
        for f in read(&text, piece)? {
            let at = f.place.start + blank(&text[f.place.clone()]);
            let own = text[at..f.place.end].trim_end();
            if !own.is_empty() {
                let line = lines.number_at(start + at);
                found.push(statement(line, own, f.tag, f.act));
            }
        }
        for meta in &piece.metas {
            let line = self.lines.number_at(meta.start);
            let own = self.text[meta.clone()].trim_end();
            found.push(statement(line, own, "psql".into(), Act::Meta));
        }
        self.lines.number_at(piece.place.end);
        Ok(found)
    }
}

fn statement(line: i32, text: &str, tag: String, act: Act) -> LintStatement {
    LintStatement {
        line,
        text: text.to_owned(),
        tag,
        act,
    }
}

/// Returns the text of a piece with blanks in place of psql commands.
fn blank_meta_commands<'a>(text: &'a str, piece: &Piece) -> Cow<'a, str> {
    if piece.metas.is_empty() {
        return text.into();
    }
    let mut bare = String::with_capacity(text.len());
    let mut at = 0;
    for meta in &piece.metas {
        let (from, to) = (meta.start - piece.place.start, meta.end - piece.place.start);
        bare.push_str(&text[at..from]);
        bare.extend(std::iter::repeat_n(' ', to - from));
        at = to;
    }
    bare.push_str(&text[at..]);
    bare.into()
}

/// Line numbers, requested in the order of the text.
#[derive(Clone)]
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> LineCounter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    fn number_at(&mut self, at: usize) -> i32 {
        let passed = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        self.line += passed.iter().filter(|b| **b == b'\n').count();
        self.at = self.at.max(at);
        i32::try_from(self.line).unwrap_or(i32::MAX)
    }
}

/// A statement, or an unparsable text in its place, with its position in the piece.
struct ParsedPiece {
    place: Range<usize>,
    tag: String,
    act: Act,
}

fn read(text: &str, piece: &Piece) -> Result<Vec<ParsedPiece>> {
    if piece.weight.is_nothing() {
        return Ok(Vec::new());
    }
    let whole = |act: Act| {
        let from = piece.first - piece.place.start;
        let end = text.strip_suffix(';').map_or(text.len(), str::len);
        vec![ParsedPiece {
            place: from..end.max(from),
            tag: "SQL".into(),
            act,
        }]
    };
    if let Some(why) = piece.weight.too_much(MOST_TOKENS) {
        return Ok(whole(Act::Unread { why }));
    }
    // SAFETY: the statements come from the parser, for this text.
    let parsed = raw(text, |all| unsafe {
        let found = all.iter().map(|s| read_statement(*s, text.len()));
        found.collect::<Vec<ParsedPiece>>()
    });
    match parsed {
        Ok(found) => found.into_iter().map(compile_block).collect(),
        Err(e) => syntax_message(e).map(|message| whole(Act::Invalid { message })),
    }
}

/// Adds PL/pgSQL's result to a DO block; returns anything else unchanged.
fn compile_block(mut f: ParsedPiece) -> Result<ParsedPiece> {
    if let Act::Do {
        body,
        language,
        checked,
    } = &mut f.act
        && language == "plpgsql"
    {
        *checked = plpgsql::check(body)?;
    }
    Ok(f)
}

/// # Safety
/// `raw` is a statement as `raw_parser` returned it, of a text of this length.
unsafe fn read_statement(raw: *mut pg_sys::RawStmt, length: usize) -> ParsedPiece {
    // SAFETY: upheld by the caller.
    unsafe {
        let raw = &*raw;
        let at = usize::try_from(raw.stmt_location).unwrap_or(0);
        let own = usize::try_from(raw.stmt_len).unwrap_or(0);
        let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(raw.stmt));
        ParsedPiece {
            place: at..if own == 0 { length } else { at + own },
            tag: node::text(tag).unwrap_or_default(),
            act: tree::act(raw.stmt),
        }
    }
}

/// Returns the length in bytes of the white space and comments at the start of a text.
fn blank(text: &str) -> usize {
    let first = Scanner::new(text, 0, raw::escapes()).next();
    first.map_or(text.len(), |t| t.place.start)
}
