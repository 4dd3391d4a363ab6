//! What it costs the server to read a text. Its lexer and its grammar hear no interrupt, and the tree that they make is many
//! times as large as the text.

use super::Scanner;

/// Told before the server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    tokens: usize,
    /// Bytes that the lexer looks at again and again: it takes a run of operator characters whole, and gives back all but the
    /// first of them (scan.l, `{operator}` and `{xcstart}`).
    looks: usize,
}

/// Such looks: a tenth of a second or so.
const MOST_LOOKS: usize = 50_000_000;

impl Weight {
    pub fn add(&mut self, tokens: usize, looks: usize) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.looks = self.looks.saturating_add(looks);
    }

    pub fn is_nothing(self) -> bool {
        self.tokens == 0
    }

    /// Why the server should not be made to read it; None where it may.
    pub fn too_much(self, most_tokens: usize) -> Option<String> {
        if self.tokens > most_tokens {
            Some(format!(
                "it has {} words, numbers and signs, more than the {most_tokens} that are read",
                self.tokens
            ))
        } else if self.looks > MOST_LOOKS {
            Some("it has a longer row of operator signs than is read".into())
        } else {
            None
        }
    }
}

/// Of a whole text.
pub fn weight(text: &str, escapes: bool) -> Weight {
    let mut scanner = Scanner::new(text, 0, escapes);
    scanner.by_ref().for_each(drop);
    scanner.weight()
}
