//! The id map of one mapping: pairs of old and new id. A pair is allocated once and never changes. The missing side is drawn by
//! the table's own default, so that each side draws ids by its own rule.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::layout::id_map::{Map, NewIds};
use crate::model::layout::{KeyColumn, Scope};
use crate::sqlgen::direction::Flow;
use crate::sqlgen::id_lookup::{X, name, select_pair};
use crate::sqlgen::scope::in_scope;

mod allocate;

pub use allocate::*;

/// Column with an adopted target row's content before it was matched to a source row; null for all other rows.
pub fn row_before_column() -> Ident {
    "was".into()
}

/// Creates the map `table`. `draws`: the defaults of the source's and of the target's column.
pub fn create(table: &QualifiedName, drawn: &NewIds, draws: (Option<&str>, &str)) -> Vec<String> {
    let Map { old, new, .. } = &drawn.map;
    let default = draws.0.map_or(String::new(), |d| format!(" DEFAULT {d}"));
    vec![
        format!(
            "CREATE TABLE {table} (\n  {} {}{default} PRIMARY KEY,\n  {} {} NOT NULL DEFAULT {} UNIQUE,\n  {} pg_catalog.jsonb\n)",
            old.name,
            old.type_text,
            new.name,
            new.type_text,
            draws.1,
            row_before_column(),
        ),
        format!(
            "COMMENT ON TABLE {table} IS 'Old and new ids; {} is what a row of the new table was before it was taken for an old one.'",
            row_before_column().as_str()
        ),
    ]
}

/// Name of the map when it is kept beside its target.
pub fn kept_name(target: &QualifiedName) -> QualifiedName {
    QualifiedName {
        schema: target.schema.clone(),
        name: Ident::derive(&[target.name.as_str(), "id_map"]),
    }
}

/// Turns the map into a plain table without defaults or dependencies.
pub fn hand_over(drawn: &NewIds, kept: &QualifiedName) -> Vec<String> {
    let map = &drawn.map;
    let table = name(map.mapping);
    let moved = QualifiedName {
        schema: kept.schema.clone(),
        name: table.name.clone(),
    };
    vec![
        format!(
            "ALTER TABLE {table} ALTER COLUMN {} DROP DEFAULT, ALTER COLUMN {} DROP DEFAULT, DROP COLUMN {}",
            map.old.name,
            map.new.name,
            row_before_column()
        ),
        format!("ALTER TABLE {table} SET SCHEMA {}", kept.schema),
        format!("ALTER TABLE {moved} RENAME TO {}", kept.name),
    ]
}

/// Restores the target's original rows of the scope and deletes all others. `all` are the columns that can be written.
pub fn restore(flow: &Flow, drawn: &NewIds, all: &[Ident]) -> Vec<String> {
    let table = name(drawn.map.mapping);
    let own = flow
        .own
        .as_ref()
        .map_or(String::new(), |own| format!("{own} AND "));
    let pair = drawn.map.new.equals.infix(
        &format!("{X}.{}", drawn.map.new.name),
        &format!("t.{}", drawn.target),
    );
    let found = format!(
        "FROM {table} AS {X} WHERE {pair} AND {X}.{} IS NOT NULL",
        row_before_column()
    );
    let row = format!(
        "pg_catalog.jsonb_populate_record(NULL::{}, {X}.{})",
        flow.written,
        row_before_column()
    );
    let set: Vec<String> = flow
        .columns
        .iter()
        .filter(|c| !flow.fixed.contains(c))
        .map(|c| format!("{c} = r.{c}"))
        .collect();
    let mut made = vec![format!(
        "DELETE FROM {} AS t WHERE {own}NOT EXISTS (SELECT {found})",
        flow.written
    )];
    if !set.is_empty() {
        made.push(format!(
            "UPDATE {} AS t SET {} FROM {table} AS {X}, {row} AS r WHERE {own}{pair} AND {X}.{} IS NOT NULL",
            flow.written,
            set.join(", "),
            row_before_column(),
        ));
    }
    let columns = list(all);
    let values: Vec<String> = all.iter().map(|c| format!("r.{c}")).collect();
    made.push(format!(
        "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM {table} AS {X}, {row} AS r WHERE {X}.{} IS NOT NULL ON CONFLICT DO NOTHING",
        flow.written,
        values.join(", "),
        row_before_column(),
    ));
    made
}

/// Deletes all pairs.
pub fn empty(id: i32) -> String {
    format!("TRUNCATE {}", name(id))
}

/// `$1` text: returns the key if the target has such a row, where keys are kept.
pub fn look_up_kept(key: &KeyColumn, scope: Option<&Scope>, target: &QualifiedName) -> String {
    let column = format!("t.{}", key.target);
    let value = format!("($1)::{}", key.target_type());
    let ours = scope.map_or_else(String::new, |s| format!(" AND {}", in_scope("t", s)));
    format!(
        "SELECT {column}::pg_catalog.text FROM {target} AS t WHERE {}{ours}",
        key.target_equals().infix(&column, &value),
    )
}

/// `$1` text: returns the new id of an old id, if the target has that row.
pub fn look_up(drawn: &NewIds, target: &QualifiedName) -> String {
    let Map { mapping, old, new } = &drawn.map;
    let column = format!("{X}.{}", new.name);
    format!(
        "SELECT {column}::pg_catalog.text FROM {} AS {X} WHERE {} AND EXISTS (SELECT FROM {target} AS t WHERE {})",
        name(*mapping),
        select_pair(old, "$1"),
        new.equals.infix(&format!("t.{}", drawn.target), &column),
    )
}
