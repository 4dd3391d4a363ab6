//! Splits an SQL file into statements as psql does (psqlscan.l): at each `;` outside quotes, comments, the parentheses of
//! CREATE RULE, and the BEGIN ATOMIC … END of a routine. Text that is not SQL spoils only its own statement.

use super::{Scanner, Token, TokenKind, Weight};
use std::ops::Range;

/// One statement, or text that should be one.
#[derive(Debug)]
pub struct Piece {
    /// Includes the `;`.
    pub place: Range<usize>,
    /// Start of its first token, or its end where it has no token.
    pub first: usize,
    /// The psql lines in it.
    pub metas: Vec<Range<usize>>,
    pub weight: Weight,
}

/// How many times an unterminated quote, comment or block is cut at its first `;`: each time costs a scan of the whole rest.
const UNENDED: usize = 20;

/// Maximum number of psql lines in one piece; the next one begins another piece.
const METAS: usize = 1000;

/// The pieces of a file; together they cover the whole file.
pub struct Pieces<'a> {
    text: &'a str,
    at: usize,
    escapes: bool,
    /// Number of unterminated pieces so far.
    unended: usize,
}

/// How a piece ends.
enum End {
    At(usize),
    /// Unterminated: a quote or a comment that starts here has no end.
    Unended(usize),
    /// Unterminated: a body or a parenthesis is still open.
    Nested,
}

impl<'a> Pieces<'a> {
    pub fn new(text: &'a str, escapes: bool) -> Self {
        Self {
            text,
            at: 0,
            escapes,
            unended: 0,
        }
    }

    fn read(&self, nested: bool) -> (Piece, End) {
        let mut scanner = Scanner::new(self.text, self.at, self.escapes);
        let mut piece = Piece {
            place: self.at..self.text.len(),
            first: self.text.len(),
            metas: Vec::new(),
            weight: Weight::default(),
        };
        let mut nesting = Nesting::default();
        while let Some(token) = scanner.next() {
            if token.kind == TokenKind::Meta {
                piece.metas.push(token.place.clone());
                if piece.metas.len() >= METAS {
                    return (piece, End::At(token.place.end));
                }
                continue;
            }
            let (start, end) = (token.place.start, token.place.end);
            piece.first = piece.first.min(start);
            piece.weight = scanner.weight();
            match token.kind {
                TokenKind::Unended => return (piece, End::Unended(start)),
                TokenKind::Semicolon if !nested || nesting.is_out() => {
                    return (piece, End::At(end));
                }
                _ => nesting.pass(&scanner, &token),
            }
        }
        let end = match nested && !nesting.is_out() {
            true => End::Nested,
            false => End::At(self.text.len()),
        };
        (piece, end)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.at >= self.text.len() {
            return None;
        }
        let patient = self.unended < UNENDED;
        let (mut piece, mut end) = self.read(patient);
        if !matches!(end, End::At(_)) {
            self.unended += 1;
        }
        if let End::Nested = end {
            (piece, end) = self.read(false);
        }
        piece.place.end = match end {
            End::At(end) => end,
            End::Unended(from) if patient => {
                let rest = &self.text[from..];
                rest.find(';').map_or(self.text.len(), |n| from + n + 1)
            }
            End::Unended(_) | End::Nested => self.text.len(),
        };
        piece.first = piece.first.min(piece.place.end);
        self.at = piece.place.end;
        Some(piece)
    }
}

/// Tracks where a `;` does not end a statement.
#[derive(Default)]
struct Nesting {
    /// CREATE [OR REPLACE] and the kind of object.
    lead: Lead,
    parentheses: usize,
    /// Number of open BEGIN ATOMIC and CASE.
    begun: usize,
    after_begin: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Lead {
    #[default]
    Start,
    Create,
    Or,
    Rule,
    Routine,
    Else,
}

impl Nesting {
    fn is_out(&self) -> bool {
        self.begun == 0 && (self.lead != Lead::Rule || self.parentheses == 0)
    }

    fn pass(&mut self, scanner: &Scanner, token: &Token) {
        let is = |word: &str| scanner.is_word(token, word);
        self.lead = match self.lead {
            Lead::Start if is("create") => Lead::Create,
            Lead::Create if is("or") => Lead::Or,
            Lead::Or if is("replace") => Lead::Create,
            Lead::Create if is("rule") => Lead::Rule,
            Lead::Create if is("function") || is("procedure") => Lead::Routine,
            Lead::Rule => Lead::Rule,
            Lead::Routine => Lead::Routine,
            _ => Lead::Else,
        };
        match token.kind {
            TokenKind::Opens => self.parentheses += 1,
            TokenKind::Closes => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        if self.lead == Lead::Routine {
            if self.begun > 0 && is("end") {
                self.begun -= 1;
            } else if self.begun > 0 && is("case") || self.after_begin && is("atomic") {
                self.begun += 1;
            }
            self.after_begin = is("begin");
        }
    }
}
