//! Reading a migration file.

use super::given;
use crate::engine::lint;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Not `guarded`: names are looked for on the caller's own search_path.
#[pg_extern(sql = false)]
fn mig_lint(
    statements: Option<&str>,
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
    let found = given(statements, "statements").and_then(lint::lint);
    let found = found.map_err(ErrorReport::from)?;
    Ok(TableIterator::new(found.into_iter().map(|f| {
        (
            f.line,
            f.statement,
            f.severity.to_owned(),
            f.rule.to_owned(),
            f.lock.map(|l| l.as_str().to_owned()),
            f.lock.map(|l| l.blocks().to_owned()),
            f.detail,
            f.safer,
        )
    })))
}
