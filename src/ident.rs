//! Names and constants in SQL text: no other way leads into it. Pure Rust, so that plain tests cover it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One SQL identifier. `Display` always quotes, so no keyword list is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ident(String);

impl Ident {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns this name, or if it is taken, the first free name with a number appended.
    pub fn avoid_taken(&self, taken: impl Fn(&Ident) -> bool) -> Self {
        let mut name = self.clone();
        let mut n = 1;
        while taken(&name) {
            n += 1;
            name = Self::derive(&[self.as_str(), &n.to_string()]);
        }
        name
    }

    /// The unquoted name, for parameters, messages and comparisons; never for SQL text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Derives a name from `parts`, cut to PostgreSQL's 63 bytes. A cut name ends in a hash of the full one, so that two long names stay
    /// distinct.
    pub fn derive(parts: &[&str]) -> Self {
        const MAX: usize = 63;
        let whole = parts.join("_");
        if whole.len() <= MAX {
            return Self(whole);
        }
        let hash = format!("_{:08x}", fnv1a(whole.as_bytes()));
        let mut end = MAX - hash.len();
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        Self(format!("{}{hash}", &whole[..end]))
    }
}

/// FNV-1a, 32 bits: stable across builds, which std's hasher does not promise.
/// <https://datatracker.ietf.org/doc/draft-eastlake-fnv/>
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| {
        (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)
    })
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl From<&str> for Ident {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// `schema.name`, both always present: no generated statement depends on `search_path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    pub schema: Ident,
    pub name: Ident,
}

impl QualifiedName {
    pub fn new(schema: &str, name: &str) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Parses a name as a user typed it: `name` or `schema.name`, each part quoted or not (an unquoted part is folded to lower case, as
    /// PostgreSQL does). None if the text is not such a name.
    pub fn parse(text: &str, default_schema: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, tail) = parse_part(rest)?;
            parts.push(part);
            let tail = tail.trim_start();
            if tail.is_empty() {
                break;
            }
            if parts.len() == 2 {
                return None;
            }
            rest = tail.strip_prefix('.')?.trim_start();
        }
        match parts.as_slice() {
            [name] => Some(Self::new(default_schema, name)),
            [schema, name] => Some(Self::new(schema, name)),
            _ => None,
        }
    }

    /// Returns `left OPERATOR(schema.=) right` for a name of an operator, which cannot be quoted. A name that is not an operator's
    /// (PostgreSQL's rules: manual, "Operators") is quoted all the same, so that the statement fails and does nothing else.
    pub fn infix(&self, left: &str, right: &str) -> String {
        let name = self.name.as_str();
        let is_operator = !name.is_empty()
            && name.bytes().all(|b| b"+-*/<>=~!@#%^&|`?".contains(&b))
            && !name.contains("--")
            && !name.contains("/*");
        if is_operator {
            format!("{left} OPERATOR({}.{name}) {right}", self.schema)
        } else {
            format!("{left} OPERATOR({}.{}) {right}", self.schema, self.name)
        }
    }

    /// The name as a person would write it in a message: quoted only where necessary.
    pub fn plain(&self) -> String {
        let show = |i: &Ident| {
            let simple =
                i.as_str().chars().enumerate().all(|(n, c)| {
                    c.is_ascii_lowercase() || c == '_' || (n > 0 && c.is_ascii_digit())
                });
            if simple {
                i.as_str().to_owned()
            } else {
                i.to_string()
            }
        };
        format!("{}.{}", show(&self.schema), show(&self.name))
    }
}

fn parse_part(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == '"') {
                name.push('"');
                chars.next();
            } else {
                return (!name.is_empty()).then(|| (name, &quoted[at + 1..]));
            }
        }
        return None;
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .unwrap_or(text.len());
    let first = text.chars().next()?;
    (end > 0 && !first.is_ascii_digit() && first != '$')
        .then(|| (text[..end].to_ascii_lowercase(), &text[end..]))
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A constant in DDL, where parameters are not allowed. Backslashes force the `E''` form, as in `quote_literal()`, so that the result does
/// not depend on `standard_conforming_strings`.
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = self.0.replace('\'', "''");
        if quoted.contains('\\') {
            write!(f, "E'{}'", quoted.replace('\\', "\\\\"))
        } else {
            write!(f, "'{quoted}'")
        }
    }
}

/// Returns a list for SQL text: `"a", "b"`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a Ident>) -> String {
    let quoted: Vec<_> = names.into_iter().map(Ident::to_string).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_always_quoted() {
        assert_eq!(Ident::new("select").to_string(), "\"select\"");
        assert_eq!(
            Ident::new("we\"ird $$; drop").to_string(),
            "\"we\"\"ird $$; drop\""
        );
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(Literal("it's").to_string(), "'it''s'");
        assert_eq!(Literal("a\\'b").to_string(), "E'a\\\\''b'");
    }

    #[test]
    fn derived_names_fit_and_stay_distinct() {
        let long = "x".repeat(80);
        let a = Ident::derive(&[&long, "a"]);
        let b = Ident::derive(&[&long, "b"]);
        assert_eq!(a.as_str().len(), 63);
        assert_ne!(a, b);
        assert_eq!(Ident::derive(&["t", "key"]).as_str(), "t_key");
        assert!(Ident::derive(&[&"ü".repeat(40), "k"]).as_str().len() <= 63);
    }

    #[test]
    fn typed_names_are_read_as_postgres_reads_them() {
        let ok = |t: &str| QualifiedName::parse(t, "public").map(|n| n.to_string());
        assert_eq!(ok("Rounds").as_deref(), Some("\"public\".\"rounds\""));
        assert_eq!(
            ok("app.\"Ro\"\"x\"").as_deref(),
            Some("\"app\".\"Ro\"\"x\"")
        );
        assert_eq!(ok("a.b.c"), None);
        assert_eq!(ok("a b"), None);
        assert_eq!(ok("\"open"), None);
        assert_eq!(ok("1a"), None);
        assert_eq!(ok(""), None);
    }
}
