//! One direction of writes: the view that says what a row should be, and the table that is kept equal to it. Mirror and batch
//! are generated from a `Flow` and work in both directions.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::id_map::NewIds;
use crate::model::layout::reverse::{BackColumn, BackValue};
use crate::model::layout::{Layout, Origin, Scope};
use crate::sqlgen::id_lookup::ReferencedIds;
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::view_names;

mod key;

pub use key::FlowKey;
use key::{flow_key, forth_key, references};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Source to target.
    Forward,
    /// Target to source, only rows of the scope.
    Reverse,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Forward, Direction::Reverse];

    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|w| w.as_str() == text)
    }
}

#[derive(Clone, Debug)]
pub struct Flow {
    pub direction: Direction,
    pub mapping: i32,
    /// The rows as they should be, with the touched table's key (`view_names::key_name`) and tid.
    pub view: QualifiedName,
    pub touched: QualifiedName,
    pub written: QualifiedName,
    /// Columns that are written; view and table use the same names.
    pub columns: Vec<Ident>,
    pub key: Vec<FlowKey>,
    /// The unique columns of the written table that ON CONFLICT names.
    pub arbiter: Vec<Ident>,
    /// Key columns, which an UPDATE never sets: it would lock the row FOR UPDATE instead of FOR NO KEY UPDATE, and block foreign key checks.
    pub fixed: Vec<Ident>,
    /// Which rows of the written table (alias t) belong to this mapping; None for all.
    pub own: Option<String>,
    /// Two rows may have the same key until the end of the transaction.
    pub deferrable: bool,
    /// Columns of the written table with one constant value in this mapping's rows; a row whose key changes keeps it.
    pub marks: Vec<Ident>,
    /// Only rows with these values in the touched table are followed.
    pub follows: Vec<Scope>,
    /// The scope: other rows of the touched table do not belong to the migration.
    pub scope: Option<Scope>,
    /// Reverse: target columns that are computed again from the source after a write, to see whether the row comes back the same.
    pub comes_forth: Vec<Ident>,
    /// Forward: target columns that an expression over the source row makes.
    pub made: Vec<Ident>,
    /// Columns whose value in the written table may be kept.
    pub kept: Vec<KeptValue>,
    /// Set where the target draws new ids.
    pub drawn: Option<NewIds>,
    /// Columns that hold ids translated by a map.
    pub vias: Vec<ReferencedIds>,
    /// `$1 …` is a key of the written table, not of the touched table.
    pub by_written: bool,
    /// The target's rows are merged from rows of several sources.
    pub merged: bool,
    /// Another mapping of the merge has the triggers for this one.
    pub led: bool,
}

/// A source column that is not overwritten while `up` of its old value already gives the target's value: `down` might return another one,
/// and a write to another column must not change this one.
#[derive(Clone, Debug)]
pub struct KeptValue {
    pub column: Ident,
    /// The target column made from it.
    pub made: Ident,
}

impl Flow {
    pub fn forward(
        id: i32,
        source: &QualifiedName,
        target: &QualifiedName,
        layout: &Layout,
    ) -> Self {
        let columns = layout.columns.iter().filter(|c| c.insert);
        let fixed = layout.arbiter.iter().chain(&layout.primary_key);
        Self {
            direction: Direction::Forward,
            mapping: id,
            view: view_names::name(id),
            touched: source.clone(),
            written: target.clone(),
            columns: columns.map(|c| c.name.clone()).collect(),
            key: flow_key(layout, Direction::Forward),
            arbiter: layout.arbiter.clone(),
            fixed: fixed.cloned().collect(),
            own: scope_is_mine("t", layout),
            deferrable: layout.key_deferrable,
            marks: layout.marks().map(|s| s.column.clone()).collect(),
            follows: Vec::new(),
            scope: None,
            comes_forth: Vec::new(),
            made: layout
                .columns
                .iter()
                .filter(|c| c.insert && matches!(c.origin, Origin::Expression(_)))
                .map(|c| c.name.clone())
                .collect(),
            kept: Vec::new(),
            drawn: layout.drawn.clone(),
            vias: references(layout, Direction::Forward),
            by_written: false,
            merged: layout.merge.is_some(),
            led: false,
        }
    }

    /// None where the mapping has no reverse direction.
    pub fn reverse(
        id: i32,
        source: &QualifiedName,
        target: &QualifiedName,
        layout: &Layout,
        filter: Option<&str>,
    ) -> Option<Self> {
        let back = layout.back.as_ref()?;
        let key = flow_key(layout, Direction::Reverse);
        let arbiter: Vec<Ident> = key.iter().map(|k| k.written.clone()).collect();
        Some(Self {
            direction: Direction::Reverse,
            mapping: id,
            view: view_names::reverse_name(id),
            touched: target.clone(),
            written: source.clone(),
            columns: back.iter().map(|c| c.source.clone()).collect(),
            own: filter.map(|_| {
                format!(
                    "EXISTS (SELECT FROM {} AS f WHERE {})",
                    view_names::name(id),
                    forth_key(&key, "f", "t")
                )
            }),
            fixed: arbiter.clone(),
            arbiter,
            key,
            deferrable: false,
            marks: Vec::new(),
            follows: layout.marks().cloned().collect(),
            scope: layout.scope.clone(),
            comes_forth: layout
                .own_columns()
                .filter(|c| c.insert)
                .map(|c| c.name.clone())
                .collect(),
            made: Vec::new(),
            kept: back.iter().filter_map(kept_value).collect(),
            drawn: layout.drawn.clone(),
            vias: references(layout, Direction::Reverse),
            by_written: false,
            merged: layout.merge.is_some(),
            led: layout.is_partner(),
        })
    }

    /// Whether existing rows of the target may be matched to source rows.
    pub fn finds(&self) -> bool {
        self.drawn.as_ref().is_some_and(|d| !d.natural.is_empty())
    }

    /// The same direction, writing only columns that an expression makes, outside the key; None where there is none.
    pub fn made_by_expressions(&self) -> Option<Self> {
        let columns = self.made.iter().filter(|c| !self.fixed.contains(c));
        let columns: Vec<Ident> = columns.cloned().collect();
        (!columns.is_empty()).then(|| Self {
            columns,
            ..self.clone()
        })
    }

    /// The same direction, with parameters that are keys of the written table.
    pub fn asked_by_written(self) -> Self {
        Self {
            by_written: true,
            ..self
        }
    }

    /// A view over several tables cannot be locked for one of them, so rows are locked in the table itself.
    pub fn locks_table(&self) -> bool {
        self.merged && self.direction == Direction::Forward
    }

    /// The assignment that updates `column` of row `t` to `value`, or keeps its current value. `at` finds the touched row `n`
    /// that `t` follows.
    pub fn assignment_value(&self, column: &Ident, value: &str, at: &str) -> String {
        match self.keeps_value(column, at) {
            None => format!("{column} = {value}"),
            Some(stays) => format!("{column} = CASE WHEN {stays} THEN t.{column} ELSE {value} END"),
        }
    }

    /// Whether the current value of row `t` produces the value of the touched row `n`; None where the column is never kept.
    pub fn keeps_value(&self, column: &Ident, at: &str) -> Option<String> {
        let kept = self.kept.iter().find(|k| k.column == *column)?;
        Some(format!(
            "EXISTS (SELECT FROM {} AS f, {} AS n WHERE {} AND {at} \
             AND f.{made}::pg_catalog.text IS NOT DISTINCT FROM n.{made}::pg_catalog.text)",
            view_names::name(self.mapping),
            self.touched,
            forth_key(&self.key, "f", "t"),
            made = kept.made,
        ))
    }
}

fn kept_value(column: &BackColumn) -> Option<KeptValue> {
    match &column.from {
        BackValue::Target(_) => None,
        BackValue::Expression { made, .. } => Some(KeptValue {
            column: column.source.clone(),
            made: made.clone(),
        }),
    }
}
