//! One direction of writes: the view that says what a row should be, and the table that is kept equal to it. Mirror
//! and batch are written once, over a flow, and run forth and back.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::back::{Back, BackColumn};
use crate::model::layout::{Layout, Scope};
use crate::sqlgen::view;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Old table to new.
    Forward,
    /// New table to old, rows of the scope only.
    Reverse,
}

impl Way {
    pub const BOTH: [Way; 2] = [Way::Forward, Way::Reverse];

    pub fn as_str(self) -> &'static str {
        match self {
            Way::Forward => "forward",
            Way::Reverse => "reverse",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|w| w.as_str() == text)
    }
}

#[derive(Clone, Debug)]
pub struct Flow {
    pub way: Way,
    pub mapping: i32,
    /// Rows as they should be, the touched table's key (`view::key_name`) and their place beside them.
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
    /// The written table's scope column: a moved row keeps it.
    pub scope: Option<Ident>,
    /// Only rows of this scope in the touched table are followed.
    pub follows: Option<Scope>,
    /// Back: the new table's columns as they come forth again.
    pub comes_forth: Vec<Ident>,
    /// Columns whose value in the written table may stay as it is, and on what condition.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug)]
pub struct FlowKey {
    /// Column of the written table.
    pub written: Ident,
    /// Column of the table whose writes are followed.
    pub touched: Ident,
    pub type_text: String,
    pub equals: QualifiedName,
}

/// `up` and `down` need not be each other's inverse. As long as the old value gives what the new table holds, it stays:
/// a write to another column must not change it.
#[derive(Clone, Debug)]
pub struct Kept {
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
        let key = layout.key.iter().map(|k| FlowKey {
            written: k.target.clone(),
            touched: k.source.clone(),
            type_text: k.type_text.clone(),
            equals: k.equals.clone(),
        });
        let fixed = layout.arbiter.iter().chain(&layout.primary_key);
        Self {
            way: Way::Forward,
            mapping: id,
            view: view::name(id),
            touched: source.clone(),
            written: target.clone(),
            columns: columns.map(|c| c.name.clone()).collect(),
            key: key.collect(),
            arbiter: layout.arbiter.clone(),
            fixed: fixed.cloned().collect(),
            own: scope_is_mine("t", layout),
            deferrable: layout.key_deferrable,
            scope: layout.scope.as_ref().map(|s| s.column.clone()),
            follows: None,
            comes_forth: Vec::new(),
            kept: Vec::new(),
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
        let key: Vec<FlowKey> = layout
            .key
            .iter()
            .map(|k| FlowKey {
                written: k.source.clone(),
                touched: k.target.clone(),
                type_text: k.type_text.clone(),
                equals: k.equals.clone(),
            })
            .collect();
        let arbiter: Vec<Ident> = key.iter().map(|k| k.written.clone()).collect();
        Some(Self {
            way: Way::Reverse,
            mapping: id,
            view: view::reverse_name(id),
            touched: target.clone(),
            written: source.clone(),
            columns: back.iter().map(|c| c.source.clone()).collect(),
            own: filter.map(|_| {
                format!(
                    "EXISTS (SELECT FROM {} AS f WHERE {})",
                    view::name(id),
                    view_key(&key, "f", "t")
                )
            }),
            fixed: arbiter.clone(),
            arbiter,
            key,
            deferrable: false,
            scope: None,
            follows: layout.scope.clone(),
            comes_forth: layout
                .columns
                .iter()
                .filter(|c| c.insert)
                .map(|c| c.name.clone())
                .collect(),
            kept: back.iter().filter_map(kept).collect(),
        })
    }

    /// `t.k = $1 AND …`: rows of the written table, by the key in `$(skip + 1) …`.
    pub fn written_key(&self, alias: &str, own: Option<&str>, skip: usize) -> String {
        let key = self.key.iter().enumerate().map(|(n, k)| {
            equals(
                &format!("{alias}.{}", k.written),
                k,
                &format!("${}", skip + n + 1),
            )
        });
        own.map(str::to_owned)
            .into_iter()
            .chain(key)
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// `t.k = $1 AND …`: rows of the touched table, by the key in `$(skip + 1) …`.
    pub fn touched_key(&self, alias: &str, skip: usize) -> String {
        let key = self.key.iter().enumerate().map(|(n, k)| {
            equals(
                &format!("{alias}.{}", k.touched),
                k,
                &format!("${}", skip + n + 1),
            )
        });
        key.collect::<Vec<_>>().join(" AND ")
    }

    /// Rows of the view, by the key in `$(skip + 1) …`.
    pub fn view_key(&self, alias: &str, skip: usize) -> String {
        self.by_key(alias, |n, _| format!("${}", skip + n + 1))
    }

    /// The view's row whose key is the text array `$1`.
    pub fn view_key_text(&self, alias: &str) -> String {
        self.by_key(alias, |n, k| format!("($1)[{}]::{}", n + 1, k.type_text))
    }

    /// The view's row and the written table's row of one key.
    pub fn joined(&self, view: &str, written: &str) -> String {
        view_key(&self.key, view, written)
    }

    /// The key as text[].
    pub fn key_text(&self, alias: &str) -> String {
        let parts: Vec<String> = (0..self.key.len())
            .map(|n| format!("{alias}.{}::pg_catalog.text", view::key_name(n)))
            .collect();
        format!("ARRAY[{}]", parts.join(", "))
    }

    fn by_key(&self, alias: &str, value: impl Fn(usize, &FlowKey) -> String) -> String {
        let parts = self.key.iter().enumerate();
        parts
            .map(|(n, k)| equals(&format!("{alias}.{}", view::key_name(n)), k, &value(n, k)))
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// What `column` is set to when the row `t` is updated to `value`: that, or what it is already.
    pub fn assigned(
        &self,
        column: &Ident,
        value: &str,
        new_key: &dyn Fn(&FlowKey) -> String,
    ) -> String {
        match self.stays(column, new_key) {
            None => format!("{column} = {value}"),
            Some(stays) => format!("{column} = CASE WHEN {stays} THEN t.{column} ELSE {value} END"),
        }
    }

    /// Whether the value that row `t` has gives what the touched row of `new_key` holds; None where that is not asked.
    pub fn stays(&self, column: &Ident, new_key: &dyn Fn(&FlowKey) -> String) -> Option<String> {
        let kept = self.kept.iter().find(|k| k.column == *column)?;
        let key: Vec<String> = self
            .key
            .iter()
            .map(|k| equals(&format!("n.{}", k.touched), k, &new_key(k)))
            .collect();
        Some(format!(
            "EXISTS (SELECT FROM {} AS f, {} AS n WHERE {} AND {} \
             AND f.{made}::pg_catalog.text IS NOT DISTINCT FROM n.{made}::pg_catalog.text)",
            view::name(self.mapping),
            self.touched,
            view_key(&self.key, "f", "t"),
            key.join(" AND "),
            made = kept.made,
        ))
    }
}

fn kept(column: &BackColumn) -> Option<Kept> {
    match &column.from {
        Back::Target(_) => None,
        Back::Expression { made, .. } => Some(Kept {
            column: column.source.clone(),
            made: made.clone(),
        }),
    }
}

fn view_key(key: &[FlowKey], view: &str, written: &str) -> String {
    let parts = key.iter().enumerate();
    parts
        .map(|(n, k)| {
            equals(
                &format!("{view}.{}", view::key_name(n)),
                k,
                &format!("{written}.{}", k.written),
            )
        })
        .collect::<Vec<_>>()
        .join(" AND ")
}

fn equals(left: &str, key: &FlowKey, right: &str) -> String {
    key.equals.between(left, right)
}

/// `t.project_id = '…'::uuid`
pub fn scope_is_mine(alias: &str, layout: &Layout) -> Option<String> {
    layout.scope.as_ref().map(|s| in_scope(alias, s))
}

pub fn in_scope(alias: &str, scope: &Scope) -> String {
    format!(
        "{alias}.{} OPERATOR(pg_catalog.=) {}::{}",
        scope.column,
        Literal(&scope.value),
        scope.type_text
    )
}

/// Rows of any other scope: below or above, because an index serves both and `<>` never.
pub fn scope_is_another(alias: &str, layout: &Layout) -> Option<String> {
    layout.scope.as_ref().map(|s| in_another_scope(alias, s))
}

pub fn in_another_scope(alias: &str, scope: &Scope) -> String {
    let side = |operator: &str| {
        format!(
            "{alias}.{} OPERATOR(pg_catalog.{operator}) {}::{}",
            scope.column,
            Literal(&scope.value),
            scope.type_text
        )
    };
    format!("{} OR {}", side("<"), side(">"))
}
