//! What statements would do, said by `model::lint` with what this database knows of their tables. Nothing is run.

use crate::error::Result;
use crate::model::lint::facts::Facts;
use crate::model::lint::statement::{Act, Change, Column, Statement, Written};
use crate::model::lint::{self, Finding};
use crate::pg::{parse, session, spi};

/// Names without a schema are looked for as the caller's own statements would.
pub fn lint(text: &str) -> Result<Vec<Finding>> {
    let path: Option<Vec<String>> =
        spi::look("SELECT pg_catalog.current_schemas(true)::text[]", &[])?;
    let _safe = session::pin(&session::SAFE);
    let statements = parse::statements(text);
    let facts = facts(&statements, path.unwrap_or_default())?;
    Ok(lint::lint(&statements, &facts))
}

fn facts(statements: &[Statement], path: Vec<String>) -> Result<Facts> {
    let tables = lint::tables(statements);
    let schemas: Vec<Option<String>> = tables.iter().map(|t| t.schema.clone()).collect();
    let names: Vec<String> = tables.into_iter().map(|t: Written| t.name).collect();
    let columns: Vec<&Column> = statements.iter().flat_map(columns).collect();
    let calls = columns.iter().filter_map(|c| c.default.as_ref());
    let calls: Vec<String> = calls.flat_map(|d| d.calls.clone()).collect();
    let found: Vec<Facts> = spi::json_rows(
        include_str!("../../sql/query/lint_facts.sql"),
        &[
            schemas.into(),
            names.into(),
            path.into(),
            calls.into(),
            types(statements).into(),
        ],
    )?;
    Ok(found.into_iter().next().unwrap_or_default())
}

fn columns(s: &Statement) -> Vec<&Column> {
    match &s.act {
        Act::CreateTable { columns, .. } => columns.iter().collect(),
        Act::AlterTable { changes, .. } => changes
            .iter()
            .filter_map(|c| match c {
                Change::AddColumn(column) => Some(column),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Types that columns are to get.
fn types(statements: &[Statement]) -> Vec<String> {
    let changes = statements.iter().flat_map(|s| match &s.act {
        Act::AlterTable { changes, .. } => changes.as_slice(),
        _ => &[],
    });
    let wanted = changes.filter_map(|c| match c {
        Change::ColumnType { to, .. } => Some(to.name.clone()),
        _ => None,
    });
    wanted.collect()
}
