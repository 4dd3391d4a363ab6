//! Foreign keys of the target. Those between members include the scope.

use super::columns::{renames, target_columns};
use super::{Member, Scope, TargetKey, combine, join_names, map_names, name_apart};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::shape::ForeignKey;
use crate::model::spec::Combine;
use std::collections::BTreeMap;

pub(super) fn target_keys(
    members: &[Member],
    me: &Member,
    names: &BTreeMap<Ident, Ident>,
    scope: Option<&Scope>,
) -> Result<Vec<TargetKey>> {
    let mut keys = Vec::new();
    if let Some(Scope {
        column,
        table: Some((table, key)),
        ..
    }) = scope
    {
        keys.push(TargetKey {
            name: Ident::derive(&[me.target.name.as_str(), column.as_str(), "fkey"]),
            columns: vec![column.clone()],
            references: table.clone(),
            ref_columns: vec![key.clone()],
            on_delete: "a".into(),
            on_update: "a".into(),
            set_columns: Vec::new(),
            comment: None,
            not_valid: false,
            is_gone: false,
            match_full: false,
        });
    }
    for fkey in &me.shape.fkeys {
        let Some(columns) = map_names(&fkey.columns, names) else {
            continue;
        };
        if !combine::all_refer(members, me, &columns, fkey.ref_oid, scope)? {
            continue;
        }
        if combine::joins_parts(members, me, fkey)? {
            continue;
        }
        let Some(parent) = members.iter().find(|m| m.shape.oid == fkey.ref_oid) else {
            keys.push(outside_key(me, fkey, columns, names));
            continue;
        };
        // In a union, rows of several sources may have the same key value, so the key alone cannot be referenced.
        let parents = combine::peers(members, parent);
        let apart = combine::find_combine(members, parent)? == Some(Combine::Union);
        if apart && !combine::is_surrogate(&parents) {
            continue;
        }
        let parent_names = renames(&target_columns(members, parent, scope)?);
        if let Some(ref_columns) = map_names(&fkey.ref_columns, &parent_names) {
            let pairs = (columns, ref_columns);
            keys.push(member_key(me, parent.target, fkey, pairs, names, scope));
        }
    }
    // Two keys may be over the same columns, to different tables.
    Ok(name_apart(keys, |k| &mut k.name))
}

/// `(ref) → (key)` between members becomes `(scope, ref) → (scope, key)`: no row can refer to another scope.
fn member_key(
    me: &Member,
    parent: &QualifiedName,
    fkey: &ForeignKey,
    (columns, ref_columns): (Vec<Ident>, Vec<Ident>),
    names: &BTreeMap<Ident, Ident>,
    scope: Option<&Scope>,
) -> TargetKey {
    let set_columns = match fkey.on_delete.as_str() {
        // SET NULL and SET DEFAULT must not change the scope column.
        "n" | "d" if fkey.set_columns.is_empty() => columns.clone(),
        "n" | "d" => map_names(&fkey.set_columns, names).unwrap_or_default(),
        _ => Vec::new(),
    };
    let scoped = |columns: Vec<Ident>| {
        scope
            .iter()
            .map(|s| s.column.clone())
            .chain(columns)
            .collect::<Vec<_>>()
    };
    TargetKey {
        name: Ident::derive(&[me.target.name.as_str(), &join_names(&columns), "fkey"]),
        references: parent.clone(),
        columns: scoped(columns),
        ref_columns: scoped(ref_columns),
        on_delete: on_delete(me, fkey),
        // ON UPDATE has no column list: setting the scope to null would be worse than the check at the end of the transaction.
        on_update: match fkey.on_update.as_str() {
            "n" | "d" if scope.is_some() => "a".into(),
            other => other.to_owned(),
        },
        set_columns,
        comment: fkey.comment.clone(),
        not_valid: !fkey.validated,
        is_gone: false,
        // The scope is never null, so all the other columns would have to be set.
        match_full: fkey.match_full && scope.is_none(),
    }
}

/// SET NULL on a NOT NULL column forbids the delete, as NO ACTION does. But it would also keep the mirror from moving a parent
/// row.
fn on_delete(me: &Member, fkey: &ForeignKey) -> String {
    let set = if fkey.set_columns.is_empty() {
        &fkey.columns
    } else {
        &fkey.set_columns
    };
    let never_null = |c: &Ident| me.shape.column(c).is_some_and(|c| c.not_null);
    if fkey.on_delete == "n" && set.iter().any(never_null) {
        "a".into()
    } else {
        fkey.on_delete.clone()
    }
}

fn outside_key(
    me: &Member,
    fkey: &ForeignKey,
    columns: Vec<Ident>,
    names: &BTreeMap<Ident, Ident>,
) -> TargetKey {
    TargetKey {
        name: Ident::derive(&[me.target.name.as_str(), &join_names(&columns), "fkey"]),
        references: fkey.ref_name.clone(),
        ref_columns: fkey.ref_columns.clone(),
        on_delete: on_delete(me, fkey),
        on_update: fkey.on_update.clone(),
        set_columns: map_names(&fkey.set_columns, names).unwrap_or_default(),
        columns,
        comment: fkey.comment.clone(),
        not_valid: !fkey.validated,
        is_gone: false,
        match_full: fkey.match_full,
    }
}
