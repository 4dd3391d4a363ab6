//! The layout of a target: computed once from the source's shape and the user's spec, stored with the mapping, and read by all
//! code that writes or compares rows.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::did_you_mean::nearest;
use crate::model::shape::{Equality, Shape, TableColumn};
use crate::model::spec::{Combine, Spec, known_column};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod columns;
pub mod combine;
pub mod exclusions;
pub mod id_map;
pub mod indexes;
mod keys;
pub mod merge;
pub mod names_now;
pub mod reverse;

use columns::{key_columns, renames, target_columns};
use exclusions::TargetExclusion;
use id_map::{MappedColumn, NewIds};
pub use indexes::TargetIndex;
use merge::Merge;
use reverse::BackColumn;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scope {
    pub column: Ident,
    pub type_text: String,
    pub value: String,
    /// The table that the scope's value refers to, and its key column.
    pub table: Option<(QualifiedName, Ident)>,
    /// Index access methods other than btree that can compare its values with `=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equal_in: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layout {
    pub scope: Option<Scope>,
    /// For a union: the column that tells the sources apart, and its value in rows of this source.
    #[serde(default)]
    pub kind: Option<Scope>,
    /// For a merge: rows of several sources become one row.
    #[serde(default)]
    pub merge: Option<Merge>,
    pub columns: Vec<TargetColumn>,
    /// The source's key, in its order, with the target column of each part.
    pub key: Vec<KeyColumn>,
    /// The key may have duplicates within a transaction, until the deferred check.
    #[serde(default)]
    pub key_deferrable: bool,
    pub primary_key: Vec<Ident>,
    /// Members refer to this table: `UNIQUE (scope, key)` exists in addition to the primary key.
    pub scoped_key: Option<Vec<Ident>>,
    /// The unique columns that ON CONFLICT names.
    pub arbiter: Vec<Ident>,
    pub indexes: Vec<TargetIndex>,
    #[serde(default)]
    pub exclusions: Vec<TargetExclusion>,
    pub fkeys: Vec<TargetKey>,
    /// How to compute the source's columns from a target row; None where that is not possible.
    #[serde(default)]
    pub back: Option<Vec<BackColumn>>,
    /// In id mode `remap`: the new ids that the target draws.
    #[serde(default)]
    pub drawn: Option<NewIds>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetColumn {
    pub name: Ident,
    pub origin: Origin,
    pub type_text: String,
    /// Written by mirror and batch; false for a generated column, which the server computes.
    pub insert: bool,
    /// How both sides are compared; known once the target exists.
    #[serde(default)]
    pub compare: Compare,
    /// Set where the column holds an id that differs in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<MappedColumn>,
}

impl TargetColumn {
    /// Returns the source's column that it carries, under its own or another name.
    pub fn source_column(&self) -> Option<&Ident> {
        match &self.origin {
            Origin::Source(name) => Some(name),
            _ => None,
        }
    }
}

/// A carried column must have the same text on both sides. A column made by an expression must only be equal: the user chose
/// its type, and the target may store 1.0 as 1.00.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// By the type's hash function, which returns the same hash for equal values.
    Hash,
    #[default]
    Text,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Scope,
    /// A column of the source, under its own or another name.
    Source(Ident),
    Expression(String),
    /// Given by another source of the same merged row.
    Partner,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyColumn {
    pub source: Ident,
    pub target: Ident,
    pub type_text: String,
    pub equals: QualifiedName,
    /// Its type has a hash function; known once the target exists.
    #[serde(default)]
    pub hashable: bool,
    /// Set where its value differs in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<MappedColumn>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetKey {
    pub name: Ident,
    pub columns: Vec<Ident>,
    pub references: QualifiedName,
    pub ref_columns: Vec<Ident>,
    pub on_delete: String,
    pub on_update: String,
    pub set_columns: Vec<Ident>,
    #[serde(default)]
    pub comment: Option<String>,
    /// The source's key is NOT VALID: rows that are there may violate it, and so may their copies.
    #[serde(default)]
    pub not_valid: bool,
    /// The source's key was dropped since; found anew each time.
    #[serde(skip)]
    pub is_gone: bool,
    #[serde(default)]
    pub match_full: bool,
}

/// A table of the migration, as the other tables see it.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The id of its mapping; 0 before the mapping exists.
    pub id: i32,
    pub shape: &'a Shape,
    pub spec: &'a Spec,
    pub target: &'a QualifiedName,
    /// Its target draws new ids.
    pub remap: bool,
    /// The shape of an adopted target: it draws ids by its own rule, and its rows may be matched to source rows.
    pub adopted_shape: Option<&'a Shape>,
}

impl Member<'_> {
    /// Whether every source column is carried under its own name, so that expressions over these columns stay valid; there may
    /// be additional columns.
    fn keeps_all(&self) -> bool {
        self.spec.keeps_all(self.shape)
    }
}

/// Gives each item a name that none before it has.
fn name_apart<T>(mut items: Vec<T>, name_of: impl Fn(&mut T) -> &mut Ident) -> Vec<T> {
    let mut taken: Vec<Ident> = Vec::new();
    for item in &mut items {
        let name = name_of(item);
        *name = name.avoid_taken(|n| taken.contains(n));
        taken.push(name.clone());
    }
    items
}

/// Computes the layout of `members[which]`.
pub fn resolve(members: &[Member], which: usize, scope: Option<&Scope>) -> Result<Layout> {
    let me = &members[which];
    let pk = me
        .shape
        .primary_key()
        .ok_or_else(|| Error::no_primary_key(me.shape.name.clone()))?;
    let way = combine::find_combine(members, me)?;
    let columns = match way {
        Some(Combine::Merge) => merge::columns(members, me, scope)?,
        _ => target_columns(members, me, scope)?,
    };
    let names = renames(&columns);
    let key = key_columns(me, pk, &columns)?;
    let drawn = id_map::resolve_new_ids(members, me)?;
    let peers = combine::peers(members, me);
    let kind = match way {
        Some(Combine::Union) => Some(combine::kind(members, me, scope)?),
        _ => None,
    };
    let merge = match way {
        Some(Combine::Merge) => Some(merge::resolve(members, me, scope)?),
        _ => None,
    };
    let scoped = |columns: &[Ident]| {
        let marks = scope.iter().copied().chain(&kind);
        let marks = marks.map(|s| s.column.clone());
        marks.chain(columns.iter().cloned()).collect::<Vec<_>>()
    };

    let target_key: Vec<Ident> = key.iter().map(|k| k.target.clone()).collect();
    let surrogate = match way {
        Some(Combine::Union) => combine::is_surrogate(&peers),
        Some(Combine::Merge) => merge::is_drawn(&peers),
        None => {
            matches!(key.as_slice(), [k] if drawn.is_some() || me.shape.column(&k.source).is_some_and(TableColumn::is_surrogate))
        }
    };
    let primary_key = match &me.spec.target_key {
        Some(columns) => columns.clone(),
        None if surrogate => target_key.clone(),
        None => scoped(&target_key),
    };
    let scoped_key = (scope.is_some() && combine::are_referenced(members, &peers))
        .then(|| scoped(&target_key))
        .filter(|wanted| !same_columns(wanted, &primary_key));
    let arbiter = scoped_key.clone().unwrap_or_else(|| {
        if same_columns(&primary_key, &target_key) {
            target_key.clone()
        } else {
            scoped(&target_key)
        }
    });
    let mut layout = Layout {
        scope: scope.cloned(),
        kind,
        merge,
        columns,
        key,
        key_deferrable: pk.deferrable,
        scoped_key: scoped_key.or_else(|| {
            // The user chose the primary key: the arbiter must exist in addition.
            (!same_columns(&arbiter, &primary_key)).then(|| arbiter.clone())
        }),
        primary_key,
        arbiter,
        indexes: Vec::new(),
        exclusions: Vec::new(),
        fkeys: keys::target_keys(members, me, &names, scope)?,
        back: None,
        drawn,
    };
    check_unique_keys(me, &layout)?;
    let ids: Vec<&Ident> = layout.mapped_columns().map(|v| &v.column).collect();
    id_map::require_not_generated_from(me, &ids)?;
    layout.back = reverse::way_back(me.shape, me.spec, &layout).ok();
    layout.indexes = indexes::target_indexes(me, &layout, &names);
    layout.exclusions = exclusions::target_exclusions(me, &layout, &names);
    Ok(layout)
}

impl Layout {
    /// Decides how columns are compared, by the types of the target.
    pub fn compare_as(&mut self, target: &Shape) {
        for column in &mut self.columns {
            let likeness = target.column(&column.name).map(|c| c.compare);
            column.compare = match (&column.origin, likeness) {
                (_, None | Some(Equality::Text)) => Compare::Text,
                (Origin::Source(_) | Origin::Partner, Some(Equality::Value)) => Compare::Text,
                (_, Some(_)) => Compare::Hash,
            };
        }
        for key in &mut self.key {
            let likeness = target.column(&key.target).map(|c| c.compare);
            key.hashable = likeness.is_some_and(|l| l != Equality::Text);
        }
    }

    /// Returns the keys that refer to tables outside of the migration, without the scope's. `targets`: those of all members.
    pub fn outside_keys(&self, targets: &[&QualifiedName]) -> Vec<&TargetKey> {
        let is_scope = |k: &TargetKey| {
            let scope = self.scope.as_ref();
            scope.is_some_and(|s| k.columns == [s.column.clone()])
        };
        let keys = self.fkeys.iter();
        keys.filter(|k| !targets.contains(&&k.references) && !is_scope(k))
            .collect()
    }

    /// The columns that this source gives, and the scope.
    pub fn own_columns(&self) -> impl Iterator<Item = &TargetColumn> {
        let mut columns = self.columns.iter();
        std::iter::from_fn(move || columns.by_ref().find(|c| c.origin != Origin::Partner))
    }

    /// Whether another source leads the merge: that one decides which rows exist, and compares them.
    pub fn is_partner(&self) -> bool {
        self.merge.as_ref().is_some_and(|m| !m.leads())
    }

    /// Drops indexes whose names another source of the same target also has.
    pub fn leave_indexes_to(&mut self, other: &Layout) {
        self.indexes
            .retain(|i| !other.indexes.iter().any(|o| o.name == i.name));
    }

    /// Columns that have one constant value in all rows of this mapping.
    pub fn marks(&self) -> impl Iterator<Item = &Scope> {
        self.scope.iter().chain(&self.kind)
    }

    /// Columns that are translated by an id map, the drawn id included.
    pub fn mapped_columns(&self) -> impl Iterator<Item = &MappedColumn> {
        self.columns.iter().filter_map(|c| c.via.as_ref())
    }

    /// Returns the target column that a source column is carried to.
    pub fn target_column_of(&self, source: &Ident) -> Option<&TargetColumn> {
        let origin = Origin::Source(source.clone());
        self.columns.iter().find(|c| c.origin == origin)
    }

    /// Columns that are compared by value, not by text.
    pub fn by_value(&self, target: &Shape) -> Vec<&Ident> {
        let made = self
            .columns
            .iter()
            .filter(|c| matches!(c.origin, Origin::Expression(_)));
        let differs = |name: &Ident| {
            target
                .column(name)
                .is_some_and(|c| c.compare == Equality::Value)
        };
        made.map(|c| &c.name).filter(|n| differs(n)).collect()
    }
}

impl KeyColumn {
    /// Type of the target's column.
    pub fn target_type(&self) -> &str {
        self.via
            .as_ref()
            .map_or(&self.type_text, |v| &v.target_type)
    }

    pub fn target_equals(&self) -> QualifiedName {
        self.via
            .as_ref()
            .map_or_else(|| self.equals.clone(), MappedColumn::target_equals)
    }
}

fn same_columns(a: &[Ident], b: &[Ident]) -> bool {
    a.len() == b.len() && a.iter().all(|c| b.contains(c))
}

fn check_unique_keys(me: &Member, layout: &Layout) -> Result<()> {
    let known = |name: &Ident| layout.columns.iter().any(|c| c.name == *name);
    let lists = me.spec.unique_keys.iter().chain(me.spec.target_key.iter());
    if let Some(name) = lists.flatten().find(|n| !known(n)) {
        let columns = layout.columns.iter().map(|c| c.name.as_str());
        return Err(Error::no_such_column(
            format!("target {}", me.target.plain()),
            name.as_str().to_owned(),
            nearest(name.as_str(), columns).map(str::to_owned),
        ));
    }
    for (column, _) in &me.spec.refs {
        known_column(me.shape, column)?;
    }
    Ok(())
}

fn map_names(columns: &[Ident], names: &BTreeMap<Ident, Ident>) -> Option<Vec<Ident>> {
    columns.iter().map(|c| names.get(c).cloned()).collect()
}

fn join_names(columns: &[Ident]) -> String {
    columns
        .iter()
        .map(Ident::as_str)
        .collect::<Vec<_>>()
        .join("_")
}

#[cfg(test)]
mod tests;
