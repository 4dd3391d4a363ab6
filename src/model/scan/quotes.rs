//! Quoted strings and names: where each ends.

use super::{Scanner, TokenKind, is_name};

impl Scanner<'_> {
    /// Returns the end of a string whose first quote is before `at`; a doubled quote does not end it.
    pub(super) fn string(&self, mut at: usize, quote: u8, escapes: bool) -> Option<usize> {
        loop {
            match *self.bytes.get(at)? {
                b'\\' if escapes => at += 2,
                b if b == quote && self.byte(at + 1) == quote => at += 2,
                b if b == quote => match self.continue_string(at + 1, quote, escapes) {
                    Some(inside) => at = inside,
                    None => return Some(at + 1),
                },
                _ => at += 1,
            }
        }
    }

    /// A string with escapes may continue after a line break, still with escapes. For other strings each part is scanned on its
    /// own.
    fn continue_string(&self, at: usize, quote: u8, escapes: bool) -> Option<usize> {
        if !escapes || quote != b'\'' {
            return None;
        }
        let gap = &self.bytes[at..];
        let blanks = gap.iter().take_while(|b| b.is_ascii_whitespace()).count();
        (gap[..blanks].contains(&b'\n') && self.byte(at + blanks) == quote)
            .then_some(at + blanks + 1)
    }

    /// Returns the end of `$tag$ … $tag$`; `Err` where it is unterminated, None where this is no dollar quote.
    pub(super) fn dollar(&self) -> Option<Result<usize, ()>> {
        let tag = self.until_not(self.at + 1, |b| is_name(b) && b != b'$');
        if self.byte(tag) != b'$' || self.byte(self.at + 1).is_ascii_digit() {
            return None;
        }
        let delimiter = self.text.get(self.at..=tag)?;
        let rest = self.text.get(tag + 1..)?;
        Some(match rest.find(delimiter) {
            Some(n) => Ok(tag + 1 + n + delimiter.len()),
            None => Err(()),
        })
    }

    /// Scans a word, or the quoted string that it is the prefix of.
    pub(super) fn word(&self) -> (TokenKind, Option<usize>) {
        let end = self.until_not(self.at, is_name);
        let quoted = match (&self.bytes[self.at..end], self.byte(end)) {
            (b"e" | b"E", b'\'') => self.string(end + 1, b'\'', true),
            (b"b" | b"B" | b"x" | b"X", b'\'') => self.string(end + 1, b'\'', false),
            _ => return (TokenKind::Word, Some(end)),
        };
        (TokenKind::Quoted, quoted)
    }
}
