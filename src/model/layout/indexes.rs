//! Indexes of the target.

use super::columns::renames;
use super::{Layout, Member, Scope, map_names, name_apart};
use crate::ident::{Ident, Literal};
use crate::model::shape::{IndexColumn, Shape, TableIndex};
use crate::model::spec::Spec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetIndex {
    pub name: Ident,
    pub unique: bool,
    /// Becomes a UNIQUE constraint once it is built.
    pub constraint: bool,
    pub deferrable: bool,
    pub nulls_not_distinct: bool,
    pub method: Ident,
    pub columns: Vec<IndexColumn>,
    pub include: Vec<Ident>,
    pub predicate: Option<String>,
    pub options: Vec<String>,
    /// None for the default tablespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<Ident>,
    #[serde(default)]
    pub comment: Option<String>,
    /// Statistics targets of its columns, as (column number, target).
    #[serde(default)]
    pub statistics: Vec<(i32, i32)>,
}

impl TargetIndex {
    /// Whether a built index has the method, the columns, the operator classes with their parameters and the options of this one.
    pub fn is_made_as(&self, built: &TableIndex) -> bool {
        let same = |(a, b): (&IndexColumn, &IndexColumn)| {
            let named = a.name.is_none() || a.name == b.name;
            named && a.suffix == b.suffix
        };
        self.method == built.method
            && self.unique == built.unique
            && self.nulls_not_distinct == built.nulls_not_distinct
            && self.options == built.options
            && self.include == built.include
            && self.predicate.is_some() == built.predicate.is_some()
            && self.columns.len() == built.columns.len()
            && self.columns.iter().zip(&built.columns).all(same)
    }

    /// Whether building the index may evaluate user expressions: its text holds more than names.
    pub fn has_expressions(&self) -> bool {
        let is_column = |c: &IndexColumn| {
            let name = c.name.as_ref();
            name.is_some_and(|n| c.text == n.to_string()) && holds_names_only(&c.suffix)
        };
        let options = self.options.iter();
        self.predicate.is_some()
            || !self.columns.iter().all(is_column)
            || !options.map(String::as_str).all(holds_names_only)
    }
}

/// Whether a text holds names, words and settings only (`COLLATE "C" DESC`, `fillfactor=70`): no call, cast, literal or comment.
fn holds_names_only(text: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || " _\".=".contains(c);
    text.chars().all(harmless)
}

/// Most columns of an index, INCLUDE counted, and of a foreign key (INDEX_MAX_KEYS, pg_config_manual.h).
pub const MOST_COLUMNS: usize = 32;

/// Returns every index besides the keys that exist from the start: the source's indexes with the scope in front, the user's
/// unique keys, and one for the scope and for each reference, unless the beginning of another index serves already.
pub(super) fn target_indexes(
    me: &Member,
    layout: &Layout,
    names: &BTreeMap<Ident, Ident>,
) -> Vec<TargetIndex> {
    let mut made = Vec::new();
    for columns in &me.spec.unique_keys {
        made.push(plain_index(me, layout, columns, true));
    }
    for index in me
        .shape
        .indexes
        .iter()
        .filter(|i| !i.primary && !i.exclusion && i.valid)
    {
        made.extend(carried_index(me, layout, index, names));
    }
    let wanted = made.len();
    // A key between members begins with the scope. A key to an outside table does not: a delete in that table looks up rows of
    // all scopes.
    for key in layout.fkeys.iter() {
        made.push(index_over(me, &key.columns, false));
    }
    for (column, _) in &me.spec.refs {
        if let Some(target) = names.get(column) {
            made.push(plain_index(me, layout, std::slice::from_ref(target), false));
        }
    }
    if layout.scope.is_some() {
        made.push(plain_index(me, layout, &[], false));
    }
    name_apart(without_served(made, wanted, layout), |i| &mut i.name)
}

fn plain_index(me: &Member, layout: &Layout, columns: &[Ident], unique: bool) -> TargetIndex {
    let scope = layout.scope.iter().map(|s| &s.column);
    let columns: Vec<Ident> = scope
        .filter(|s| !columns.contains(s))
        .chain(columns)
        .cloned()
        .collect();
    of_kind(index_over(me, &columns, unique), layout)
}

/// In a union, limits a unique index to the rows of its own source.
fn of_kind(mut index: TargetIndex, layout: &Layout) -> TargetIndex {
    match layout.kind.as_ref().filter(|_| index.unique) {
        Some(kind) => {
            index.name = Ident::derive(&[index.name.as_str(), &kind.value]);
            for_rows_of(index, kind)
        }
        None => index,
    }
}

/// Limits an index to the rows of one scope or kind.
fn for_rows_of(mut index: TargetIndex, mark: &Scope) -> TargetIndex {
    let condition = format!(
        "{} = {}::{}",
        mark.column,
        Literal(&mark.value),
        mark.type_text
    );
    index.predicate = Some(match &index.predicate {
        None => condition,
        Some(own) => format!("({own}) AND {condition}"),
    });
    index.constraint = false;
    index
}

fn index_over(me: &Member, columns: &[Ident], unique: bool) -> TargetIndex {
    let columns: Vec<IndexColumn> = columns.iter().map(plain_column).collect();
    TargetIndex {
        name: index_name(me, &columns, unique),
        unique,
        constraint: unique,
        deferrable: false,
        nulls_not_distinct: false,
        method: "btree".into(),
        columns,
        include: Vec::new(),
        predicate: None,
        options: Vec::new(),
        tablespace: None,
        comment: None,
        statistics: Vec::new(),
    }
}

/// Whether the target has all columns that the index uses; for texts of expressions and conditions, under the same names.
pub(super) fn is_carried(
    index: &TableIndex,
    keeps_all: bool,
    names: &BTreeMap<Ident, Ident>,
) -> bool {
    let uses_text = index.predicate.is_some() || index.columns.iter().any(|c| c.name.is_none());
    let columns = index.columns.iter().filter_map(|c| c.name.as_ref());
    (keeps_all && !index.whole_row || !uses_text)
        && columns.chain(&index.include).all(|c| names.contains_key(c))
}

/// Returns the source's indexes that the target does not get, because it lacks columns, or has them under other names.
pub fn left_out<'a>(shape: &'a Shape, spec: &Spec, layout: &Layout) -> Vec<&'a TableIndex> {
    let names = renames(&layout.columns);
    let keeps_all = spec.keeps_all(shape);
    let indexes = shape
        .indexes
        .iter()
        .filter(|i| !i.primary && !i.exclusion && i.valid);
    indexes
        .filter(|i| !is_carried(i, keeps_all, &names))
        .collect()
}

/// None where the index uses columns that the target does not have under these names.
fn carried_index(
    me: &Member,
    layout: &Layout,
    index: &TableIndex,
    names: &BTreeMap<Ident, Ident>,
) -> Option<TargetIndex> {
    if !is_carried(index, me.keeps_all(), names) {
        return None;
    }
    let mut columns = Vec::new();
    for c in &index.columns {
        columns.push(match &c.name {
            None => c.clone(),
            Some(name) => {
                let target = names.get(name)?;
                IndexColumn {
                    name: Some(target.clone()),
                    text: target.to_string(),
                    ..c.clone()
                }
            }
        });
    }
    let mut before = 0;
    let is_full = columns.len() + index.include.len() >= MOST_COLUMNS;
    // Other access methods have no operator class for the scope's type, or gain nothing from it.
    if let (Some(scope), "btree", false) = (&layout.scope, index.method.as_str(), is_full) {
        before = 1;
        columns.insert(0, plain_column(&scope.column));
    }
    // A deferrable key cannot be partial.
    if let (Some(kind), true) = (&layout.kind, index.deferrable) {
        columns.insert(before as usize, plain_column(&kind.column));
        before += 1;
    }
    let made = TargetIndex {
        name: index_name(me, &columns, index.unique),
        unique: index.unique,
        constraint: index.constraint,
        deferrable: index.deferrable,
        nulls_not_distinct: index.nulls_not_distinct,
        method: index.method.clone(),
        columns,
        include: map_names(&index.include, names)?,
        predicate: index.predicate.clone(),
        options: index.options.clone(),
        tablespace: None,
        comment: index.comment.clone(),
        statistics: index
            .statistics
            .iter()
            .map(|(n, to)| (n + before, *to))
            .collect(),
    };
    if index.deferrable {
        return Some(made);
    }
    let made = of_kind(made, layout);
    Some(match &layout.scope {
        Some(scope) if is_full && made.unique => for_rows_of(made, scope),
        _ => made,
    })
}

fn plain_column(name: &Ident) -> IndexColumn {
    IndexColumn {
        name: Some(name.clone()),
        text: name.to_string(),
        suffix: String::new(),
        equals: None,
    }
}

fn index_name(me: &Member, columns: &[IndexColumn], unique: bool) -> Ident {
    let mut parts = vec![me.target.name.as_str()];
    parts.extend(
        columns
            .iter()
            .map(|c| c.name.as_ref().map_or("expr", Ident::as_str)),
    );
    parts.push(if unique { "key" } else { "idx" });
    Ident::derive(&parts)
}

/// Drops plain indexes that are there twice, and of ours, which come after the first `wanted`, those that another index or key begins
/// with. The source's own stay: a short index beside a longer one is somebody's choice.
fn without_served(made: Vec<TargetIndex>, wanted: usize, layout: &Layout) -> Vec<TargetIndex> {
    let text = |columns: &[IndexColumn]| {
        columns
            .iter()
            .map(|c| format!("{} {}", c.text, c.suffix))
            .collect::<Vec<_>>()
    };
    let key_text = |key: &[Ident]| key.iter().map(|c| format!("{c} ")).collect::<Vec<_>>();
    let mut kept: Vec<TargetIndex> = Vec::new();
    for (at, index) in made.iter().enumerate() {
        let mine = text(&index.columns);
        let btree = index.method.as_str() == "btree";
        let serves =
            |theirs: &[String]| theirs == mine || (at >= wanted && theirs.starts_with(&mine));
        let keys = [Some(&layout.primary_key), layout.scoped_key.as_ref()];
        let by_key = keys.into_iter().flatten().any(|k| {
            let k = key_text(k);
            if index.unique {
                // ON CONFLICT ON CONSTRAINT may name a constraint that says what the key says.
                k == mine && !index.constraint
            } else {
                serves(&k)
            }
        });
        let by_other = made.iter().enumerate().any(|(other_at, other)| {
            let theirs = text(&other.columns);
            let longer_or_first =
                theirs.len() > mine.len() || other_at < at || (other.unique && !index.unique);
            other_at != at
                && other.method == index.method
                && other.predicate == index.predicate
                && if index.unique {
                    other.unique && theirs == mine && other_at < at
                } else {
                    serves(&theirs) && longer_or_first
                }
        });
        let plain = index.include.is_empty() && index.predicate.is_none();
        if !(btree && plain && (by_key || by_other)) {
            kept.push(index.clone());
        }
    }
    kept
}
