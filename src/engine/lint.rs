//! Lint: what statements would do, judged by `model::lint` with this database's facts about their tables. No statement is
//! run.

use crate::error::Result;
use crate::model::lint::facts::LintFacts;
use crate::model::lint::statement::{
    Act, ColumnDefinition, LintStatement, TableChange, WrittenName,
};
use crate::model::lint::{self, LintFinding, Linter};
use crate::pg::document::JsonText;
use crate::pg::{guc, parse, spi, wait};
use std::collections::BTreeSet;

/// Looks up names without a schema as the caller's own statements would.
pub fn lint(text: &str) -> Result<Vec<LintFinding>> {
    let path: Option<Vec<String>> =
        spi::look("SELECT pg_catalog.current_schemas(true)::text[]", &[])?;
    let path = path.unwrap_or_default();
    let _safe = guc::pin(&guc::SAFE);
    let mut reader = parse::StatementReader::new(text);
    let mut linter = Linter::default();
    let mut asked = false;
    while let Some(statements) = reader.batch()? {
        let names = NamedObjects::collect(&statements);
        // The settings of the session are facts, too.
        if !asked || !names.is_empty() {
            asked = true;
            linter.learn(names.looked_up(&path)?);
        }
        for s in &statements {
            wait::hear_interrupts();
            if !linter.read(s) {
                return Ok(linter.findings());
            }
        }
    }
    Ok(linter.findings())
}

/// Objects that statements name, each once.
struct NamedObjects {
    tables: BTreeSet<WrittenName>,
    calls: BTreeSet<String>,
    types: BTreeSet<String>,
    /// What is dropped with CASCADE, by kind.
    cascades: BTreeSet<(&'static str, WrittenName)>,
}

impl NamedObjects {
    fn collect(statements: &[LintStatement]) -> Self {
        let defaults = statements
            .iter()
            .flat_map(columns)
            .filter_map(|c| c.default.as_ref());
        Self {
            tables: lint::tables(statements).into_iter().collect(),
            calls: defaults.flat_map(|d| d.calls.iter().cloned()).collect(),
            types: types(statements).into_iter().collect(),
            cascades: statements.iter().flat_map(cascades).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.tables.is_empty()
            && self.calls.is_empty()
            && self.types.is_empty()
            && self.cascades.is_empty()
    }

    fn looked_up(self, path: &[String]) -> Result<LintFacts> {
        let schemas: Vec<Option<String>> = self.tables.iter().map(|t| t.schema.clone()).collect();
        let names: Vec<String> = self.tables.into_iter().map(|t| t.name).collect();
        let kinds: Vec<String> = self.cascades.iter().map(|(k, _)| (*k).to_owned()).collect();
        let in_schemas: Vec<Option<String>> = self
            .cascades
            .iter()
            .map(|(_, n)| n.schema.clone())
            .collect();
        let dropped: Vec<String> = self.cascades.into_iter().map(|(_, n)| n.name).collect();
        // Works on a standby, too, and without a transaction id.
        let found: Option<JsonText> = spi::look(
            include_str!("../../sql/query/lint_facts.sql"),
            &[
                schemas.into(),
                names.into(),
                path.to_vec().into(),
                Vec::from_iter(self.calls).into(),
                Vec::from_iter(self.types).into(),
                kinds.into(),
                in_schemas.into(),
                dropped.into(),
            ],
        )?;
        found.map_or(Ok(LintFacts::default()), |d| d.decode())
    }
}

fn columns(s: &LintStatement) -> Vec<&ColumnDefinition> {
    match &s.act {
        Act::CreateTable { columns, .. } => columns.iter().collect(),
        Act::AlterTable { changes, .. } => changes
            .iter()
            .filter_map(|c| match c {
                TableChange::AddColumn(column) => Some(column),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns the types that columns are changed to.
fn types(statements: &[LintStatement]) -> Vec<String> {
    let changes = statements.iter().flat_map(|s| match &s.act {
        Act::AlterTable { changes, .. } => changes.as_slice(),
        _ => &[],
    });
    let wanted = changes.filter_map(|c| match c {
        TableChange::ColumnType { to, .. } => Some(to.name.clone()),
        _ => None,
    });
    wanted.collect()
}

/// Returns the objects that a statement drops with CASCADE, if tables may depend on such.
fn cascades(s: &LintStatement) -> Vec<(&'static str, WrittenName)> {
    match &s.act {
        Act::Drop {
            what,
            names,
            cascade: true,
            ..
        } => what.holder().map_or_else(Vec::new, |kind| {
            names.iter().map(|n| (kind, n.clone())).collect()
        }),
        _ => Vec::new(),
    }
}
