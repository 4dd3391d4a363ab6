//! Which column of a table in id mode `remap` gets new ids, and what draws them.

use super::references::{is_replaced, key_of, references};
use super::{Map, MapColumn, NewIds, builtin_equals, unfit};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName, list};
use crate::model::expression::Expression;
use crate::model::layout::Member;
use crate::model::shape::{Shape, TableColumn, TableIndex};

/// Returns the new ids of this member; None where it keeps its keys.
pub fn resolve_new_ids(members: &[Member], me: &Member) -> Result<Option<NewIds>> {
    if !me.remap {
        return Ok(None);
    }
    let key = key_of(me.shape);
    let mut free = Vec::new();
    for column in &key {
        let refers = !references(members, me, &column.name)?.is_empty();
        if !refers && (key.len() == 1 || column.is_surrogate() || is_replaced(me, &column.name)) {
            free.push(*column);
        }
    }
    let [column] = free.as_slice() else {
        return Err(unfit(
            me,
            format!(
                "{} columns of its primary key could get new ids, and it has to be one: an identity, serial or uuid column, or one that no other table's key is in.",
                free.len()
            ),
            "Leave id_mode out: what refers to a remapped table goes through its map all the same.",
        ));
    };
    let (target, type_text, default) = column_of(me, column)?;
    let old = MapColumn {
        name: Ident::derive(&["old", column.name.as_str()]),
        type_text: column.type_text.clone(),
        equals: operator(me.shape, &column.name),
    };
    let new = MapColumn {
        name: Ident::derive(&["new", target.as_str()]),
        equals: if type_text == column.type_text {
            old.equals.clone()
        } else {
            builtin_equals()
        },
        type_text,
    };
    Ok(Some(NewIds {
        map: Map {
            mapping: me.id,
            old,
            new,
        },
        source: column.name.clone(),
        target,
        default,
        natural: match me.adopted_shape {
            Some(standing) => natural_keys(me, standing)?,
            None => Vec::new(),
        },
    }))
}

/// Returns the user's unique keys, which identify rows of an adopted target; the target must have a unique index over each.
fn natural_keys(me: &Member, standing: &Shape) -> Result<Vec<Vec<(Ident, QualifiedName)>>> {
    let mut found = Vec::new();
    for wanted in &me.spec.unique_keys {
        // The index may have one more column: the scope.
        let has = |i: &&TableIndex| {
            let columns = i.plain_columns();
            columns.len() == i.columns.len()
                && columns.len() <= wanted.len() + 1
                && wanted.iter().all(|c| columns.contains(c))
        };
        let usable = standing.indexes.iter();
        let usable = usable.filter(|i| i.unique && i.valid && i.predicate.is_none());
        let key = usable.filter(has).min_by_key(|i| i.columns.len()).map(|i| {
            let columns = i
                .columns
                .iter()
                .filter_map(|c| Some((c.name.clone()?, c.equals.clone()?)));
            columns.filter(|(name, _)| wanted.contains(name)).collect()
        });
        found.push(key.ok_or_else(|| {
            unfit(
                me,
                format!(
                    "{} has no unique key over ({}), which is to tell its rows apart.",
                    standing.name.plain(),
                    list(wanted)
                ),
                "Add one, or leave that key out of unique_keys.",
            )
        })?);
    }
    Ok(found)
}

/// Returns name, type and default of the target's column: the source's own, or those of a user expression that draws ids.
fn column_of(me: &Member, column: &TableColumn) -> Result<(Ident, String, Option<String>)> {
    let draws = |e: &Expression| me.shape.column(&Ident::new(e.up.trim())).is_none();
    let spec = me.spec.columns.iter();
    let named = spec.filter_map(|(n, e)| e.as_ref().map(|e| (n, e)));
    let mut by_user = named.clone().filter(|(n, e)| {
        let in_key = me.spec.target_key.iter().flatten().any(|k| k == *n);
        draws(e) && (*n == &column.name || in_key)
    });
    if let Some((name, expression)) = by_user.next() {
        if !expression.reads.is_empty() {
            return Err(unfit(
                me,
                format!(
                    "The expression for \"{}\" reads the old row, and new ids are drawn for rows that are not there yet, too.",
                    name.as_str()
                ),
                "Write what a default could be, for example gen_random_uuid().",
            ));
        }
        let type_text = expression
            .type_text
            .clone()
            .unwrap_or_else(|| "text".into());
        if type_text != column.type_text && type_text.contains('.') {
            return Err(unfit(
                me,
                format!("Type {type_text} is not one of PostgreSQL's own."),
                "Cast the expression to uuid, bigint or text.",
            ));
        }
        return Ok((name.clone(), type_text, Some(expression.up.clone())));
    }
    let renamed = named
        .filter(|(_, e)| e.up.trim() == column.name.as_str())
        .map(|(n, _)| n.clone())
        .next();
    let target = renamed.unwrap_or_else(|| column.name.clone());
    if let Some(theirs) = me.adopted_shape.and_then(|t| t.column(&target)) {
        return Ok((target, theirs.type_text.clone(), None));
    }
    if is_integer(&column.type_text) {
        return Ok((target, column.type_text.clone(), None));
    }
    match column.default.as_ref().filter(|_| column.is_surrogate()) {
        Some(default) => Ok((target, column.type_text.clone(), Some(default.clone()))),
        None => Err(unfit(
            me,
            format!(
                "Column \"{}\" of type {} has nothing that draws a new value.",
                column.name.as_str(),
                column.type_text
            ),
            "Say what does: columns => '{\"…\": \"gen_random_uuid()\"}'.",
        )),
    }
}

pub(super) fn is_integer(type_text: &str) -> bool {
    ["smallint", "integer", "bigint"].contains(&type_text)
}

fn operator(shape: &Shape, column: &Ident) -> QualifiedName {
    let key = shape.primary_key().into_iter().flat_map(|k| &k.columns);
    let mine = key.filter(|c| c.name.as_ref() == Some(column));
    mine.filter_map(|c| c.equals.clone())
        .next()
        .unwrap_or_else(builtin_equals)
}
