//! Allocates ids for rows and for the rows they refer to.

use super::row_before_column;
use crate::model::layout::id_map::{Map, MapColumn, NewIds};
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::id_lookup::{ReferencedIds, X, name, select_pair};
use crate::sqlgen::view_names::{self, ROW};

/// Which rows of the touched table a statement is about.
#[derive(Clone, Copy)]
pub enum IdChoice {
    /// `$1 …`: the key of one row.
    Key,
    /// `$1` text[]: the key of one row.
    KeyText,
    /// `$1` tid[]: the tids of several rows.
    Places,
    All,
}

impl IdChoice {
    fn in_view(self, flow: &Flow) -> String {
        match self {
            IdChoice::Key => flow.view_key("v", 0),
            IdChoice::KeyText => flow.view_key_text("v"),
            IdChoice::Places => {
                format!("v.{} OPERATOR(pg_catalog.=) ANY ($1)", view_names::place())
            }
            IdChoice::All => "true".into(),
        }
    }

    fn in_table(self, flow: &Flow) -> String {
        match self {
            IdChoice::Key => flow.touched_key("s", 0),
            IdChoice::KeyText => flow.touched_key_text("s"),
            IdChoice::Places => "s.ctid OPERATOR(pg_catalog.=) ANY ($1)".into(),
            IdChoice::All => "true".into(),
        }
    }
}

/// The map column with the touched table's ids.
fn side<'a>(flow: &Flow, map: &'a Map) -> &'a MapColumn {
    match flow.direction {
        Direction::Forward => &map.old,
        Direction::Reverse => &map.new,
    }
}

/// Adds a pair for each `value` of `rows` (FROM … WHERE …) that has none; the default of the other column draws the new id.
/// OFFSET 0 is an optimization fence: otherwise the planner would read a whole index in order for DISTINCT.
fn pairs(flow: &Flow, map: &Map, value: &str, rows: &str) -> String {
    let have = side(flow, map);
    format!(
        "INSERT INTO {0} ({1}) SELECT DISTINCT q.id FROM (SELECT ({value})::{2} AS id {rows} OFFSET 0) q \
         WHERE q.id IS NOT NULL AND NOT EXISTS (SELECT FROM {0} AS {X} WHERE {3}) ON CONFLICT ({1}) DO NOTHING",
        name(map.mapping),
        have.name,
        have.type_text,
        select_pair(have, "q.id"),
    )
}

/// Allocates the other side's id for the chosen rows that have none.
pub fn give(flow: &Flow, chosen: IdChoice) -> Option<String> {
    let drawn = flow.drawn.as_ref()?;
    let rows = format!("FROM {} AS v WHERE {}", flow.view, chosen.in_view(flow));
    Some(pairs(flow, &drawn.map, &id_in_view(flow, drawn), &rows))
}

/// The touched table's id, in row `v` of the view.
fn id_in_view(flow: &Flow, drawn: &NewIds) -> String {
    let mine = match flow.direction {
        Direction::Forward => &drawn.source,
        Direction::Reverse => &drawn.target,
    };
    let place = flow.key.iter().position(|k| k.touched == *mine);
    format!("v.{}", view_names::key_name(place.unwrap_or(0)))
}

/// Matches existing rows of the target to source rows with the same natural key, as far as the ids in that key are known.
pub fn find(flow: &Flow) -> Option<String> {
    let drawn = flow.drawn.as_ref()?;
    let Map { mapping, old, new } = &drawn.map;
    let same = drawn.natural.iter().map(|columns| {
        let each = columns
            .iter()
            .map(|(c, equals)| equals.infix(&format!("t.{c}"), &format!("v.{c}")));
        format!("({})", each.collect::<Vec<_>>().join(" AND "))
    });
    let same: Vec<String> = same.collect();
    let own = flow.own.as_ref();
    let own = own.map_or(String::new(), |own| format!("{own} AND "));
    let (from, to) = (id_in_view(flow, drawn), format!("t.{}", drawn.target));
    (!same.is_empty()).then(|| {
        format!(
            "INSERT INTO {0} ({1}, {2}, {3}) SELECT {from}, {to}, (SELECT pg_catalog.to_jsonb({ROW}) FROM (SELECT t.*) AS {ROW}) FROM {4} AS v JOIN {5} AS t ON {own}({6}) \
             WHERE NOT EXISTS (SELECT FROM {0} AS {X} WHERE {7}) AND NOT EXISTS (SELECT FROM {0} AS {X} WHERE {8}) ON CONFLICT DO NOTHING",
            name(*mapping),
            old.name,
            new.name,
            row_before_column(),
            flow.view,
            flow.written,
            same.join(" OR "),
            select_pair(old, &from),
            select_pair(new, &to),
        )
    })
}

/// Condition: row `s` of the touched table refers to a row without an id on the other side. None where it has no references to
/// tables with new ids.
fn unready(flow: &Flow) -> Option<String> {
    let each: Vec<String> = flow
        .vias
        .iter()
        .map(|r| format!("({})", lacks(flow, r)))
        .collect();
    (!each.is_empty()).then(|| each.join(" OR "))
}

fn lacks(flow: &Flow, r: &ReferencedIds) -> String {
    let value = format!("s.{}", r.column);
    let have = side(flow, &r.map);
    format!(
        "{value} IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS {X} WHERE {})",
        name(r.map.mapping),
        select_pair(have, &value),
    )
}

/// Allocates missing ids for the rows that the chosen rows refer to; the pair may exist before the row does, or without it.
pub fn give_named(flow: &Flow, chosen: IdChoice) -> Vec<String> {
    let rows = chosen.in_table(flow);
    let one = |r: &ReferencedIds| {
        let value = format!("s.{}", r.column);
        let rows = format!("FROM {} AS s WHERE {rows}", flow.touched);
        pairs(flow, &r.map, &value, &rows)
    };
    flow.vias.iter().map(one).collect()
}

/// Finds a chosen row to which `unready` applies.
pub fn is_unready(flow: &Flow, chosen: IdChoice) -> Option<String> {
    let unready = unready(flow)?;
    Some(format!(
        "SELECT 1 FROM {} AS s WHERE {} AND ({unready})",
        flow.touched,
        chosen.in_table(flow)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn a_parent_without_an_id_makes_a_row_wait_or_gets_one() {
        let (source, target, layout) = fixture::sign_ups_beside(true);
        let flow = Flow::forward(2, &source.name, &target, &layout);
        assert_eq!(give(&flow, IdChoice::Key), None);
        let lacks = "s.\"round_id\" IS NOT NULL AND NOT EXISTS (SELECT FROM \"mig\".\"m1_map\" AS \"mig:x\" \
                     WHERE \"mig:x\".\"old_id\" OPERATOR(\"pg_catalog\".=) (s.\"round_id\")::integer)";
        assert_eq!(
            is_unready(&flow, IdChoice::Key),
            Some(format!(
                "SELECT 1 FROM \"public\".\"sign_ups\" AS s WHERE s.\"id\" OPERATOR(\"pg_catalog\".=) $1 AND (({lacks}))"
            ))
        );
        assert_eq!(
            give_named(&flow, IdChoice::Places),
            [
                "INSERT INTO \"mig\".\"m1_map\" (\"old_id\") SELECT DISTINCT q.id FROM (SELECT (s.\"round_id\")::integer AS id \
              FROM \"public\".\"sign_ups\" AS s WHERE s.ctid OPERATOR(pg_catalog.=) ANY ($1) OFFSET 0) q \
              WHERE q.id IS NOT NULL AND NOT EXISTS (SELECT FROM \"mig\".\"m1_map\" AS \"mig:x\" \
              WHERE \"mig:x\".\"old_id\" OPERATOR(\"pg_catalog\".=) (q.id)::integer) ON CONFLICT (\"old_id\") DO NOTHING"
            ]
        );
    }
}
