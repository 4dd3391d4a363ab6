//! Cuts a script into statements as psql does, where a statement ends with its line.

pub struct Statement {
    pub text: String,
}

impl Statement {
    /// The first word, in lower case; empty if there are comments only.
    pub fn word(&self) -> String {
        let code = without_comments(&self.text);
        let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '(');
        code.trim_start()
            .split(ends)
            .next()
            .unwrap_or_default()
            .to_lowercase()
    }

    pub fn begins_block(&self) -> bool {
        matches!(self.word().as_str(), "begin" | "start") && !self.holds_end()
    }

    /// All in one line: BEGIN; …; COMMIT;
    fn holds_end(&self) -> bool {
        let lower = self.text.to_lowercase();
        ["commit;", "rollback;", "end;", "abort;"]
            .iter()
            .any(|w| lower.contains(w))
    }

    pub fn ends_block(&self) -> bool {
        let lower = without_comments(&self.text).to_lowercase();
        match self.word().as_str() {
            "commit" | "end" | "abort" => true,
            "rollback" => !lower.contains(" to "),
            _ => self.begins_block() && self.holds_end(),
        }
    }
}

/// Lines of comments are left out; that is enough to find the first word.
fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|l| !l.trim_start().starts_with("--"));
    let joined = lines.collect::<Vec<_>>().join("\n");
    match joined.trim_start().strip_prefix("/*") {
        Some(rest) => rest
            .split_once("*/")
            .map_or(String::new(), |(_, code)| code.to_owned()),
        None => joined,
    }
}

pub fn statements(text: &str) -> Vec<Statement> {
    let (mut all, mut open, mut state) = (Vec::new(), String::new(), State::default());
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let is_command = line.starts_with('\\') && state.is_between();
        open += line;
        if !is_command {
            state.read(line);
        }
        if !is_command && (!state.is_between() || is_comment(&open)) {
            continue;
        }
        if reads_data(&open) {
            for data in lines.by_ref() {
                open += data;
                if data.trim_end() == "\\." {
                    break;
                }
            }
        }
        all.push(Statement {
            text: std::mem::take(&mut open),
        });
        state = State::default();
    }
    all.push(Statement { text: open });
    all
}

fn is_comment(text: &str) -> bool {
    without_comments(text).trim().is_empty()
}

fn reads_data(text: &str) -> bool {
    let lower = text.to_lowercase();
    let word = Statement {
        text: text.to_owned(),
    }
    .word();
    word.ends_with("copy")
        && lower
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains("from stdin")
}

/// Where in a statement the reader is.
#[derive(Default)]
struct State {
    /// The quote that is open, as it ends: `'`, `"`, `*/`, `$tag$`.
    quote: Option<String>,
    escapes: bool,
    depth: i32,
    pending: bool,
    atomic: bool,
}

impl State {
    fn is_between(&self) -> bool {
        self.quote.is_none() && !self.pending
    }

    fn read(&mut self, line: &str) {
        let mut rest = line;
        while !rest.is_empty() {
            let taken = match self.quote.clone() {
                Some(end) => self.read_quoted(rest, &end),
                None => self.read_code(rest),
            };
            rest = &rest[taken..];
        }
        let lower = line.trim().to_lowercase();
        self.atomic |= lower.contains("begin atomic");
        if self.atomic && !lower.ends_with("end;") {
            self.pending = true;
        }
    }

    fn read_quoted(&mut self, rest: &str, end: &str) -> usize {
        if self.escapes && rest.starts_with('\\') {
            return 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        }
        if rest.starts_with(end) {
            self.quote = None;
            return end.len();
        }
        first_len(rest)
    }

    fn read_code(&mut self, rest: &str) -> usize {
        if rest.starts_with("--") {
            return rest.len();
        }
        if rest.starts_with("/*") {
            self.quote = Some("*/".to_owned());
            return 2;
        }
        let first = rest.chars().next().unwrap_or(' ');
        match first {
            '\'' => {
                self.open_quote("'");
                return 1;
            }
            '"' | '$' => {
                if let Some(quote) = other_quote(rest) {
                    self.escapes = false;
                    self.open_quote(quote);
                    return quote.len();
                }
            }
            '(' => self.depth += 1,
            ')' => self.depth -= 1,
            ';' if self.depth <= 0 => {
                self.pending = false;
                return 1;
            }
            // \gset and its like end a statement.
            '\\' => {
                self.pending = false;
                return rest.len();
            }
            _ => {}
        }
        self.escapes = matches!(first, 'e' | 'E') && rest[1..].starts_with('\'');
        self.pending |= !first.is_whitespace();
        first_len(rest)
    }

    fn open_quote(&mut self, end: &str) {
        self.quote = Some(end.to_owned());
        self.pending = true;
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The quote of an identifier, or of a dollar-quoted text, that begins here.
fn other_quote(text: &str) -> Option<&str> {
    if text.starts_with('"') {
        return Some("\"");
    }
    let end = text[1..].find('$')? + 2;
    let name = &text[1..end - 1];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..end])
}
