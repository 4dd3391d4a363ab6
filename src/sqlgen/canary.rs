//! Test writes that check a mirror: they write a source row unchanged.

use crate::ident::{Ident, QualifiedName, list};
use crate::model::layout::KeyColumn;
use crate::model::shape::Shape;
use crate::sqlgen::view_names::{self, ROW};

/// Chooses a row that the mirror would follow. Returns it as the text of a JSON document (which may hold values that only
/// PostgreSQL can read), and its key as text[].
pub fn choose(id: i32, source: &QualifiedName, key: &[KeyColumn]) -> String {
    let texts: Vec<String> = (0..key.len())
        .map(|n| format!("v.{}::pg_catalog.text", view_names::key_name(n)))
        .collect();
    format!(
        "SELECT ARRAY[{}] AS key, pg_catalog.to_jsonb({ROW})::pg_catalog.text AS row FROM {} AS v JOIN {source} AS {ROW} ON {ROW}.ctid OPERATOR(pg_catalog.=) v.{} LIMIT 1",
        texts.join(", "),
        view_names::name(id),
        view_names::place(),
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

/// `$1` text the row, as `choose` returns it: inserts it again.
pub fn insert(source: &Shape) -> String {
    let columns = source.columns.iter().filter(|c| c.generated.is_none());
    let columns: Vec<Ident> = columns.map(|c| c.name.clone()).collect();
    let columns = list(&columns);
    format!(
        "INSERT INTO {0} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM pg_catalog.jsonb_populate_record(NULL::{0}, $1::pg_catalog.jsonb)",
        source.name
    )
}

fn by_key(key: &[KeyColumn]) -> String {
    let parts = key.iter().enumerate().map(|(n, k)| {
        let value = format!("($1)[{}]::{}", n + 1, k.type_text);
        k.equals.infix(&format!("s.{}", k.source), &value)
    });
    parts.collect::<Vec<_>>().join(" AND ")
}
