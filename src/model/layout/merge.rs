//! Merge: rows of several sources with the same key become one row, and each source gives its own columns.

use super::columns::target_columns;
use super::combine::{find_combine, main, peers, require_alike, unfit};
use super::{Member, Origin, Scope, TargetColumn};
use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::expression::Expression;
use crate::model::shape::TableColumn;
use crate::model::spec::Combine;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// The mapping that this `Merge` belongs to.
    pub me: i32,
    /// All sources, the leading one first.
    pub sources: Vec<MergePart>,
    /// The merged row exists as long as the leading source has its row. Otherwise it exists as long as any source has one.
    pub by_main: bool,
}

/// One source's part of the merged row, without the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergePart {
    pub mapping: i32,
    pub columns: Vec<Ident>,
    /// Columns that are never null where the source has a row.
    pub required: Vec<Ident>,
}

impl Merge {
    /// Whether this source's mapping is the one that acts for the whole merge.
    pub fn leads(&self) -> bool {
        self.leader() == self.me
    }

    pub fn leader(&self) -> i32 {
        self.sources.first().map_or(self.me, |s| s.mapping)
    }

    /// All mappings, the leading one first.
    pub fn mappings(&self) -> impl Iterator<Item = i32> {
        self.sources.iter().map(|s| s.mapping)
    }

    pub fn own_part(&self) -> Option<&MergePart> {
        self.sources.iter().find(|s| s.mapping == self.me)
    }

    /// Whether the merged row exists only as long as this source has its row.
    pub fn decides(&self) -> bool {
        self.by_main && self.leads()
    }
}

/// For a merge: renames the key columns of `me` to those of the sources added before, where the user did not name them.
pub fn renamed_key(before: &[Member], me: Member) -> Result<Vec<(Ident, Option<Expression>)>> {
    let Some(first) = before.first() else {
        return Ok(Vec::new());
    };
    let all: Vec<Member> = before.iter().copied().chain([me]).collect();
    if find_combine(&all, &me)? != Some(Combine::Merge) {
        return Ok(Vec::new());
    }
    let (ours, theirs) = (me.shape.key_columns(), target_key(before, first)?);
    let mut renamed = Vec::new();
    for (own, wanted) in ours.iter().zip(theirs) {
        let said = me.spec.columns.iter().any(|(n, e)| {
            *n == *own || e.as_ref().is_some_and(|e| Ident::new(e.up.trim()) == *own)
        });
        if *own == wanted || said || ours.contains(&wanted) {
            continue;
        }
        let mut rename = Expression::new(own.as_str(), None);
        rename.type_text = me.shape.column(own).map(|c| c.type_text.clone());
        renamed.push((wanted, Some(rename)));
        renamed.push((own.clone(), None));
    }
    Ok(renamed)
}

fn target_key(members: &[Member], of: &Member) -> Result<Vec<Ident>> {
    let pk = of
        .shape
        .primary_key()
        .ok_or_else(|| Error::no_primary_key(of.shape.name.clone()))?;
    let columns = target_columns(members, of, None)?;
    let key = super::columns::key_columns(of, pk, &columns)?;
    Ok(key.into_iter().map(|k| k.target).collect())
}

/// Returns all columns of the target; those that other sources give have origin `Partner`.
pub(super) fn columns(
    members: &[Member],
    me: &Member,
    scope: Option<&Scope>,
) -> Result<Vec<TargetColumn>> {
    let peers = peers(members, me);
    require_fit(&peers)?;
    require_alike(members, &peers, scope)?;
    let mut all: Vec<TargetColumn> = Vec::new();
    for p in &peers {
        let mine = p.shape.oid == me.shape.oid;
        for mut column in target_columns(members, p, scope)? {
            if column.via.is_some() {
                return Err(unfit(
                    &peers,
                    format!(
                        "Column \"{}\" of {} names rows that get new ids.",
                        column.name.as_str(),
                        p.shape.name.plain()
                    ),
                    "Keep the ids of that table: leave its id_mode out.".into(),
                ));
            }
            let before = all.iter_mut().find(|c| c.name == column.name);
            match before {
                Some(known) if mine => *known = column,
                Some(_) => {}
                None => {
                    if !mine && column.origin != Origin::Scope {
                        column.origin = Origin::Partner;
                    }
                    all.push(column);
                }
            }
        }
    }
    Ok(all)
}

/// Returns which source gives which columns. Errors: 22023 where two sources give the same column, or a key does not fit.
pub(super) fn resolve(members: &[Member], me: &Member, scope: Option<&Scope>) -> Result<Merge> {
    let peers = peers(members, me);
    let leader = main(&peers);
    let first = leader.or(peers.first().copied());
    let mut sources: Vec<MergePart> = Vec::new();
    let led = peers
        .iter()
        .copied()
        .filter(|p| first.is_none_or(|f| f.shape.oid != p.shape.oid));
    for p in first.into_iter().chain(led) {
        let given = resolve_part(members, p, scope)?;
        let twice = given
            .columns
            .iter()
            .find(|c| sources.iter().any(|s| s.columns.contains(c)));
        if let Some(column) = twice {
            return Err(unfit(
                &peers,
                format!("Two of them give column \"{}\".", column.as_str()),
                format!(
                    "Leave it out in one, columns => '{{\"{0}\": null}}', or give it another name there: '{{\"other_name\": \"{0}\", \"{0}\": null}}'.",
                    column.as_str()
                ),
            ));
        }
        sources.push(given);
    }
    Ok(Merge {
        me: me.id,
        sources,
        by_main: leader.is_some(),
    })
}

fn require_fit(peers: &[&Member]) -> Result<()> {
    let late = |p: &Member| p.shape.primary_key().is_some_and(|k| k.deferrable);
    let (detail, hint) = if peers.iter().any(|p| p.remap) {
        (
            "The rows of one key become one row, and new ids would tear them apart.",
            "Leave id_mode out.",
        )
    } else if peers.iter().any(|p| p.spec.filter.is_some()) {
        (
            "A filter of one source says nothing of the others' share in a row.",
            "Leave filter out.",
        )
    } else if peers.iter().any(|p| late(p)) {
        (
            "The primary key of one is deferrable, so rows may swap their keys.",
            "Make it not deferrable.",
        )
    } else {
        return Ok(());
    };
    Err(unfit(peers, detail.into(), hint.into()))
}

fn resolve_part(members: &[Member], p: &Member, scope: Option<&Scope>) -> Result<MergePart> {
    let pk = p
        .shape
        .primary_key()
        .ok_or_else(|| Error::no_primary_key(p.shape.name.clone()))?;
    let columns = target_columns(members, p, scope)?;
    let key = super::columns::key_columns(p, pk, &columns)?;
    let own =
        |c: &&TargetColumn| c.origin != Origin::Scope && !key.iter().any(|k| k.target == c.name);
    let never_null = |c: &TargetColumn| match &c.origin {
        Origin::Source(name) => p.shape.column(name).is_some_and(|c| c.not_null),
        _ => false,
    };
    let own: Vec<&TargetColumn> = columns.iter().filter(own).collect();
    let required = own.iter().filter(|c| never_null(c));
    Ok(MergePart {
        mapping: p.id,
        required: required.map(|c| c.name.clone()).collect(),
        columns: own.iter().map(|c| c.name.clone()).collect(),
    })
}

/// Whether the server generates the key in one of them.
pub(super) fn is_drawn(peers: &[&Member]) -> bool {
    peers
        .iter()
        .any(|p| match p.shape.key_columns().as_slice() {
            [only] => p.shape.column(only).is_some_and(TableColumn::is_surrogate),
            _ => false,
        })
}
