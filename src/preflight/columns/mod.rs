//! Preflight of column changes.

mod rows;

use crate::error::{About, Result};
use crate::ident::Ident;
use crate::model::column_change::{ColumnChange, NewColumn, ReplacedColumn};
use crate::model::records::Migration;
use crate::model::shape::{Shape, TableIndex, TableTrigger};
use crate::pg::{catalog, expression, spi};
use crate::preflight::{PreflightFinding, Severity};
use crate::sqlgen::columns::{as_it_will_be, dependents, trigger_name};
use crate::store::new_column;
use pgrx::pg_sys::Oid;

/// What can be done about a column that nothing replaces yet.
const BESIDE: &str = "Leave \"replaces\" out of mig_add_column: the new column then stands beside the old one, and follows it.";

/// Returns all findings; rows are read only before the columns are kept in step.
pub fn findings(
    m: &Migration,
    all: &[ColumnChange],
    reads_rows: bool,
) -> Result<Vec<PreflightFinding>> {
    let mut found = Vec::new();
    for r in all {
        let shape = catalog::shape_of(r.relation, &r.table()?.plain())?;
        new_column::trusted_owner(r)?;
        let look = ColumnLook {
            r,
            shape: &shape,
            all,
        };
        found.extend(look.table(m)?);
        found.extend(look.late_triggers());
        if let Some(old) = &r.replaces {
            found.extend(look.way_back(old)?);
            found.extend(look.keys(old)?);
            found.extend(look.indexes(old)?);
            found.extend(look.left_behind(old)?);
        }
        found.extend(look.expressions());
        if reads_rows && found.iter().all(|f| f.severity != Severity::Error) {
            found.extend(look.rows()?);
        }
    }
    Ok(found)
}

struct ColumnLook<'a> {
    r: &'a ColumnChange,
    shape: &'a Shape,
    all: &'a [ColumnChange],
}

impl ColumnLook<'_> {
    fn new_finding(
        &self,
        severity: Severity,
        check: &str,
        detail: String,
        hint: Option<String>,
    ) -> PreflightFinding {
        PreflightFinding {
            severity,
            check_name: check.into(),
            relation: Some(self.r.relation),
            detail,
            hint,
        }
    }

    fn table(&self, m: &Migration) -> Result<Option<PreflightFinding>> {
        let Some(other) = new_column::other_migration(m.id, self.r.relation)? else {
            return Ok(None);
        };
        let detail = format!("Migration \"{other}\" is at work on this table.");
        let hint = format!(
            "End it first: SELECT next_step FROM mig_status({});",
            crate::ident::Literal(&other)
        );
        Ok(Some(self.new_finding(
            Severity::Error,
            "other migration",
            detail,
            Some(hint),
        )))
    }

    /// Finds triggers that would change the row after the one that keeps the columns in step. PostgreSQL fires triggers in the order of the
    /// bytes of their names.
    fn late_triggers(&self) -> Vec<PreflightFinding> {
        let ours = trigger_name(self.r.id);
        let late = |t: &&TableTrigger| t.changes_rows() && t.name.as_str() > ours.as_str();
        let triggers = self.shape.triggers.iter().filter(late);
        let finding = |t: &TableTrigger| {
            let table = &self.shape.name;
            let detail = format!(
                "Trigger {} fires after {ours}, which keeps the columns in step: what it changes would be in one of them only.",
                t.name
            );
            let hint = format!(
                "Give it a name that comes first: ALTER TRIGGER {} ON {table} RENAME TO {};",
                t.name,
                Ident::derive(&["a", t.name.as_str()])
            );
            self.new_finding(Severity::Error, "trigger fires last", detail, Some(hint))
        };
        triggers.map(finding).collect()
    }

    /// Returns the columns of all changes of this table that do not exist yet, by name and type.
    fn list_other_columns(&self) -> Vec<(&Ident, &str)> {
        let same = self.all.iter().filter(|r| r.relation == self.r.relation);
        same.flat_map(|r| &r.columns)
            .filter(|c| self.shape.column(&c.name).is_none())
            .map(|c| (&c.name, c.type_text.as_str()))
            .collect()
    }

    fn way_back(&self, old: &ReplacedColumn) -> Result<Option<PreflightFinding>> {
        let from = as_it_will_be(&self.shape.name, &self.list_other_columns());
        let bad = |detail: String, hint: String| {
            Ok(Some(self.new_finding(
                Severity::Error,
                "way back",
                detail,
                Some(hint),
            )))
        };
        let owner = Oid::from(self.shape.owner);
        match expression::check(owner, old.name.as_str(), &old.down, &from) {
            Err(e) if matches!(e.about(), About::Expression(_)) => bad(
                format!(
                    "\"down\" of column \"{}\" cannot be used. {}",
                    old.name.as_str(),
                    e.detail().unwrap_or_default()
                ),
                e.hint().unwrap_or_default().to_owned(),
            ),
            Err(e) => Err(e),
            Ok(_) => Ok(None),
        }
    }

    /// Finds keys that a column change does not support.
    fn keys(&self, old: &ReplacedColumn) -> Result<Vec<PreflightFinding>> {
        let mut found = Vec::new();
        let name = old.name.as_str();
        let column = self.shape.column(&old.name);
        if self.shape.key_columns().contains(&old.name) {
            found.push(self.new_finding(
                Severity::Error,
                "primary key",
                format!("Column \"{name}\" is part of the primary key, which identifies rows during the change."),
                Some(BESIDE.into()),
            ));
        }
        if column.is_some_and(|c| c.identity.is_some()) {
            found.push(self.new_finding(
                Severity::Error,
                "identity",
                format!("Column \"{name}\" is an identity column."),
                Some(BESIDE.into()),
            ));
        }
        let referring: Vec<String> = spi::json_rows(
            "SELECT pg_catalog.to_jsonb(pg_catalog.format('%I of %s', k.conname, k.conrelid::regclass)) FROM pg_catalog.pg_constraint k \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey) \
             WHERE k.contype = 'f' AND k.confrelid = $1 AND a.attname = $2",
            &[Oid::from(self.r.relation).into(), name.into()],
        )?;
        if !referring.is_empty() {
            found.push(self.new_finding(
                Severity::Error,
                "referenced",
                format!(
                    "Foreign keys refer to column \"{name}\": {}.",
                    referring.join(", ")
                ),
                Some(BESIDE.into()),
            ));
        }
        Ok(found)
    }

    fn indexes(&self, old: &ReplacedColumn) -> Result<Vec<PreflightFinding>> {
        let mut found = Vec::new();
        let c = self.r.leader();
        for i in &self.shape.indexes {
            if i.exclusion && i.plain_columns().contains(&old.name) {
                found.push(self.left_index(i, old));
            } else if dependents::moves(i, &old.name) && self.r.columns.len() == 1 {
                found.extend(self.unindexable(i, c, old)?);
            }
        }
        let more: Vec<String> = spi::json_rows(
            "SELECT DISTINCT pg_catalog.to_jsonb(x.relname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid AND a.attname = $2 \
             WHERE i.indrelid = $1 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)",
            &[Oid::from(self.r.relation).into(), old.name.as_str().into()],
        )?;
        for i in self
            .shape
            .indexes
            .iter()
            .filter(|i| more.iter().any(|n| n == i.name.as_str()))
        {
            found.push(self.left_index(i, old));
        }
        Ok(found)
    }

    fn left_index(&self, i: &TableIndex, old: &ReplacedColumn) -> PreflightFinding {
        self.new_finding(
            Severity::Warning,
            "index",
            format!(
                "Index {} has column \"{}\" in an expression, a condition or an exclusion constraint; the new column gets none like it.",
                i.name.as_str(),
                old.name.as_str()
            ),
            Some("After mig_create: SELECT mig_create_index('CREATE INDEX …');".into()),
        )
    }

    fn unindexable(
        &self,
        i: &TableIndex,
        c: &NewColumn,
        old: &ReplacedColumn,
    ) -> Result<Option<PreflightFinding>> {
        if i.include.contains(&old.name) || expression::indexable(&c.type_text, i.method.as_str())?
        {
            return Ok(None);
        }
        Ok(Some(self.new_finding(
            Severity::Error,
            "index",
            format!(
                "Index {} is over column \"{}\", and type {} has no operator class for {}.",
                i.name.as_str(),
                old.name.as_str(),
                c.type_text,
                i.method.as_str()
            ),
            Some(format!(
                "Drop it first, if it is not needed any more: DROP INDEX CONCURRENTLY {};",
                i.name
            )),
        )))
    }

    /// Finds dependents that stay with the old column.
    fn left_behind(&self, old: &ReplacedColumn) -> Result<Vec<PreflightFinding>> {
        let mut found = Vec::new();
        let name = old.name.as_str();
        let readers = new_column::dependents(self.r.relation, &old.name)?;
        if !readers.is_empty() {
            found.push(self.new_finding(
                Severity::Warning,
                "dependents",
                format!("Column \"{name}\" is used by: {}.", readers.join(", ")),
                Some("Make them use the new column between mig_switch and mig_archive, which refuses until then.".into()),
            ));
        }
        let same = self.shape.column(&old.name).map(|o| &o.type_text)
            == Some(&self.r.leader().type_text)
            && self.r.columns.len() == 1;
        for k in self
            .shape
            .checks
            .iter()
            .filter(|k| !same && k.columns.contains(&old.name))
        {
            found.push(self.new_finding(
                Severity::Warning,
                "check",
                format!(
                    "{} is over column \"{name}\", and cannot be written for the new one.",
                    k.name.as_str()
                ),
                Some("After mig_create: SELECT mig_add_check(…);".into()),
            ));
        }
        if self.r.columns.len() > 1 {
            let keyed = self
                .shape
                .indexes
                .iter()
                .filter(|i| dependents::moves(i, &old.name));
            let names: Vec<&str> = keyed
                .map(|i| i.name.as_str())
                .chain(
                    self.shape
                        .fkeys
                        .iter()
                        .filter(|k| k.columns.contains(&old.name))
                        .map(|k| k.name.as_str()),
                )
                .collect();
            if !names.is_empty() {
                found.push(self.new_finding(
                    Severity::Warning,
                    "index",
                    format!(
                        "Column \"{name}\" becomes several; none of them inherits {}.",
                        names.join(", ")
                    ),
                    Some("After mig_create: mig_create_index, mig_add_foreign_key.".into()),
                ));
            }
        }
        if !same
            && self
                .shape
                .column(&old.name)
                .is_some_and(|c| c.default.is_some())
            && self.r.columns.iter().all(|c| c.column_default.is_none())
        {
            found.push(self.new_finding(
                Severity::Warning,
                "default",
                format!("Column \"{name}\" has a default; the new one gets none at mig_stop."),
                Some("Define it again with column_default.".into()),
            ));
        }
        Ok(found)
    }

    fn expressions(&self) -> Vec<PreflightFinding> {
        let mut found = Vec::new();
        for c in &self.r.columns {
            if c.mutable {
                found.push(self.new_finding(
                    Severity::Warning,
                    "mutable expression",
                    format!("The value of {} may depend on settings of the session or on the time of day.", c.up),
                    None,
                ));
            }
        }
        if self.r.replaces.is_none() {
            found.push(self.new_finding(
                Severity::Info,
                "one way",
                format!("{} is computed: until mig_switch nothing else may write it, and what is written after that does not go back to the old columns.", self.r.describe()),
                None,
            ));
        }
        found
    }
}
