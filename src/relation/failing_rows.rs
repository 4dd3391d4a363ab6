//! Rows for which an expression fails, found by halving a failing range of blocks.

use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::column_change::ColumnChange;
use crate::model::shape::Shape;
use crate::pg::tid::BlockSlice;
use crate::pg::{guc, spi, tx};
use crate::sqlgen::columns::{cast_expression, compare as sql};
use pgrx::datum::DatumWithOid;

/// A row for which an expression fails: its key, and PostgreSQL's error.
pub struct FailingRow {
    pub key: String,
    pub why: String,
}

/// Returns the first `limit` rows of blocks `from` to `to` for which the values of `up` cannot be computed.
pub fn rows(
    r: &ColumnChange,
    shape: &Shape,
    blocks: (i64, i64),
    limit: usize,
) -> Result<Vec<FailingRow>> {
    let texts: Vec<String> = r
        .columns
        .iter()
        .map(|c| cast_expression(&c.up, &c.type_text))
        .collect();
    list(r.table()?, &shape.key_columns(), &texts, blocks, limit)
}

/// Returns the first `limit` rows of blocks `from` to `to` of a table for which one of the expressions fails.
pub fn list(
    table: &QualifiedName,
    key: &[Ident],
    expressions: &[String],
    blocks: (i64, i64),
    limit: usize,
) -> Result<Vec<FailingRow>> {
    let looks = FailingQueries {
        range: sql::evaluate_slice(table, expressions),
        places: sql::places_in(table),
        one: sql::evaluated_one(table, expressions),
        key: sql::select_row_name(table, key),
    };
    let _safe = guc::pin_names();
    let mut found = Vec::new();
    looks.search(blocks, limit, &mut found)?;
    Ok(found)
}

struct FailingQueries {
    range: String,
    places: String,
    one: String,
    key: String,
}

impl FailingQueries {
    /// Halves a failing range down to one block, then tries its rows one by one.
    fn search(
        &self,
        (from, to): (i64, i64),
        limit: usize,
        found: &mut Vec<FailingRow>,
    ) -> Result<()> {
        if from >= to || found.len() >= limit {
            return Ok(());
        }
        let slice = BlockSlice::new(from, to)?;
        match fails(&self.range, &slice.args())? {
            None => Ok(()),
            Some(_) if to - from > 1 => {
                let middle = from + (to - from) / 2;
                self.search((from, middle), limit, found)?;
                self.search((middle, to), limit, found)
            }
            Some(_) => {
                let places: Vec<String> = spi::json_rows(&self.places, &slice.args())?;
                for place in places {
                    if found.len() >= limit {
                        break;
                    }
                    if let Some(why) = fails(&self.one, &[place.as_str().into()])? {
                        let key = spi::value::<String>(&self.key, &[place.as_str().into()])?;
                        found.push(FailingRow {
                            key: key.unwrap_or(place),
                            why,
                        });
                    }
                }
                Ok(())
            }
        }
    }
}

/// Returns PostgreSQL's error if it is about the data.
fn fails(sql: &str, args: &[DatumWithOid]) -> Result<Option<String>> {
    match tx::probe(|| spi::run(sql, args)) {
        Ok(_) => Ok(None),
        Err(e) if e.is_about_data() => Ok(Some(e.to_string())),
        Err(e) => Err(e),
    }
}

/// Returns failing rows as text for a message.
pub fn describe(failing: &[FailingRow]) -> String {
    let each: Vec<String> = failing
        .iter()
        .map(|f| format!("({}): {}", f.key, f.why))
        .collect();
    each.join("; ")
}
