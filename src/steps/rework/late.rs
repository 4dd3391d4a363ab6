//! What the new column gets of what the old one has, planned once the rows are filled.

use crate::error::Result;
use crate::ident::Ident;
use crate::model::change::Change;
use crate::model::rework::{Late, NewColumn, Replaced, Rework, renamed};
use crate::model::shape::Shape;
use crate::pg::{catalog, deparse, spi};
use crate::sqlgen::rework::late as sql;
use crate::store::new_column;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

/// Decides on it, for each column that has not been decided on.
pub fn plan(r: &Rework) -> Result<()> {
    let shape = catalog::shape_of(r.relation, &r.table()?.plain())?;
    let mut taken: Vec<Ident> = spi::json_rows(
        "SELECT pg_catalog.to_jsonb(c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class t ON t.oid = $1 AND c.relnamespace = t.relnamespace \
         UNION SELECT pg_catalog.to_jsonb(k.conname) FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1",
        &[Oid::from(r.relation).into()],
    )?;
    for (n, c) in r.columns.iter().enumerate() {
        // Keys of a column that becomes several have no one heir.
        let alone = r.columns.len() == 1 && n == 0;
        let old = r.replaces.as_ref().filter(|_| alone);
        let mut all = sql::of(&shape, c, old, &mut taken);
        if let Some(old) = old {
            all.extend(checks(&shape, c, old, &mut taken)?);
        }
        new_column::set_late(c.id, &all)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Stored {
    name: Ident,
    tree: String,
    old: i16,
    new: i16,
    comment: Option<String>,
}

/// CHECKs over the old column, with the new one in its place; where that is of another type, they are left to the operator, as
/// preflight has said.
fn checks(
    shape: &Shape,
    c: &NewColumn,
    old: &Replaced,
    taken: &mut Vec<Ident>,
) -> Result<Vec<Late>> {
    if shape.column(&old.name).map(|o| &o.type_text) != Some(&c.type_text) {
        return Ok(Vec::new());
    }
    let stored: Vec<Stored> = spi::rows(
        "SELECT k.conname AS name, k.conbin::text AS tree, o.attnum AS old, n.attnum AS new, \
         pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_attribute o ON o.attrelid = k.conrelid AND o.attname = $2 AND o.attnum = ANY (k.conkey) \
         JOIN pg_catalog.pg_attribute n ON n.attrelid = k.conrelid AND n.attname = $3 \
         WHERE k.conrelid = $1 AND k.contype = 'c' ORDER BY k.conname",
        &[
            Oid::from(shape.oid).into(),
            old.name.as_str().into(),
            c.name.as_str().into(),
        ],
    )?;
    let mut made = |s: &Stored| -> Result<Late> {
        Ok(Late {
            change: Change::Check {
                name: sql::free(renamed(&s.name, &old.name, &c.name), taken),
                expression: deparse::with_column(
                    &s.tree,
                    shape.oid,
                    &shape.name.name,
                    s.old,
                    s.new,
                )?,
            },
            unique: None,
            not_null: false,
            comment: s.comment.clone(),
        })
    };
    stored.iter().map(&mut made).collect()
}
