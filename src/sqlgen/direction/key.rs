//! The key of a direction: finds a row's counterpart in the other table or in the view, by join or by parameters.

use super::{Direction, Flow};
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::id_map::MappedColumn;
use crate::model::layout::{KeyColumn, Layout, TargetColumn};
use crate::sqlgen::id_lookup::{self, ReferencedIds};
use crate::sqlgen::view_names;

#[derive(Clone, Debug)]
pub struct FlowKey {
    /// Column of the written table.
    pub written: Ident,
    /// Column of the touched table.
    pub touched: Ident,
    /// Type of the touched table's column.
    pub type_text: String,
    pub equals: QualifiedName,
    pub written_equals: QualifiedName,
    /// Set where the two tables have different values.
    via: Option<MappedColumn>,
}

impl Flow {
    /// Part `n` of the written table's key, for a key of the touched table.
    pub fn to_written(&self, n: usize, touched: &dyn Fn(usize) -> String) -> String {
        translate_key_part(
            &self.key[n],
            self.direction == Direction::Forward,
            touched(n),
        )
    }

    /// Part `n` of the touched table's key, for a key of the written table.
    pub fn to_touched(&self, n: usize, written: &dyn Fn(usize) -> String) -> String {
        translate_key_part(
            &self.key[n],
            self.direction == Direction::Reverse,
            written(n),
        )
    }

    /// `t.k = $1 AND …`: rows of the written table, by the key in `$(skip + 1) …`.
    pub fn written_key(&self, alias: &str, own: Option<&str>, skip: usize) -> String {
        let parameter = |n: usize| format!("${}", skip + n + 1);
        let key = self.join_key_parts(|n, k| {
            let value = if self.by_written {
                parameter(n)
            } else {
                self.to_written(n, &parameter)
            };
            k.written_equals
                .infix(&format!("{alias}.{}", k.written), &value)
        });
        own.map(str::to_owned)
            .into_iter()
            .chain([key])
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// The written table's rows for the touched table's key in the text array `$1`.
    pub fn written_key_text(&self, alias: &str) -> String {
        self.join_key_parts(|n, k| {
            let value = self.to_written(n, &|n| self.text_parameter(n));
            k.written_equals
                .infix(&format!("{alias}.{}", k.written), &value)
        })
    }

    /// `t.k = $1 AND …`: rows of the touched table, by the key in `$(skip + 1) …`.
    pub fn touched_key(&self, alias: &str, skip: usize) -> String {
        self.join_key_parts(|n, k| {
            k.equals.infix(
                &format!("{alias}.{}", k.touched),
                &format!("${}", skip + n + 1),
            )
        })
    }

    /// The touched table's row whose key is the text array `$1`.
    pub fn touched_key_text(&self, alias: &str) -> String {
        self.join_key_parts(|n, k| {
            k.equals
                .infix(&format!("{alias}.{}", k.touched), &self.text_parameter(n))
        })
    }

    /// Rows of the view, by the key in `$(skip + 1) …`.
    pub fn view_key(&self, alias: &str, skip: usize) -> String {
        let parameter = |n: usize| format!("${}", skip + n + 1);
        self.join_key_parts(|n, k| {
            let value = if self.by_written {
                self.to_touched(n, &parameter)
            } else {
                parameter(n)
            };
            k.equals.infix(&in_view(alias, n), &value)
        })
    }

    /// The view's row whose key is the text array `$1`.
    pub fn view_key_text(&self, alias: &str) -> String {
        self.join_key_parts(|n, k| k.equals.infix(&in_view(alias, n), &self.text_parameter(n)))
    }

    fn text_parameter(&self, n: usize) -> String {
        format!("($1)[{}]::{}", n + 1, self.key[n].type_text)
    }

    /// Finds the written table's row for a given row of the view.
    pub fn meets(&self, view: &str, written: &str) -> String {
        self.join_key_parts(|n, k| {
            let column = match k.via {
                None => in_view(view, n),
                Some(_) => format!("{view}.{}", k.written),
            };
            k.written_equals
                .infix(&column, &format!("{written}.{}", k.written))
        })
    }

    /// Finds the view's row for a given row of the written table.
    pub fn met_by(&self, view: &str, written: &str) -> String {
        self.join_key_parts(|n, k| {
            let value = self.to_touched(n, &|n| format!("{written}.{}", self.key[n].written));
            k.equals.infix(&in_view(view, n), &value)
        })
    }

    /// The key as text[].
    pub fn key_text(&self, alias: &str) -> String {
        let parts: Vec<String> = (0..self.key.len())
            .map(|n| format!("{}::pg_catalog.text", in_view(alias, n)))
            .collect();
        format!("ARRAY[{}]", parts.join(", "))
    }

    /// Finds the row of the touched table that belongs to a row of the written table.
    pub fn touched_of(&self, touched: &str, written: &str) -> String {
        self.join_key_parts(|n, k| {
            let value = self.to_touched(n, &|n| format!("{written}.{}", self.key[n].written));
            k.equals.infix(&format!("{touched}.{}", k.touched), &value)
        })
    }

    /// Finds the row of the touched table that the view's row comes from.
    pub fn touched_in_view(&self, touched: &str, view: &str) -> String {
        self.join_key_parts(|n, k| {
            k.equals
                .infix(&format!("{touched}.{}", k.touched), &in_view(view, n))
        })
    }

    /// Reverse: the forward view's row for the target's key in `$1 …`.
    pub fn forth_row(&self, alias: &str) -> String {
        self.join_key_parts(|n, k| {
            let value = self.to_written(n, &|n| format!("${}", n + 1));
            k.written_equals.infix(&in_view(alias, n), &value)
        })
    }

    /// Reverse: the same for the key in the text array `$1`.
    pub fn forth_row_text(&self, alias: &str) -> String {
        self.join_key_parts(|n, k| {
            let value = self.to_written(n, &|n| self.text_parameter(n));
            k.written_equals.infix(&in_view(alias, n), &value)
        })
    }

    /// Reverse: the target's key of a row of the forward view, part by part.
    fn new_key(&self, forward: &str) -> Vec<String> {
        let parts = self.key.iter().enumerate().map(|(n, k)| match k.via {
            None => in_view(forward, n),
            Some(_) => format!("{forward}.{}", k.touched),
        });
        parts.collect()
    }

    /// Reverse: the same as text[].
    pub fn new_key_text(&self, forward: &str) -> String {
        let parts: Vec<String> = self
            .new_key(forward)
            .iter()
            .map(|p| format!("{p}::pg_catalog.text"))
            .collect();
        format!("ARRAY[{}]", parts.join(", "))
    }

    /// Reverse: joins a row of the reverse view with its counterpart in the forward view.
    pub fn stands_for(&self, reverse: &str, forward: &str) -> String {
        let new = self.new_key(forward);
        self.join_key_parts(|n, k| k.equals.infix(&in_view(reverse, n), &new[n]))
    }

    fn join_key_parts(&self, f: impl Fn(usize, &FlowKey) -> String) -> String {
        let parts = self.key.iter().enumerate();
        parts
            .map(|(n, k)| f(n, k))
            .collect::<Vec<_>>()
            .join(" AND ")
    }
}

fn in_view(alias: &str, n: usize) -> String {
    format!("{alias}.{}", view_names::key_name(n))
}

pub(super) fn flow_key(layout: &Layout, way: Direction) -> Vec<FlowKey> {
    let one = |k: &KeyColumn| {
        let (source, target) = (
            (k.source.clone(), k.type_text.clone(), k.equals.clone()),
            (
                k.target.clone(),
                k.target_type().to_owned(),
                k.target_equals(),
            ),
        );
        let (touched, written) = match way {
            Direction::Forward => (source, target),
            Direction::Reverse => (target, source),
        };
        FlowKey {
            written: written.0,
            written_equals: written.2,
            touched: touched.0,
            type_text: touched.1,
            equals: touched.2,
            via: k.via.clone(),
        }
    };
    layout.key.iter().map(one).collect()
}

/// Translates a key part to the other side's value.
fn translate_key_part(k: &FlowKey, forth: bool, value: String) -> String {
    match &k.via {
        None => value,
        Some(via) if forth => id_lookup::look_up_new(via, &value),
        Some(via) => id_lookup::look_up_old(via, &value),
    }
}

/// Columns of the touched table that hold ids translated by a map, except the table's own drawn id.
pub(super) fn references(layout: &Layout, way: Direction) -> Vec<ReferencedIds> {
    let own = |via: &MappedColumn| {
        let drawn = layout.drawn.as_ref();
        drawn.is_some_and(|d| d.map.mapping == via.map.mapping && d.source == via.column)
    };
    let one = |c: &TargetColumn| {
        let via = c.via.as_ref().filter(|v| !own(v))?;
        Some(ReferencedIds {
            map: via.map.clone(),
            column: match way {
                Direction::Forward => via.column.clone(),
                Direction::Reverse => c.name.clone(),
            },
        })
    };
    layout.columns.iter().filter_map(one).collect()
}

/// Joins row `f` of the forward view, whose key is the source's, with the source row `t`.
pub(super) fn forth_key(reverse: &[FlowKey], forward: &str, source: &str) -> String {
    let parts = reverse.iter().enumerate();
    parts
        .map(|(n, k)| {
            k.written_equals
                .infix(&in_view(forward, n), &format!("{source}.{}", k.written))
        })
        .collect::<Vec<_>>()
        .join(" AND ")
}
