//! New key values. A table in id mode `remap` has a map: old values of one column of its key, and the new ones that the
//! target draws. Whoever names one of its rows goes through that map: its own key, and columns that refer to it.
//!
//! A pair in the map never changes. So the new id is a function of the old one, column by column, and all that is true of
//! keys that are kept stays true.

use super::Member;
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use serde::{Deserialize, Serialize};

mod mapped_columns;
mod new_ids;
mod references;

pub use mapped_columns::find_via;
pub use new_ids::resolve_new_ids;

/// The map of one mapping, as those see it that look something up there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub mapping: i32,
    pub old: MapColumn,
    pub new: MapColumn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapColumn {
    /// In the map.
    pub name: Ident,
    pub type_text: String,
    pub equals: QualifiedName,
}

/// A column whose value goes through a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MappedColumn {
    pub map: Map,
    /// This table's column, in the source.
    pub column: Ident,
    pub source_type: String,
    pub target_type: String,
}

/// What a table in id mode `remap` draws.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewIds {
    pub map: Map,
    pub source: Ident,
    pub target: Ident,
    /// Default of the target's column where we make it; None for an identity column.
    pub default: Option<String>,
    /// Keys that tell which row of a target that stood before is which of the source's, with their operators.
    #[serde(default)]
    pub natural: Vec<Vec<(Ident, QualifiedName)>>,
}

impl MappedColumn {
    pub fn target_equals(&self) -> QualifiedName {
        if self.target_type == self.map.new.type_text {
            self.map.new.equals.clone()
        } else {
            builtin_equals()
        }
    }
}

fn builtin_equals() -> QualifiedName {
    QualifiedName::new("pg_catalog", "=")
}

fn unfit(me: &Member, detail: String, hint: &str) -> Error {
    Error::Invalid {
        message: format!("the ids of {} cannot be remapped", me.shape.name.plain()),
        detail,
        hint: hint.into(),
    }
}

/// A generated column that reads an id would be made from the new one there, and from the old one here.
pub fn require_not_generated_from(me: &Member, ids: &[&Ident]) -> Result<()> {
    let word = |text: &str, name: &Ident| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|w| w == name.as_str())
    };
    let generated = me
        .shape
        .columns
        .iter()
        .filter_map(|c| Some((c, c.generated.as_ref()?)));
    for (column, text) in generated {
        if let Some(id) = ids.iter().find(|id| word(text, id)) {
            return Err(unfit(
                me,
                format!(
                    "Generated column \"{}\" reads \"{}\", whose value changes.",
                    column.name.as_str(),
                    id.as_str()
                ),
                "Leave that column out: columns => '{\"…\": null}'.",
            ));
        }
    }
    Ok(())
}
