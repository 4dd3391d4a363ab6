//! The lint of a migration file.

use super::require_argument;
use crate::engine::lint;
use crate::pg::argument::Script;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Not in `run_engine`, which pins search_path: names are resolved on the caller's search_path.
#[pg_extern(sql = false)]
fn mig_lint(
    statements: Option<Script>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(line, i32),
            name!(statement, String),
            name!(severity, String),
            name!(rule, String),
            name!(lock_mode, Option<String>),
            name!(blocks, Option<String>),
            name!(detail, String),
            name!(safer, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let found = require_argument(statements, "statements").and_then(|s| lint::lint(&s.0));
    let found = found.map_err(ErrorReport::from)?;
    Ok(TableIterator::new(found.into_iter().map(|f| {
        (
            f.line,
            f.statement.to_string(),
            f.severity.to_owned(),
            f.rule.to_owned(),
            f.lock.map(|l| l.as_str().to_owned()),
            f.lock.map(|l| l.blocks().to_owned()),
            f.detail,
            f.safer,
        )
    })))
}
