//! A file of SQL, cut into its statements as psql cuts it (psqlscan.l): at each `;` outside quotes, comments, the parentheses of
//! CREATE RULE, and the BEGIN ATOMIC … END of a routine. What is no SQL costs its own statement only.

use super::{Scanner, Token, TokenKind, Weight};
use std::ops::Range;

/// One statement, or what should be one.
#[derive(Debug)]
pub struct Piece {
    /// With its `;`.
    pub place: Range<usize>,
    /// Its first token, or its end where there is none.
    pub first: usize,
    /// Lines of psql's among them.
    pub metas: Vec<Range<usize>>,
    pub weight: Weight,
}

/// How often what nothing ends is read up to its first `;` only: each time the whole rest has been looked at.
const UNENDED: usize = 20;

/// Lines of psql's in one piece: more of them begin another.
const METAS: usize = 1000;

/// The pieces of a file: together they are all of it.
pub struct Pieces<'a> {
    text: &'a str,
    at: usize,
    escapes: bool,
    /// What nothing ended so far.
    unended: usize,
}

/// How a piece ends.
enum End {
    At(usize),
    /// Not at all: a quote or a comment from here on has no end.
    Unended(usize),
    /// Not at all: a body or a parenthesis is still open.
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

/// Where a `;` does not end a statement.
#[derive(Default)]
struct Nesting {
    /// CREATE [OR REPLACE] and what it creates.
    lead: Lead,
    parentheses: usize,
    /// BEGIN ATOMIC and each CASE in it.
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
