//! Where a column's value comes from, over however many references: the map of the table whose id it is.

use super::draw::{is_integer, is_replaced, key_of, resolve_new_ids};
use super::{MappedColumn, NewIds, unfit};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Member;

/// A reference of `me` that `column` is part of: the member, and the columns on both sides.
pub(super) struct MemberReference<'a, 'b> {
    parent: &'a Member<'b>,
    columns: Vec<Ident>,
    ref_columns: Vec<Ident>,
}

/// Those whose parent's column has another value in its target, shortest first.
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

impl MemberReference<'_, '_> {
    fn named_by(&self, column: &Ident) -> &Ident {
        let at = self.columns.iter().position(|c| c == column).unwrap_or(0);
        &self.ref_columns[at]
    }
}

/// Whether the value of this column is another one in the member's target. `depth` ends circles of references.
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

/// How the value of a column of `me` comes out of a map; None where it stays as it is.
pub fn find_via(members: &[Member], me: &Member, column: &Ident) -> Result<Option<MappedColumn>> {
    follow(members, me, column, 0)
}

/// As `via`; `depth` ends circles of references.
fn follow(
    members: &[Member],
    me: &Member,
    column: &Ident,
    depth: usize,
) -> Result<Option<MappedColumn>> {
    if depth > members.len() {
        return Ok(None);
    }
    let type_text = me.shape.column(column).map(|c| c.type_text.clone());
    let source_type = type_text.unwrap_or_default();
    if let Some(drawn) = drawn_here(members, me, column)? {
        return Ok(Some(MappedColumn {
            column: column.clone(),
            source_type,
            target_type: drawn.map.new.type_text.clone(),
            map: drawn.map,
        }));
    }
    for r in references(members, me, column)? {
        let found = follow(members, r.parent, r.named_by(column), depth + 1)?;
        if let Some(their) = found {
            return via_with_types(me, column, source_type, their).map(Some);
        }
    }
    Ok(None)
}

/// A column that names an id: as the id's own, by types that may be wider or narrower.
fn via_with_types(
    me: &Member,
    column: &Ident,
    source_type: String,
    their: MappedColumn,
) -> Result<MappedColumn> {
    let old = &their.map.old.type_text;
    if source_type != *old && !(is_integer(&source_type) && is_integer(old)) {
        return Err(unfit(
            me,
            format!(
                "Column \"{}\" has type {source_type}, and the key that it refers to {old}.",
                column.as_str()
            ),
            "Give both the same type.",
        ));
    }
    let same = their.map.new.type_text == *old;
    Ok(MappedColumn {
        column: column.clone(),
        target_type: if same {
            source_type.clone()
        } else {
            their.map.new.type_text.clone()
        },
        source_type,
        map: their.map,
    })
}

fn drawn_here(members: &[Member], me: &Member, column: &Ident) -> Result<Option<NewIds>> {
    if !me.remap || !me.shape.key_columns().contains(column) {
        return Ok(None);
    }
    Ok(resolve_new_ids(members, me)?.filter(|d| d.source == *column))
}
