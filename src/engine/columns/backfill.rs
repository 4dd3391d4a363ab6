//! The backfill of column changes, slice by slice: the rows, then the dependents that the new column gets from the old one.

use crate::engine::types::SliceContext;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::column_change::{ColumnChange, Dependent};
use crate::model::ddl_change::DdlJob;
use crate::model::records::Migration;
use crate::pg::{application_path, catalog, role, spi, tx};
use crate::relation::failing_rows;
use crate::steps::columns::{backfill, dependents};
use crate::steps::{SliceOutcome, TopLevelCommand, ddl, fkeys};
use crate::store::drift;
use pgrx::pg_sys::Oid;

/// Number of rows that an error names.
const EXAMPLES: usize = 10;

/// Does the next piece of work; None when all is done.
pub(super) fn work(
    m: &Migration,
    all: &[ColumnChange],
    able: SliceContext,
) -> Result<Option<SliceOutcome>> {
    drift::require_none(m)?;
    if let Some(r) = all.iter().find(|r| !r.leader().filled) {
        return match tx::subtransaction(|| backfill::batch(m, r, able.may_wait)) {
            Err(e) if e.is_about_data() => Err(with_failing_rows(m, r, e)?),
            other => other.map(Some),
        };
    }
    if let Some(r) = all
        .iter()
        .find(|r| r.columns.iter().any(|c| c.late.is_none()))
    {
        dependents::plan(r, all)?;
        let _code = application_path::switch();
        spi::run(&format!("ANALYZE {}", r.table()?), &[])?;
        return Ok(Some(SliceOutcome::Did(0)));
    }
    for r in all {
        for (_, l) in r.late() {
            match next(m, r, l, able)? {
                SliceOutcome::Done => {}
                other => return Ok(Some(other)),
            }
        }
    }
    // A reader of the new column must not use a snapshot in which it is half filled.
    match fkeys::drain(m)? {
        SliceOutcome::Done => Ok(None),
        other => Ok(Some(other)),
    }
}

/// Returns the error, with the rows that caused it.
fn with_failing_rows(m: &Migration, r: &ColumnChange, e: Error) -> Result<Error> {
    let shape = catalog::shape_of(r.relation, &r.table()?.plain())?;
    let leader = r.leader();
    let blocks = (leader.next_block, leader.bound_blocks.unwrap_or(0));
    let found = {
        let _owner = role::confine_reading(Oid::from(shape.owner))?;
        failing_rows::rows(r, &shape, blocks, EXAMPLES)?
    };
    if found.is_empty() {
        return Ok(e);
    }
    Ok(Error::job_failed(
        m.name.clone(),
        format!(
            "Rows of {} do not convert: {}.",
            r.describe(),
            failing_rows::describe(&found)
        ),
        format!(
            "Correct these rows and go on: SELECT mig_backfill({});",
            Literal(&m.name)
        ),
    ))
}

/// Makes an index, a key or a check, as the jobs of mig_create_index and similar functions do.
fn next(
    m: &Migration,
    r: &ColumnChange,
    l: &Dependent,
    able: SliceContext,
) -> Result<SliceOutcome> {
    let table = r.table()?;
    if ddl::is_made(r.relation, table, &l.change)? {
        return Ok(SliceOutcome::Done);
    }
    let job = DdlJob::for_column_job(r.relation, table.clone(), l.change.clone());
    match ddl::next(&job, table)? {
        // Built inside a transaction, it would make the application wait.
        SliceOutcome::TopLevel(TopLevelCommand { sql, .. }) if !able.top_level => {
            Err(Error::job_failed(
                m.name.clone(),
                format!(
                    "Without a background worker {} has to be made by hand: {sql};",
                    l.change.describe()
                ),
                format!("{sql};"),
            ))
        }
        other => Ok(other),
    }
}
