//! Several sources of one target: whether they form a union or a merge, and what tells their rows apart.

use super::columns::target_columns;
use super::{Member, Scope, same_columns};
use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::expression::Expression;
use crate::model::shape::ForeignKey;
use crate::model::spec::Combine;

mod fit;

use fit::{generated_key, require_one_generator};
pub(super) use fit::{require_alike, unfit};

/// Returns the members with the same target as `me`, including `me`, in the order they were added.
pub(super) fn peers<'a>(members: &'a [Member], me: &Member) -> Vec<&'a Member<'a>> {
    let shares = |m: &&Member| m.target == me.target;
    members.iter().filter(shares).collect()
}

/// Returns how the sources are combined; None where the target has a single source. Errors: 22023 where neither the user nor
/// the keys decide.
pub fn find_combine(members: &[Member], me: &Member) -> Result<Option<Combine>> {
    let peers = peers(members, me);
    if peers.len() < 2 {
        return Ok(None);
    }
    let said: Vec<Combine> = peers.iter().filter_map(|p| p.spec.combine).collect();
    if let Some(first) = said.first() {
        return match said.iter().all(|s| s == first) {
            true => Ok(Some(*first)),
            false => Err(unfit(
                &peers,
                "One of them says union, another merge.".into(),
                "Give both the same combine.".into(),
            )),
        };
    }
    if main(&peers).is_some() {
        return Ok(Some(Combine::Merge));
    }
    if kind_column(&peers).is_some() {
        return Ok(Some(Combine::Union));
    }
    Err(Error::target_taken(
        me.target.plain(),
        peers[0].shape.name.plain(),
        union_hint(&peers) + " Or combine => 'merge', where rows of one key become one row.",
    ))
}

/// Returns the main source of a merge, whose key the keys of all other sources refer to: the merged row exists as long as the
/// main source has its row. These foreign keys must be validated, enforced and not deferrable, so that no snapshot sees a row
/// of another source without its row in the main source.
pub(super) fn main<'a>(peers: &[&'a Member<'a>]) -> Option<&'a Member<'a>> {
    let refers = |one: &Member, to: &Member| {
        let (own, theirs) = (one.shape.key_columns(), to.shape.key_columns());
        one.shape.fkeys.iter().any(|f| {
            f.ref_oid == to.shape.oid
                && f.columns == own
                && f.ref_columns == theirs
                && f.validated
                && f.enforced
                && !f.deferrable
        })
    };
    let found = peers.iter().find(|to| {
        let mut others = peers.iter().filter(|p| p.shape.oid != to.shape.oid);
        others.all(|p| refers(p, to))
    });
    found.copied()
}

/// Returns the column that is constant in every source, with a different value in each, and its type.
fn kind_column(peers: &[&Member]) -> Option<(Ident, String)> {
    let (first, others) = peers.split_first()?;
    let names = first.spec.columns.iter().map(|(name, _)| name);
    let tells = |name: &&Ident| {
        let mut values: Vec<&str> = Vec::new();
        for p in std::iter::once(first).chain(others) {
            match constant(p, name) {
                Some((value, _)) if !values.contains(&value) => values.push(value),
                _ => return false,
            }
        }
        true
    };
    let name = names.into_iter().find(tells)?;
    Some((name.clone(), constant(first, name)?.1.to_owned()))
}

fn constant<'a>(member: &'a Member, name: &Ident) -> Option<(&'a str, &'a str)> {
    let mut columns = member.spec.columns.iter();
    let found: &Expression = columns.find(|(n, _)| n == name)?.1.as_ref()?;
    Some((found.constant.as_deref()?, found.type_text.as_deref()?))
}

/// For a union: the column that tells the sources apart, and its value in rows from `me`.
pub(super) fn kind(members: &[Member], me: &Member, scope: Option<&Scope>) -> Result<Scope> {
    let peers = peers(members, me);
    let found = kind_column(&peers).ok_or_else(|| {
        unfit(
            &peers,
            "No column is constant in each of them, with another value in each.".into(),
            union_hint(&peers),
        )
    })?;
    let (column, type_text) = found;
    let value = constant(me, &column).map_or("", |c| c.0);
    require_alike(members, &peers, scope)?;
    require_one_generator(&peers)?;
    Ok(Scope {
        column,
        type_text,
        value: value.to_owned(),
        table: None,
        equal_in: Vec::new(),
    })
}

fn union_hint(peers: &[&Member]) -> String {
    let name = peers.last().map_or("", |p| p.shape.name.name.as_str());
    format!(
        "Name a column of the target that tells the kind of a row, in each source: columns => '{{\"kind\": \"''{name}''\"}}'."
    )
}

/// Whether the server generates the keys of all of them.
pub(super) fn is_surrogate(peers: &[&Member]) -> bool {
    peers.iter().all(|p| p.remap || generated_key(p).is_some())
}

/// Whether every other source that gives one of these columns has a foreign key over them to the same table. If one has none,
/// the target must not have this key either: the target must allow what each source allows.
pub(super) fn all_refer(
    members: &[Member],
    me: &Member,
    columns: &[Ident],
    to: u32,
    scope: Option<&Scope>,
) -> Result<bool> {
    let others = peers(members, me).into_iter();
    for p in others.filter(|p| p.shape.oid != me.shape.oid) {
        let theirs = target_columns(members, p, scope)?;
        let names = super::columns::renames(&theirs);
        let gives = theirs.iter().any(|c| columns.contains(&c.name));
        let refers = p.shape.fkeys.iter().any(|f| {
            f.ref_oid == to && super::map_names(&f.columns, &names).is_some_and(|c| c == columns)
        });
        if gives && !refers {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the foreign key connects two sources of one merge: in the target, both of its ends are the merged row's key.
pub(super) fn joins_parts(members: &[Member], me: &Member, fkey: &ForeignKey) -> Result<bool> {
    let parent = members.iter().find(|m| m.shape.oid == fkey.ref_oid);
    let one_row = parent.is_some_and(|p| {
        p.target == me.target
            && p.shape.oid != me.shape.oid
            && fkey.columns == me.shape.key_columns()
            && fkey.ref_columns == p.shape.key_columns()
    });
    Ok(one_row && find_combine(members, me)? == Some(Combine::Merge))
}

/// Whether any member refers to rows of one of these.
pub(super) fn are_referenced(members: &[Member], peers: &[&Member]) -> bool {
    peers.iter().any(|p| {
        let key = p.shape.key_columns();
        members
            .iter()
            .flat_map(|m| &m.shape.fkeys)
            .any(|f| f.ref_oid == p.shape.oid && same_columns(&f.ref_columns, &key))
    })
}

#[cfg(test)]
mod tests;
