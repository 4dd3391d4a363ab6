//! What the database knows about the names in a file.

use super::statement::WrittenName;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct TableFact {
    pub schema: Option<String>,
    pub name: String,
    pub rows: i64,
    pub bytes: i64,
    pub columns: Vec<ColumnFact>,
    /// Columns that a valid CHECK keeps from being null.
    pub checked_not_null: Vec<String>,
    /// For an index: its table.
    pub index_of: Option<String>,
    /// Tables whose foreign keys refer to this one.
    pub referred_by: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ColumnFact {
    pub name: String,
    /// The name that `format_type` returns, without modifiers.
    pub base: String,
    pub modifier: i32,
    pub not_null: bool,
}

/// A pair of types whose values convert without a rewrite.
#[derive(Clone, Debug, Deserialize)]
pub struct Coercible {
    pub from: String,
    pub to: String,
}

/// The tables that lose a column, a default, a constraint or a trigger, or go altogether, when an object is dropped with CASCADE.
#[derive(Clone, Debug, Deserialize)]
pub struct CascadeFact {
    pub kind: String,
    pub schema: Option<String>,
    pub name: String,
    pub tables: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct LintFacts {
    #[serde(default)]
    pub cascades: Vec<CascadeFact>,
    pub tables: Vec<TableFact>,
    /// The volatile functions among those that the file calls.
    pub volatile: Vec<String>,
    pub coercible: Vec<Coercible>,
    /// Types: the name in the file, and the name that `format_type` returns.
    pub types: Vec<(String, String)>,
    pub lock_timeout_ms: i64,
    pub timezone_is_utc: bool,
}

/// Size in bytes up to which a scan or rewrite is too short to matter.
const SMALL: i64 = 4 << 20;
/// Assumed bytes read per second, for a rough estimate; a rewrite takes three times as long.
const PER_SECOND: i64 = 200 << 20;

impl TableFact {
    /// The name as the file writes it.
    pub fn as_written(&self) -> WrittenName {
        WrittenName {
            schema: self.schema.clone(),
            name: self.name.clone(),
        }
    }

    pub fn is_small(&self) -> bool {
        self.bytes <= SMALL
    }

    pub fn column(&self, name: &str) -> Option<&ColumnFact> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Returns for example `about 1,000,000 rows, 96 MB`.
    pub fn size(&self) -> String {
        let bytes = match self.bytes {
            b if b >= 10 << 30 => format!("{} GB", b >> 30),
            b if b >= 10 << 20 => format!("{} MB", b >> 20),
            b => format!("{} kB", b >> 10),
        };
        format!("about {} rows, {bytes}", group_digits(self.rows))
    }

    /// Estimates the time of a full scan or rewrite.
    pub fn time(&self, rewrite: bool) -> String {
        let seconds = self.bytes / PER_SECOND * if rewrite { 3 } else { 1 };
        match seconds {
            0 => "less than a second".into(),
            s if s < 120 => format!("some {s} seconds"),
            s if s < 7200 => format!("some {} minutes", s / 60),
            s => format!("some {} hours", s / 3600),
        }
    }
}

fn group_digits(n: i64) -> String {
    let digits = n.max(0).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
