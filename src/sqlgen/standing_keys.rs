//! Rows of a source that unique keys, exclusion constraints and foreign keys of a standing target refuse, as the target would have them. Each
//! query returns texts that name rows, as JSON.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use crate::model::reference::ColumnPair;
use crate::model::shape::{Shape, TableIndex};
use crate::sqlgen::check_rows::made_value;
use crate::sqlgen::orphan::PARENT;
use crate::sqlgen::scope::scope_is_another;

const KEY: &str = "\"mig:key\"";
const PLACE: &str = "\"mig:place\"";

/// The source, and the target that stands.
pub struct StandingPair<'a> {
    pub source: &'a Shape,
    pub target: &'a Shape,
    pub layout: &'a Layout,
    pub filter: Option<&'a str>,
    /// Most rows that a query names.
    pub limit: usize,
}

impl StandingPair<'_> {
    /// Source rows with these columns of the target, under the target's name, so that texts over the target's columns mean them. None where one
    /// of the columns is not made from the row alone.
    fn rows(&self, columns: &[Ident]) -> Option<String> {
        let values = columns
            .iter()
            .map(|name| {
                let value = made_value(self.layout, name)?;
                let collation = self.target.column(name).and_then(|c| c.collation.as_ref());
                let collate = collation.map_or_else(String::new, |c| format!(" COLLATE {c}"));
                Some(format!(", {value}{collate} AS {name}"))
            })
            .collect::<Option<String>>()?;
        let key = self.source.key_columns();
        let key: Vec<String> = key
            .iter()
            .map(|k| format!("{k}::pg_catalog.text"))
            .collect();
        let filter = self.filter.map(|f| format!(" WHERE ({f}\n)"));
        Some(format!(
            "(SELECT pg_catalog.concat_ws(', ', {}) AS {KEY}, ctid AS {PLACE}{values} FROM ONLY {}{}) AS {}",
            key.join(", "),
            self.source.name,
            filter.unwrap_or_default(),
            self.target.name.name,
        ))
    }

    /// Rows with the values of the index's columns as `e0`, `e1` …, and with their key.
    fn entries(&self, index: &TableIndex, columns: &[Ident]) -> Option<String> {
        Some(entries(index, KEY, &self.rows(columns)?, None))
    }

    /// Entries of the target's rows that belong to other scopes; None if there is no scope.
    fn others(&self, index: &TableIndex) -> Option<String> {
        let name = &self.target.name;
        let others = scope_is_another(&name.name.to_string(), self.layout)?;
        let from = format!("ONLY {name} AS {}", name.name);
        Some(entries(
            index,
            "NULL::pg_catalog.text",
            &from,
            Some(&others),
        ))
    }

    /// Lists values that several source rows would have. `columns`: those that the index reads.
    pub fn list_doubles(&self, index: &TableIndex, columns: &[Ident]) -> Option<String> {
        let each: Vec<String> = (0..index.columns.len())
            .map(|n| format!("e.e{n}"))
            .collect();
        let given = match index.nulls_not_distinct {
            true => "true".to_owned(),
            false => is_given(index, "e"),
        };
        Some(format!(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s) of %s', pg_catalog.concat_ws(', ', {0}), \
             pg_catalog.array_to_string((pg_catalog.array_agg(e.key ORDER BY e.key))[1:3], ' and '))) \
             FROM {1} AS e WHERE {given} GROUP BY {0} HAVING count(*) > 1 LIMIT {2}",
            each.join(", "),
            self.entries(index, columns)?,
            self.limit,
        ))
    }

    /// Lists source rows whose values a row of another scope has. None where the values of different scopes never meet.
    pub fn list_taken(&self, index: &TableIndex, columns: &[Ident]) -> Option<String> {
        let same = index
            .columns
            .iter()
            .enumerate()
            .map(|(n, c)| {
                Some(
                    c.equals
                        .as_ref()?
                        .infix(&format!("e.e{n}"), &format!("o.e{n}")),
                )
            })
            .collect::<Option<Vec<_>>>()?;
        Some(format!(
            "SELECT pg_catalog.to_jsonb(e.key) FROM {} AS e JOIN {} AS o ON {} WHERE {} LIMIT {}",
            self.entries(index, columns)?,
            self.others(index)?,
            same.join(" AND "),
            is_given(index, "e"),
            self.limit,
        ))
    }

    /// `$1`, `$2` a slice of the source: lists pairs of source rows that exclude each other, the first of them in the slice.
    pub fn list_excluded(&self, index: &TableIndex, columns: &[Ident]) -> Option<String> {
        let all = self.entries(index, columns)?;
        Some(format!(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s) and (%s)', e.key, o.key)) FROM {all} AS e JOIN {all} AS o ON {} \
             WHERE e.place OPERATOR(pg_catalog.>=) $1 AND e.place OPERATOR(pg_catalog.<) $2 AND e.place OPERATOR(pg_catalog.<) o.place LIMIT {}",
            excludes(index),
            self.limit,
        ))
    }

    /// Lists pairs of source rows whose ranges in element `range` overlap, all other elements being equal. If any two ranges overlap, then two
    /// that follow each other by their lower bounds do.
    pub fn list_overlapping(
        &self,
        index: &TableIndex,
        columns: &[Ident],
        range: usize,
    ) -> Option<String> {
        let equal: Vec<String> = (0..index.columns.len())
            .filter(|n| *n != range)
            .map(|n| format!("e.e{n}"))
            .collect();
        let apart = match equal.is_empty() {
            true => String::new(),
            false => format!("PARTITION BY {} ", equal.join(", ")),
        };
        Some(format!(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s) and (%s)', q.before, q.key)) FROM \
             (SELECT e.key, e.e{range} AS span, pg_catalog.lag(e.key) OVER w AS before, pg_catalog.lag(e.e{range}) OVER w AS span_before FROM {} AS e \
              WHERE {} AND NOT pg_catalog.isempty(e.e{range}) WINDOW w AS ({apart}ORDER BY e.e{range})) q WHERE {} LIMIT {}",
            self.entries(index, columns)?,
            is_given(index, "e"),
            index.operators[range].infix("q.span_before", "q.span"),
            self.limit,
        ))
    }

    /// Lists source rows that a row of another scope excludes.
    pub fn list_excluded_by_others(&self, index: &TableIndex, columns: &[Ident]) -> Option<String> {
        Some(format!(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s) and a row of another scope', e.key)) FROM {} AS e JOIN {} AS o ON {} LIMIT {}",
            self.entries(index, columns)?,
            self.others(index)?,
            excludes(index),
            self.limit,
        ))
    }

    /// Lists source rows that would refer to a row which is not there.
    pub fn list_orphans(&self, parent: &QualifiedName, pairs: &[ColumnPair]) -> Option<String> {
        let columns: Vec<Ident> = pairs.iter().map(|p| p.child.clone()).collect();
        let alias = self.target.name.name.to_string();
        let given: Vec<String> = columns
            .iter()
            .map(|c| format!("{alias}.{c} IS NOT NULL"))
            .collect();
        let texts: Vec<String> = columns
            .iter()
            .map(|c| format!("{alias}.{c}::pg_catalog.text"))
            .collect();
        let joined: Vec<String> = pairs
            .iter()
            .map(|p| p.join_condition(PARENT, &alias))
            .collect();
        Some(format!(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('(%s): %s', {alias}.{KEY}, pg_catalog.concat_ws(', ', {}))) FROM {} WHERE {} \
             AND NOT EXISTS (SELECT FROM {parent} AS {PARENT} WHERE {}) LIMIT {}",
            texts.join(", "),
            self.rows(&columns)?,
            given.join(" AND "),
            joined.join(" AND "),
            self.limit,
        ))
    }
}

fn entries(index: &TableIndex, key: &str, from: &str, condition: Option<&str>) -> String {
    let place = match condition {
        None => PLACE,
        Some(_) => "ctid",
    };
    let each: Vec<String> = index
        .columns
        .iter()
        .enumerate()
        .map(|(n, c)| format!("({}) AS e{n}", c.text))
        .collect();
    let conditions: Vec<String> = condition
        .map(|c| format!("({c})"))
        .into_iter()
        .chain(index.predicate.as_ref().map(|p| format!("({p})")))
        .collect();
    let chosen = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    format!(
        "(SELECT {key} AS key, {place} AS place, {} FROM {from}{chosen})",
        each.join(", ")
    )
}

fn is_given(index: &TableIndex, alias: &str) -> String {
    let given: Vec<String> = (0..index.columns.len())
        .map(|n| format!("{alias}.e{n} IS NOT NULL"))
        .collect();
    given.join(" AND ")
}

/// Whether the entries `e` and `o` exclude each other. A null excludes nothing.
fn excludes(index: &TableIndex) -> String {
    let each: Vec<String> = index
        .operators
        .iter()
        .enumerate()
        .map(|(n, o)| o.infix(&format!("e.e{n}"), &format!("o.e{n}")))
        .collect();
    each.join(" AND ")
}
