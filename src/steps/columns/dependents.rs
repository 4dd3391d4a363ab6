//! Dependents of the old column that the new one gets, planned once the rows are filled.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::column_change::{ColumnChange, Dependent, NewColumn};
use crate::model::ddl_change::DdlChange;
use crate::model::shape::Shape;
use crate::pg::{catalog, deparse, spi, state};
use crate::sqlgen::columns::dependents as sql;
use crate::store::new_column;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

/// Plans the dependents of each column. If several columns replace one, none of them inherits its keys.
pub fn plan(r: &ColumnChange, all: &[ColumnChange]) -> Result<()> {
    let shape = catalog::shape_of(r.relation, &r.table()?.plain())?;
    let mut taken: Vec<Ident> = state::json_rows(
        "SELECT pg_catalog.to_jsonb(c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class t ON t.oid = $1 AND c.relnamespace = t.relnamespace \
         UNION SELECT pg_catalog.to_jsonb(k.conname) FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 \
         UNION SELECT l->'change'->'name' FROM mig.new_column n, pg_catalog.jsonb_array_elements(n.late) l WHERE n.relation = $1",
        &[Oid::from(r.relation).into()],
    )?;
    let replacements = sql::list_replacements(all, r.relation);
    for c in &r.columns {
        let mut late = sql::plan_dependents(&shape, c, &replacements, &mut taken);
        late.extend(checks(&shape, c, &replacements, &mut taken)?);
        new_column::set_late(c.id, &late)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct StoredDependent {
    name: Ident,
    tree: String,
    columns: Vec<Ident>,
    comment: Option<String>,
}

/// Returns CHECKs over old columns, rewritten for the new ones. If a type differs they are left to the operator, as
/// preflight has reported.
fn checks(
    shape: &Shape,
    c: &NewColumn,
    replacements: &sql::Replacements,
    taken: &mut Vec<Ident>,
) -> Result<Vec<Dependent>> {
    let stored: Vec<StoredDependent> = spi::rows(
        "SELECT k.conname AS name, k.conbin::text AS tree, pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment, \
         (SELECT pg_catalog.jsonb_agg(a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)) AS columns \
         FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 AND k.contype = 'c' AND k.conkey <> '{}' ORDER BY k.conname",
        &[Oid::from(shape.oid).into()],
    )?;
    let mut made = Vec::new();
    for s in stored {
        let has = |old: &Ident| s.columns.contains(old);
        let mut concerned = replacements.iter().filter(|(old, _)| has(old)).peekable();
        let first = concerned.peek().is_some_and(|(_, heir)| heir.id == c.id);
        let same = |(old, heir): &(&Ident, &NewColumn)| {
            shape.column(old).map(|o| &o.type_text) == Some(&heir.type_text)
        };
        if !first || !concerned.clone().all(same) {
            continue;
        }
        let pairs = concerned
            .map(|(old, heir)| Ok((number(shape, old)?, number(shape, &heir.name)?)))
            .collect::<Result<Vec<_>>>()?;
        made.push(Dependent {
            change: DdlChange::Check {
                name: sql::free(sql::renamed_all(&s.name, replacements, has), taken),
                expression: deparse::with_columns(&s.tree, shape.oid, &shape.name.name, &pairs)?,
            },
            unique: None,
            initially_deferred: false,
            not_null: false,
            comment: s.comment.clone(),
        });
    }
    Ok(made)
}

fn number(shape: &Shape, column: &Ident) -> Result<i16> {
    spi::value(
        "SELECT attnum FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped",
        &[Oid::from(shape.oid).into(), column.as_str().into()],
    )?
    .ok_or_else(|| Error::internal(format!("column {} is gone", column.as_str())))
}
