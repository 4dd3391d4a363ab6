//! What it costs the server to read a text. Its lexer and grammar do not check for interrupts, and the parse tree is many times
//! as large as the text.

use super::Scanner;

/// The cost, known before the text goes to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    tokens: usize,
    /// Bytes that the lexer reads repeatedly: it takes a whole run of operator characters and gives back all but the first of
    /// them (scan.l, `{operator}` and `{xcstart}`).
    looks: usize,
}

/// Limit of such repeated reads: about a tenth of a second.
const MOST_LOOKS: usize = 50_000_000;

impl Weight {
    pub fn add(&mut self, tokens: usize, looks: usize) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.looks = self.looks.saturating_add(looks);
    }

    pub fn is_nothing(self) -> bool {
        self.tokens == 0
    }

    /// Returns why the server should not read the text; None where it may.
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

/// The cost of a whole text.
pub fn weight(text: &str, escapes: bool) -> Weight {
    let mut scanner = Scanner::new(text, 0, escapes);
    scanner.by_ref().for_each(drop);
    scanner.weight()
}
