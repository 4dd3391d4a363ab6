//! Test writes that check a mirror: they write a source row unchanged, or one that was made up.

use crate::ident::{Ident, list};
use crate::model::layout::KeyColumn;
use crate::model::shape::{ForeignKey, Shape};
use crate::sqlgen::direction::Flow;
use crate::sqlgen::view_names::{self, ROW};

/// Rows of which the smallest is chosen: a trial writes the row several times while writers wait.
const LOOKED_AT: u32 = 50;

/// Chooses a row that the mirror would follow. Returns its key as text[], and the row.
pub fn choose(id: i32, source: &Shape, key: &[KeyColumn]) -> String {
    let texts: Vec<String> = (0..key.len())
        .map(|n| format!("v.{}::pg_catalog.text", view_names::key_name(n)))
        .collect();
    let sizes = source
        .columns
        .iter()
        .map(|c| format!("coalesce(pg_catalog.pg_column_size({ROW}.{}), 0)", c.name));
    let sizes: Vec<String> = sizes.collect();
    let (table, place) = (&source.name, view_names::place());
    format!(
        "SELECT k.key, {ROW} FROM (SELECT ARRAY[{}] AS key, v.{place} AS place, {} AS bytes FROM {} AS v JOIN {table} AS {ROW} \
         ON {ROW}.ctid OPERATOR(pg_catalog.=) v.{place} LIMIT {LOOKED_AT}) AS k JOIN {table} AS {ROW} ON {ROW}.ctid OPERATOR(pg_catalog.=) k.place \
         ORDER BY k.bytes LIMIT 1",
        texts.join(", "),
        sizes.join(" OPERATOR(pg_catalog.+) "),
        view_names::name(id),
    )
}

/// Inserts a row with these values, and returns what `choose` returns. Columns that are not given have their defaults.
pub fn make_up(source: &Shape, key: &[KeyColumn], values: &[(Ident, String)]) -> String {
    let names: Vec<Ident> = values.iter().map(|(name, _)| name.clone()).collect();
    let texts: Vec<&str> = values.iter().map(|(_, text)| text.as_str()).collect();
    let what = if values.is_empty() {
        "DEFAULT VALUES".to_owned()
    } else {
        format!(
            "({}) OVERRIDING SYSTEM VALUE VALUES ({})",
            list(&names),
            texts.join(", ")
        )
    };
    let key: Vec<String> = key
        .iter()
        .map(|k| format!("{ROW}.{}::pg_catalog.text", k.source))
        .collect();
    format!(
        "INSERT INTO {} AS {ROW} {what} RETURNING ARRAY[{}], {ROW}",
        source.name,
        key.join(", ")
    )
}

/// A value for a column with a foreign key: that of the first row, the same one for each column of the key.
pub fn parent_value(key: &ForeignKey, n: usize) -> String {
    format!(
        "(SELECT p.{} FROM {} AS p ORDER BY p.ctid LIMIT 1)",
        key.ref_columns[n], key.ref_name
    )
}

/// `$1` text[] the key: sets one column to its current value. None where no column can be set.
pub fn update(source: &Shape, key: &[KeyColumn]) -> Option<String> {
    let free = |name: &Ident| !key.iter().any(|k| k.source == *name);
    let settable = source
        .columns
        .iter()
        .find(|c| free(&c.name) && c.generated.is_none() && c.identity.is_none())?;
    let column = &settable.name;
    Some(format!(
        "UPDATE {} AS s SET {column} = s.{column} WHERE {}",
        source.name,
        by_key(key)
    ))
}

/// `$1` text[] the key: deletes the row.
pub fn delete(source: &Shape, key: &[KeyColumn]) -> String {
    format!("DELETE FROM {} AS s WHERE {}", source.name, by_key(key))
}

/// `$1` the row, as `choose` returns it: inserts it again.
pub fn insert(source: &Shape) -> String {
    let columns = source.columns.iter().filter(|c| c.generated.is_none());
    let columns: Vec<Ident> = columns.map(|c| c.name.clone()).collect();
    let columns = list(&columns);
    format!(
        "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM (SELECT ($1).*) AS r",
        source.name
    )
}

/// `$1` text[] the key of a source row: finds the row that the target should have.
pub fn find_expected(flow: &Flow) -> String {
    format!(
        "SELECT 1 FROM {} AS v WHERE {}",
        flow.view,
        flow.view_key_text("v")
    )
}

/// `$1` text[] the key of a source row: finds the row that SQL sees in the target.
pub fn find_written(flow: &Flow) -> String {
    let own = flow.own.iter().map(|o| format!("{o} AND "));
    format!(
        "SELECT 1 FROM {} AS t WHERE {}{}",
        flow.written,
        own.collect::<String>(),
        flow.written_key_text("t")
    )
}

fn by_key(key: &[KeyColumn]) -> String {
    let parts = key.iter().enumerate().map(|(n, k)| {
        let value = format!("($1)[{}]::{}", n + 1, k.type_text);
        k.equals.infix(&format!("s.{}", k.source), &value)
    });
    parts.collect::<Vec<_>>().join(" AND ")
}
