//! Finds rows of both sides by key, which may differ between the sides.

use super::{ComparedPair, Side};
use crate::ident::Ident;
use crate::sqlgen::view_names::ROW;
use crate::sqlgen::{id_lookup, view_names};

/// Which rows to compare: conditions over `r`, one for each side.
#[derive(Clone, Debug)]
pub struct Condition {
    source: String,
    target: String,
}

impl Condition {
    pub fn on_both(text: String) -> Self {
        Self {
            source: text.clone(),
            target: text,
        }
    }

    pub fn on_side(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl ComparedPair<'_> {
    /// Rows whose source key is one of `$1` jsonb, an array of arrays of text.
    pub fn chosen(&self) -> Condition {
        let given = |n: usize| {
            let type_text = &self.layout.key[n].type_text;
            format!("(c.key OPERATOR(pg_catalog.->>) {n})::{type_text}")
        };
        let one = |side: Side| {
            let key = self.layout.key.iter().enumerate();
            let (names, same): (Vec<String>, Vec<String>) = key
                .map(|(n, k)| match side {
                    Side::Source => {
                        let column = format!("r.{}", view_names::key_name(n));
                        (given(n), k.equals.infix(&format!("c.k{n}"), &column))
                    }
                    Side::Target => {
                        let column = format!("r.{}", k.target);
                        let equals = k.target_equals();
                        (
                            self.new_part(n, &given),
                            equals.infix(&format!("c.k{n}"), &column),
                        )
                    }
                })
                .unzip();
            let names = names
                .iter()
                .enumerate()
                .map(|(n, e)| format!("{e} AS k{n}"));
            format!(
                "EXISTS (SELECT FROM (SELECT {} FROM pg_catalog.jsonb_array_elements($1) AS c(key)) c WHERE {})",
                names.collect::<Vec<_>>().join(", "),
                same.join(" AND ")
            )
        };
        Condition {
            source: one(Side::Source),
            target: one(Side::Target),
        }
    }

    /// Part `n` of the target key for a source key.
    fn new_part(&self, n: usize, old: &dyn Fn(usize) -> String) -> String {
        let key = &self.layout.key;
        match &key[n].via {
            None => old(n),
            Some(via) => id_lookup::look_up_new(via, &old(n)),
        }
    }

    /// Part `n` of the source key for a target key.
    pub(super) fn old_part(&self, n: usize, new: &str) -> String {
        match &self.layout.key[n].via {
            None => new.to_owned(),
            Some(via) => id_lookup::look_up_old(via, new),
        }
    }

    /// Whether the keys of both sides differ.
    fn is_remapped(&self) -> bool {
        self.layout.key.iter().any(|k| k.via.is_some())
    }

    /// `$1` text[] a key: returns the row of `side` and its key as JSON. `given` says which side's key `$1` is.
    pub fn row(&self, side: Side, given: Side) -> String {
        let all = self.layout.columns.iter().map(|c| &c.name);
        let condition = self.layout.key.iter().enumerate().map(|(n, k)| {
            let value = |n: usize| {
                let k = &self.layout.key[n];
                let type_text = match given {
                    Side::Source => &k.type_text,
                    Side::Target => k.target_type(),
                };
                format!("($1)[{}]::{type_text}", n + 1)
            };
            match (side, given) {
                (Side::Source, Side::Source) => k
                    .equals
                    .infix(&format!("r.{}", view_names::key_name(n)), &value(n)),
                (Side::Target, Side::Source) => k
                    .target_equals()
                    .infix(&format!("r.{}", k.target), &self.new_part(n, &value)),
                (_, Side::Target) => k
                    .target_equals()
                    .infix(&format!("r.{}", k.target), &value(n)),
            }
        });
        format!(
            "SELECT (SELECT pg_catalog.to_jsonb({ROW})::pg_catalog.text FROM (SELECT {}) AS {ROW}) AS row, {}::pg_catalog.text AS key {}",
            show_columns(all),
            self.key_document(side),
            self.from(side, &condition.collect::<Vec<_>>().join(" AND ")),
        )
    }

    /// The key of row `r` as JSON: both keys where they differ.
    fn key_document(&self, side: Side) -> String {
        let document = |parts: Vec<String>| {
            format!(
                "(SELECT pg_catalog.to_jsonb({ROW}) FROM (SELECT {}) AS {ROW})",
                parts.join(", ")
            )
        };
        let key = self.layout.key.iter().enumerate();
        let new = document(
            key.clone()
                .map(|(_, k)| format!("r.{}", k.target))
                .collect(),
        );
        if !self.is_remapped() {
            return new;
        }
        let old = key.map(|(n, k)| {
            let value = match side {
                Side::Source => format!("r.{}", view_names::key_name(n)),
                Side::Target => self.old_part(n, &format!("r.{}", k.target)),
            };
            format!("{value} AS {}", k.source)
        });
        format!(
            "pg_catalog.jsonb_build_object('old', {}, 'new', {new})",
            document(old.collect())
        )
    }

    /// The source key of the view's row.
    pub(super) fn old_key_text(&self) -> String {
        let parts: Vec<String> = (0..self.layout.key.len())
            .map(|n| format!("r.{}::pg_catalog.text", view_names::key_name(n)))
            .collect();
        format!("ARRAY[{}]", parts.join(", "))
    }
}

/// A string in a document has at most 256 MB, the bytes of a column have two characters each, and what is compressed becomes up to 255 times as
/// large (lz4): values from half a megabyte on are shown by length and hash, and
/// those whose text may be longer than a value can be (1 GB) by their size.
fn show_columns<'a>(columns: impl Iterator<Item = &'a Ident>) -> String {
    let all: Vec<String> = columns
        .map(|c| {
            format!(
                "CASE WHEN pg_catalog.pg_column_size(r.{c}) OPERATOR(pg_catalog.>) 400000000 THEN pg_catalog.to_jsonb(pg_catalog.format('%s bytes', pg_catalog.pg_column_size(r.{c}))) \
                 WHEN pg_catalog.pg_column_size(r.{c}) OPERATOR(pg_catalog.>) 500000 THEN pg_catalog.to_jsonb(pg_catalog.format('text of %s bytes, md5 %s', \
                 pg_catalog.octet_length(r.{c}::pg_catalog.text), pg_catalog.md5(r.{c}::pg_catalog.text))) ELSE pg_catalog.to_jsonb(r.{c}) END AS {c}"
            )
        })
        .collect();
    all.join(", ")
}
