//! Finds the id map that a column's value goes through: that of the table whose id it holds, across any number of references.

use super::new_ids::{is_integer, resolve_new_ids};
use super::references::references;
use super::{MappedColumn, NewIds, unfit};
use crate::error::Result;
use crate::ident::Ident;
use crate::model::layout::Member;

/// Returns how a column of `me` is translated by an id map; None where its value stays the same.
pub fn find_via(members: &[Member], me: &Member, column: &Ident) -> Result<Option<MappedColumn>> {
    follow(members, me, column, 0)
}

/// As `find_via`; `depth` stops at circular references.
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

/// Returns the mapping of a referencing column: that of the referenced id, with types that may be wider or narrower.
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
