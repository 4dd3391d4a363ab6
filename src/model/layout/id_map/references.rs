//! Finds the references to ids that change.

use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Member;
use crate::model::shape::{Shape, TableColumn};

/// A reference from `me` that includes `column`: the referenced member, and the columns on both sides.
pub(super) struct MemberReference<'a, 'b> {
    pub(super) parent: &'a Member<'b>,
    columns: Vec<Ident>,
    ref_columns: Vec<Ident>,
}

impl MemberReference<'_, '_> {
    pub(super) fn named_by(&self, column: &Ident) -> &Ident {
        let at = self.columns.iter().position(|c| c == column).unwrap_or(0);
        &self.ref_columns[at]
    }
}

/// Returns the references whose parent column changes in the parent's target, shortest first.
pub(super) fn references<'a, 'b>(
    members: &'a [Member<'b>],
    me: &Member,
    column: &Ident,
) -> Result<Vec<MemberReference<'a, 'b>>> {
    let by_oid = |oid| members.iter().find(|m| m.shape.oid == oid);
    let declared = me.shape.fkeys.iter().filter_map(|f| {
        Some(MemberReference {
            parent: by_oid(f.ref_oid)?,
            columns: f.columns.clone(),
            ref_columns: f.ref_columns.clone(),
        })
    });
    let said = me.spec.refs.iter().filter_map(|(c, table)| {
        let name = QualifiedName::parse(table, me.shape.name.schema.as_str())?;
        let parent = members.iter().find(|m| m.shape.name == name)?;
        Some(MemberReference {
            parent,
            columns: vec![c.clone()],
            ref_columns: parent.shape.key_columns(),
        })
    });
    let mut found: Vec<MemberReference> = declared
        .chain(said)
        .filter(|r| r.columns.contains(column))
        .collect();
    found.retain(|r| r.columns.len() == r.ref_columns.len());
    found.sort_by_key(|r| r.columns.len());
    let mut changing = Vec::new();
    for r in found {
        if changes(members, r.parent, r.named_by(column), 0)? {
            changing.push(r);
        }
    }
    Ok(changing)
}

/// Whether this column's value changes in the member's target. `depth` stops at circular references.
fn changes(members: &[Member], of: &Member, column: &Ident, depth: usize) -> Result<bool> {
    if depth > members.len() {
        return Ok(false);
    }
    let own_key = of.shape.key_columns().contains(column);
    if own_key && of.remap {
        let key = key_of(of.shape);
        let here = key.iter().find(|c| c.name == *column);
        if here.is_some_and(|c| key.len() == 1 || c.is_surrogate() || is_replaced(of, column)) {
            return Ok(true);
        }
    }
    for f in of.shape.fkeys.iter().filter(|f| f.columns.contains(column)) {
        let Some(parent) = members.iter().find(|m| m.shape.oid == f.ref_oid) else {
            continue;
        };
        let at = f.columns.iter().position(|c| c == column).unwrap_or(0);
        if changes(members, parent, &f.ref_columns[at], depth + 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn is_replaced(me: &Member, name: &Ident) -> bool {
    me.spec
        .columns
        .iter()
        .any(|(n, e)| n == name && e.is_some())
}

pub(super) fn key_of(shape: &Shape) -> Vec<&TableColumn> {
    let names = shape.key_columns();
    let columns = shape.columns.iter();
    let mut key: Vec<(usize, &TableColumn)> = columns
        .filter_map(|c| Some((names.iter().position(|n| *n == c.name)?, c)))
        .collect();
    key.sort_by_key(|(at, _)| *at);
    key.into_iter().map(|(_, c)| c).collect()
}
