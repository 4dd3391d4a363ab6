//! Rows that are obstacles to a column change.

use super::ColumnLook;
use crate::error::Result;
use crate::model::column_change::NewColumn;
use crate::pg::{catalog, guc, role, spi, tx};
use crate::preflight::{PreflightFinding, Severity};
use crate::relation::failing_rows;
use crate::sqlgen::columns::compare;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

/// Number of rows that a finding names.
const EXAMPLES: usize = 10;
/// Number of rows that are converted in both directions as a test.
const SAMPLE: u32 = 1000;

impl ColumnLook<'_> {
    pub fn rows(&self) -> Result<Vec<PreflightFinding>> {
        let blocks = catalog::extent(self.r.relation)?.map_or(0, |e| e.blocks);
        let _owner = role::confine_reading(Oid::from(self.shape.owner))?;
        let failing = failing_rows::rows(self.r, self.shape, (0, blocks), EXAMPLES)?;
        if !failing.is_empty() {
            return Ok(vec![self.new_finding(
                Severity::Error,
                "rows that do not convert",
                format!("{}.", failing_rows::describe(&failing)),
                Some("Correct those rows, or write an expression that takes them.".into()),
            )]);
        }
        let _safe = guc::pin_names();
        let mut found = Vec::new();
        for c in self.r.columns.iter().filter(|c| c.not_null) {
            found.extend(self.nulls(c)?);
        }
        found.extend(self.round_trip()?);
        Ok(found)
    }

    fn nulls(&self, c: &NewColumn) -> Result<Option<PreflightFinding>> {
        let keys: Vec<String> = spi::json_rows(
            &compare::nulls(&self.shape.name, c, &self.shape.key_columns(), EXAMPLES),
            &[],
        )?;
        if keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.new_finding(
            Severity::Error,
            "nulls",
            format!(
                "\"{}\" is to be NOT NULL, and up yields null for ({}).",
                c.name.as_str(),
                keys.join("), (")
            ),
            Some(format!("Say what it is then: coalesce({}, …)", c.up)),
        )))
    }

    fn round_trip(&self) -> Result<Option<PreflightFinding>> {
        #[derive(Deserialize)]
        struct ChangedValue {
            key: String,
            was: Option<String>,
            back: Option<String>,
        }
        let old_type = self
            .r
            .replaces
            .as_ref()
            .and_then(|o| self.shape.column(&o.name));
        let old_type = old_type.map_or("", |c| c.type_text.as_str());
        // Once the columns exist, this has been reported.
        if self
            .r
            .columns
            .iter()
            .any(|c| self.shape.column(&c.name).is_some())
        {
            return Ok(None);
        }
        let sql = compare::round_trip(
            &self.shape.name,
            self.r,
            old_type,
            &self.shape.key_columns(),
            SAMPLE,
        );
        let Some(sql) = sql else { return Ok(None) };
        let others: Vec<ChangedValue> = match tx::probe(|| spi::rows(&sql, &[])) {
            Err(e) if e.is_about_data() => {
                return Ok(Some(self.new_finding(
                    Severity::Warning,
                    "round trip",
                    format!("\"down\" fails for a value that \"up\" makes: {e}."),
                    None,
                )));
            }
            other => other?,
        };
        if others.is_empty() {
            return Ok(None);
        }
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "null".into());
        let each: Vec<String> = others
            .iter()
            .map(|o| {
                format!(
                    "({}) {} comes back as {}",
                    o.key,
                    text(&o.was),
                    text(&o.back)
                )
            })
            .collect();
        Ok(Some(self.new_finding(
            Severity::Warning,
            "round trip",
            format!(
                "What goes through both expressions is not what it was: {}. Rows keep their old value until the new column is written.",
                each.join("; ")
            ),
            None,
        )))
    }
}
