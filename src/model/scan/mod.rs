//! SQL text as PostgreSQL's lexer (scan.l) sees it: where tokens begin and end, and what it costs the server to read the text.
//! One pass, no recursion, no memory besides the result. All text is scanned here before it goes to the server's parser,
//! because the parser does not check for interrupts.

mod nesting_weight;
mod pieces;
mod quotes;

pub use nesting_weight::{Weight, weight};
pub use pieces::{Piece, Pieces};

use std::ops::Range;

/// Kind of a token, as far as the ends of tokens and statements depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A quoted string or name of any kind.
    Quoted,
    Operator,
    Semicolon,
    /// `(` and `)`
    Opens,
    Closes,
    /// A number, a parameter, a comma and so on.
    Other,
    /// A line that psql interprets itself.
    Meta,
    /// An unterminated quote or comment.
    Unended,
}

/// A token with its byte range, always on character boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub place: Range<usize>,
}

/// Iterator over the tokens of a text. Stops at an unterminated token.
pub struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Whether a backslash escapes in a plain string: `standard_conforming_strings = off`.
    escapes: bool,
    /// Whether the line has only white space so far.
    fresh: bool,
    /// Where the run of operator characters that was measured last ends.
    run_end: usize,
    weight: Weight,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, from: usize, escapes: bool) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: from,
            escapes,
            fresh: true,
            run_end: 0,
            weight: Weight::default(),
        }
    }

    pub fn text_of(&self, token: &Token) -> &'a str {
        self.text.get(token.place.clone()).unwrap_or_default()
    }

    /// Whether the token is this word.
    pub fn is_word(&self, token: &Token, word: &str) -> bool {
        token.kind == TokenKind::Word && self.text_of(token).eq_ignore_ascii_case(word)
    }

    /// The cost of the tokens so far.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn pair(&self, pair: [u8; 2]) -> bool {
        self.bytes[self.at..].starts_with(&pair)
    }

    /// Skips white space and comments; false where a comment is unterminated.
    fn skip_blanks(&mut self) -> bool {
        while let Some(b) = self.bytes.get(self.at) {
            match b {
                b'\n' => {
                    self.fresh = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.pair(*b"--") => self.at = self.find_byte(self.at, b"\n\r"),
                b'/' if self.pair(*b"/*") => {
                    self.fresh = false;
                    if !self.skip_comment() {
                        return false;
                    }
                }
                _ => break,
            }
        }
        true
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> bool {
        let mut depth = 0;
        let mut at = self.at;
        while at + 1 < self.bytes.len() {
            match &self.bytes[at..at + 2] {
                b"/*" => {
                    depth += 1;
                    let run = self.run(at);
                    self.weight.add(0, run);
                    at += 2;
                }
                b"*/" => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        self.at = at;
                        return true;
                    }
                }
                _ => at += 1,
            }
        }
        false
    }

    /// Returns the first position from `at` on with one of these bytes, or the end.
    fn find_byte(&self, at: usize, ends: &[u8]) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter()
            .position(|b| ends.contains(b))
            .map_or(self.bytes.len(), |n| at + n)
    }

    /// Number of operator characters from `at` on. The server's lexer reads all of them again for each token within the run.
    fn run(&mut self, at: usize) -> usize {
        if at >= self.run_end {
            let rest = &self.bytes[at..];
            let length = rest.iter().take_while(|b| is_operator(**b)).count();
            self.run_end = at + length;
        }
        self.run_end - at
    }

    fn until_not(&self, at: usize, inside: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|b| inside(**b)).count()
    }

    fn token(&mut self) -> (TokenKind, Option<usize>) {
        let at = self.at;
        let one = Some(at + 1);
        match self.bytes[at] {
            b'\\' if self.fresh => (TokenKind::Meta, Some(self.find_byte(at, b"\n"))),
            b'\'' => (TokenKind::Quoted, self.string(at + 1, b'\'', self.escapes)),
            b'"' => (TokenKind::Quoted, self.string(at + 1, b'"', false)),
            b'$' => match self.dollar() {
                Some(end) => (TokenKind::Quoted, end.ok()),
                None => (TokenKind::Other, one),
            },
            b';' => (TokenKind::Semicolon, one),
            b'(' => (TokenKind::Opens, one),
            b')' => (TokenKind::Closes, one),
            b'0'..=b'9' => (
                TokenKind::Other,
                Some(self.until_not(at, |b| b.is_ascii_digit())),
            ),
            b if is_name(b) => self.word(),
            b if is_operator(b) => {
                let run = self.run(at);
                let bytes = &self.bytes[at..at + run];
                let comment = |w: &[u8]| w == b"--" || w == b"/*";
                let length = bytes.windows(2).position(comment).unwrap_or(run).max(1);
                self.weight.add(length - 1, length.saturating_mul(run));
                (TokenKind::Operator, Some(at + length))
            }
            _ => (TokenKind::Other, one),
        }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let ended = self.skip_blanks();
        let start = self.at;
        if start >= self.bytes.len() {
            return None;
        }
        let (kind, end) = if ended {
            self.token()
        } else {
            (TokenKind::Unended, None)
        };
        let end = end.filter(|end| *end <= self.bytes.len());
        let (kind, end) = end.map_or((TokenKind::Unended, self.bytes.len()), |end| (kind, end));
        self.weight.add(1, 0);
        self.fresh = false;
        self.at = end;
        let place = start..end;
        Some(Token { kind, place })
    }
}

/// Splits the text after the first occurrence of this word outside quotes and comments.
pub fn split_after_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut scanner = Scanner::new(text, 0, false);
    while let Some(token) = scanner.next() {
        if scanner.is_word(&token, word) {
            return text.split_at_checked(token.place.end);
        }
    }
    None
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

fn is_operator(b: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&b)
}

#[cfg(test)]
mod tests;
