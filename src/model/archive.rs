//! What was renamed and handed over when an old table was put away, so that it can be taken back.

use crate::ident::{Ident, QualifiedName};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArchivedTable {
    /// The old table's name before.
    pub name: QualifiedName,
    /// Its indexes, before and now.
    pub indexes: Vec<(Ident, Ident)>,
    pub sequences: Vec<SharedSequence>,
    /// A view stands under the old name.
    pub view: bool,
    /// What it says, and who may use it.
    #[serde(default)]
    pub view_text: Option<String>,
}

/// A sequence that both tables drew from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedSequence {
    pub source_column: Ident,
    pub target_column: Ident,
    pub sequence: QualifiedName,
    /// `a` ALWAYS, `d` BY DEFAULT, empty for a plain default.
    pub identity: String,
    /// As CREATE SEQUENCE takes them.
    pub options: String,
}

impl ArchivedTable {
    /// The name of the table, or of one of its indexes, with the suffix; cut where it would be too long.
    pub fn add_suffix(name: &Ident, suffix: &str) -> Ident {
        let plain = format!("{}{suffix}", name.as_str());
        if plain.len() < 64 {
            Ident::new(plain)
        } else {
            Ident::derive(&[name.as_str(), suffix.trim_start_matches('_')])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_stays_within_the_limit() {
        assert_eq!(
            ArchivedTable::add_suffix(&"a".into(), "_archive"),
            "a_archive".into()
        );
        let long = ArchivedTable::add_suffix(&Ident::new("x".repeat(63)), "_archive");
        let other = ArchivedTable::add_suffix(&Ident::new("x".repeat(62) + "y"), "_archive");
        assert!(
            long.as_str().len() <= 63 && long != other,
            "{long:?} {other:?}"
        );
    }
}
