//! Lookups in the id map of one mapping.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::id_map::{Map, MapColumn, MappedColumn};

/// An alias that no user table has.
pub(super) const X: &str = "\"mig:x\"";

/// Name of the id map of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_map")),
    }
}

/// The new id for the old id `value`; null where there is none.
pub fn look_up_new(via: &MappedColumn, value: &str) -> String {
    looked_up(
        &via.map,
        [&via.map.old, &via.map.new],
        value,
        &via.target_type,
    )
}

/// The old id for the new id `value`.
pub fn look_up_old(via: &MappedColumn, value: &str) -> String {
    looked_up(
        &via.map,
        [&via.map.new, &via.map.old],
        value,
        &via.source_type,
    )
}

fn looked_up(map: &Map, [have, want]: [&MapColumn; 2], value: &str, type_text: &str) -> String {
    format!(
        "(SELECT {X}.{} FROM {} AS {X} WHERE {})::{type_text}",
        want.name,
        name(map.mapping),
        select_pair(have, value),
    )
}

/// Condition for the pair with `value` in this column.
pub(super) fn select_pair(column: &MapColumn, value: &str) -> String {
    let value = format!("({value})::{}", column.type_text);
    column.equals.infix(&format!("{X}.{}", column.name), &value)
}

/// A column of the touched table that is translated by another table's map, or by its own table's map where it refers to
/// another row.
#[derive(Clone, Debug)]
pub struct ReferencedIds {
    pub map: Map,
    pub column: Ident,
}
