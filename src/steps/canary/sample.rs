//! The row that trial writes write: one of the table's, or, where it has none, one that is made up.

use crate::error::Result;
use crate::ident::{Ident, Literal};
use crate::model::records::Mapping;
use crate::model::shape::{ForeignKey, Shape, TableColumn};
use crate::pg::row_value::{self, TypedRow};
use crate::pg::{guc, role, spi, tx};
use crate::sqlgen::canary;
use crate::store::sides;
use pgrx::pg_sys::Oid;
use std::collections::{BTreeMap, BTreeSet};

pub struct SampleRow {
    pub row: TypedRow,
    /// It is in no table.
    pub made_up: bool,
}

/// Returns a row of the table that its mirror would follow, or one that could be in it. None where neither can be had.
pub fn find(p: &Mapping, source: &Shape) -> Result<Option<SampleRow>> {
    let key = &sides::layout(p)?.key;
    let owner = sides::owner(p)?;
    let found = {
        let _owner = role::confine_reading(owner)?;
        let _exact = guc::pin(&guc::EXACT);
        row_value::first(&canary::choose(p.id, source, key))?
    };
    if let Some(row) = found {
        let made_up = false;
        return Ok(Some(SampleRow { row, made_up }));
    }
    // A table may have rows that the mapping's filter leaves out.
    for nulls in [false, true] {
        let values = make_values(p, source, nulls)?;
        let made = tx::probe(|| {
            let _owner = role::confine(owner)?;
            let _exact = guc::pin(&guc::EXACT);
            row_value::first(&canary::make_up(source, key, &values))
        });
        if let Ok(Some(row)) = made {
            let made_up = true;
            return Ok(Some(SampleRow { row, made_up }));
        }
    }
    Ok(None)
}

/// Returns a value for each column that has no default; with `nulls` for those alone that cannot be null. No sequence is drawn from.
fn make_values(p: &Mapping, source: &Shape, nulls: bool) -> Result<Vec<(Ident, String)>> {
    #[derive(serde::Deserialize)]
    struct Drawing {
        column: Ident,
    }
    let drawing: Vec<Drawing> = spi::rows(
        include_str!("../../../sql/query/sequences.sql"),
        &[Oid::from(source.oid).into()],
    )?;
    let drawing: BTreeSet<&Ident> = drawing.iter().map(|d| &d.column).collect();
    let mut known = BTreeMap::new();
    let mut values = Vec::new();
    for c in source.columns.iter().filter(|c| c.generated.is_none()) {
        let draws = c.identity.is_some() || drawing.contains(&c.name);
        if c.default.is_some() && !draws || nulls && !c.not_null && !draws {
            continue;
        }
        let value = match parent_of(source, c) {
            Some((key, n)) => Some(canary::parent_value(key, n)),
            None => find_literal(p, &c.type_text, &mut known)?,
        };
        values.extend(value.map(|v| (c.name.clone(), v)));
    }
    Ok(values)
}

fn parent_of<'a>(source: &'a Shape, c: &TableColumn) -> Option<(&'a ForeignKey, usize)> {
    source.fkeys.iter().find_map(|key| {
        let n = key.columns.iter().position(|column| *column == c.name)?;
        (key.ref_oid != source.oid).then_some((key, n))
    })
}

/// Texts of which most types, domains and short types too, take one.
const TEXTS: [&str; 9] = [
    "1",
    "2000-01-01",
    "00:00",
    "00000000-0000-0000-0000-000000000001",
    "{}",
    "127.0.0.1",
    "(0,0)",
    "empty",
    "",
];

/// Returns a constant of the type; None where no text that we know is one.
fn find_literal(
    p: &Mapping,
    type_text: &str,
    known: &mut BTreeMap<String, Option<String>>,
) -> Result<Option<String>> {
    if let Some(found) = known.get(type_text) {
        return Ok(found.clone());
    }
    let label: Option<String> = spi::value(
        "SELECT e.enumlabel::pg_catalog.text FROM pg_catalog.pg_enum e WHERE e.enumtypid = pg_catalog.to_regtype($1) ORDER BY e.enumsortorder LIMIT 1",
        &[type_text.into()],
    )?;
    let owner = sides::owner(p)?;
    let mut texts = label.as_deref().into_iter().chain(TEXTS);
    let found = texts.find_map(|text| {
        let constant = format!("CAST({} AS {type_text})", Literal(text));
        let takes = tx::probe(|| {
            let _owner = role::confine_reading(owner)?;
            spi::value::<bool>(&format!("SELECT {constant} IS NULL"), &[])
        });
        takes.is_ok().then_some(constant)
    });
    known.insert(type_text.to_owned(), found.clone());
    Ok(found)
}
