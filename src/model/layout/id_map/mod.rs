//! New ids. A table in id mode `remap` has an id map: the old values of one key column, and the new values that the target
//! draws. The table's own key and all columns that refer to it are translated by this map.
//!
//! A pair in the map never changes. The new id is therefore a function of the old one, column by column, and what holds for
//! keys that are kept holds for new ids too.

use super::Member;
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use serde::{Deserialize, Serialize};

mod mapped_columns;
mod new_ids;
mod references;

pub use mapped_columns::find_via;
pub use new_ids::resolve_new_ids;

/// The id map of one mapping, as needed for lookups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub mapping: i32,
    pub old: MapColumn,
    pub new: MapColumn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapColumn {
    /// The column's name in the map.
    pub name: Ident,
    pub type_text: String,
    pub equals: QualifiedName,
}

/// A column whose value is translated by an id map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MappedColumn {
    pub map: Map,
    /// The column of the source table.
    pub column: Ident,
    pub source_type: String,
    pub target_type: String,
}

/// The new ids of a table in id mode `remap`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewIds {
    pub map: Map,
    pub source: Ident,
    pub target: Ident,
    /// Default of the target's column where the extension creates the target; None for an identity column.
    pub default: Option<String>,
    /// Unique keys, with their operators, that match the rows of an adopted target to source rows.
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
    Error::invalid(
        format!("the ids of {} cannot be remapped", me.shape.name.plain()),
        detail,
        hint.into(),
    )
}

/// Refuses generated columns that read a mapped id: the source would compute them from the old id, the target from the new one.
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
