//! Exclusion constraints of the target: those of the source, within the scope.

use super::indexes::is_carried;
use super::{Layout, Member, map_names, name_apart};
use crate::ident::{Ident, QualifiedName};
use crate::model::shape::{IndexColumn, TableIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An exclusion constraint over columns of the target. The scope is no element of it yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetExclusion {
    pub name: Ident,
    /// The name of the source's constraint.
    pub source: Ident,
    pub method: Ident,
    /// Each with the operator that must not be true for it and all others.
    pub elements: Vec<(IndexColumn, QualifiedName)>,
    pub include: Vec<Ident>,
    pub predicate: Option<String>,
    pub options: Vec<String>,
    pub deferrable: bool,
    pub comment: Option<String>,
}

impl TargetExclusion {
    /// Whether the scope's column can be an element with `=`. Otherwise the constraint is limited to the rows of the scope.
    pub fn takes_scope(&self, layout: &Layout) -> bool {
        let method = self.method.as_str();
        layout
            .scope
            .as_ref()
            .is_some_and(|s| method == "btree" || s.equal_in.iter().any(|m| m == method))
    }
}

/// Returns the constraints that the target takes over.
pub(super) fn target_exclusions(
    me: &Member,
    layout: &Layout,
    names: &BTreeMap<Ident, Ident>,
) -> Vec<TargetExclusion> {
    let carried = me.shape.exclusions();
    let carried = carried.filter_map(|index| carry(me, layout, index, names));
    name_apart(carried.collect(), |x| &mut x.name)
}

/// None where it uses columns that the target does not have under these names, or has with another type.
fn carry(
    me: &Member,
    layout: &Layout,
    index: &TableIndex,
    names: &BTreeMap<Ident, Ident>,
) -> Option<TargetExclusion> {
    let complete = index.operators.len() == index.columns.len();
    if !complete || !is_carried(index, me.keeps_all(), names) {
        return None;
    }
    let retyped = |target: &Ident| {
        let mut vias = layout.mapped_columns();
        vias.any(|v| v.column == *target && v.source_type != v.target_type)
    };
    let mut elements = Vec::new();
    for (column, operator) in index.columns.iter().zip(&index.operators) {
        let mut column = column.clone();
        if let Some(name) = &column.name {
            let target = names.get(name).filter(|t| !retyped(t))?;
            column.text = target.to_string();
            column.name = Some(target.clone());
        }
        elements.push((column, operator.clone()));
    }
    let texts = elements
        .iter()
        .map(|(c, _)| c.name.as_ref().map_or("expr", Ident::as_str));
    let words: Vec<&str> = std::iter::once(me.target.name.as_str())
        .chain(texts)
        .chain(["excl"])
        .collect();
    Some(TargetExclusion {
        name: Ident::derive(&words),
        source: index.name.clone(),
        method: index.method.clone(),
        include: map_names(&index.include, names)?,
        predicate: index.predicate.clone(),
        options: index.options.clone(),
        deferrable: index.deferrable,
        comment: index.comment.clone(),
        elements,
    })
}
