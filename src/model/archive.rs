//! What archiving a source table renamed and handed over, kept so that the step can be reversed.

use crate::ident::{Ident, QualifiedName};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArchivedTable {
    /// The source table's original name.
    pub name: QualifiedName,
    /// Its indexes: original name and current name.
    pub indexes: Vec<(Ident, Ident)>,
    pub sequences: Vec<SharedSequence>,
    /// A view exists under the original name.
    pub view: bool,
    /// The view's definition and grants.
    #[serde(default)]
    pub view_text: Option<String>,
}

/// A sequence that both tables draw from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedSequence {
    pub source_column: Ident,
    pub target_column: Ident,
    pub sequence: QualifiedName,
    /// `a` for ALWAYS, `d` for BY DEFAULT, empty for a plain default.
    pub identity: String,
    /// In the syntax of CREATE SEQUENCE.
    pub options: String,
}

impl ArchivedTable {
    /// Returns the name of the table, or of one of its indexes, with the suffix; shortened where it would be too long.
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
