//! One direction of writes: the view that says what a row should be, and the table that is kept equal to it. Mirror
//! and batch are written once, over a flow, and run forth and back.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::id_map::NewIds;
use crate::model::layout::reverse::{BackColumn, BackValue};
use crate::model::layout::{Layout, Scope};
use crate::sqlgen::id_lookup::ReferencedIds;
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::view_names;

mod key;

pub use key::FlowKey;
use key::{flow_key, forth_key, references};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Old table to new.
    Forward,
    /// New table to old, rows of the scope only.
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
    pub way: Direction,
    pub mapping: i32,
    /// Rows as they should be, the touched table's key (`view_names::key_name`) and their place beside them.
    pub view: QualifiedName,
    pub touched: QualifiedName,
    pub written: QualifiedName,
    /// Columns that are written, by the same names in view and table.
    pub columns: Vec<Ident>,
    pub key: Vec<FlowKey>,
    /// The unique columns of the written table that an upsert names.
    pub arbiter: Vec<Ident>,
    /// Never SET: that would take the row lock which blocks inserts of referencing rows.
    pub fixed: Vec<Ident>,
    /// Which rows of the written table (alias t) are ours; None for all of them.
    pub own: Option<String>,
    /// Two rows may have one key until the transaction's end.
    pub deferrable: bool,
    /// The written table's columns with one value in all rows that are ours: a moved row keeps it.
    pub marks: Vec<Ident>,
    /// Only rows with these values in the touched table are followed.
    pub follows: Vec<Scope>,
    /// Rows of other scopes in the touched table are none of the migration's.
    pub scope: Option<Scope>,
    /// Back: the new table's columns as they come forth again.
    pub comes_forth: Vec<Ident>,
    /// Columns whose value in the written table may stay as it is, and on what condition.
    pub kept: Vec<KeptValue>,
    /// The target draws ids of its own.
    pub drawn: Option<NewIds>,
    /// Columns that name rows whose ids differ.
    pub vias: Vec<ReferencedIds>,
    /// `$1 …` is a key of the written table, not of the touched one.
    pub by_written: bool,
    /// Rows of the new table are made of rows of several old ones.
    pub merged: bool,
    /// Another mapping's triggers stand for this one's.
    pub led: bool,
}

/// `up` and `down` need not be each other's inverse. As long as the old value gives what the new table holds, it stays:
/// a write to another column must not change it.
#[derive(Clone, Debug)]
pub struct KeptValue {
    pub column: Ident,
    /// The column of the new table that is made from it.
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
            way: Direction::Forward,
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
            kept: Vec::new(),
            drawn: layout.drawn.clone(),
            vias: references(layout, Direction::Forward),
            by_written: false,
            merged: layout.merge.is_some(),
            led: false,
        }
    }

    /// None where the mapping has no way back.
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
            way: Direction::Reverse,
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
            kept: back.iter().filter_map(kept_value).collect(),
            drawn: layout.drawn.clone(),
            vias: references(layout, Direction::Reverse),
            by_written: false,
            merged: layout.merge.is_some(),
            led: layout.is_partner(),
        })
    }

    /// Rows that the target had before may be taken for the source's.
    pub fn finds(&self) -> bool {
        self.drawn.as_ref().is_some_and(|d| !d.natural.is_empty())
    }

    /// The same, asked by keys of the written table.
    pub fn asked_by_written(self) -> Self {
        Self {
            by_written: true,
            ..self
        }
    }

    /// A view of several tables cannot be locked for one of them: its rows are locked in the table.
    pub fn locks_table(&self) -> bool {
        self.merged && self.way == Direction::Forward
    }

    /// What `column` is set to when the row `t` is updated to `value`: that, or what it is already. `at` finds row `n` of the
    /// touched table, which `t` is to follow.
    pub fn assignment_value(&self, column: &Ident, value: &str, at: &str) -> String {
        match self.keeps_value(column, at) {
            None => format!("{column} = {value}"),
            Some(stays) => format!("{column} = CASE WHEN {stays} THEN t.{column} ELSE {value} END"),
        }
    }

    /// Whether the value that row `t` has gives what the touched row `n` holds; None where that is not asked.
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
