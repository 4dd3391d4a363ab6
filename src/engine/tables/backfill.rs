//! The backfill of tables, one slice at a time: rows, then pending rows, then what the targets get last.

use crate::engine::job::open::rows_left;
use crate::engine::types::SliceContext;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::records::{Mapping, Migration};
use crate::pg::{application_path, spi, tx};
use crate::steps::{
    SliceOutcome, annotate, copy, fkeys, index, install_triggers, retry, scope_pin,
};
use crate::store::{drift, pending_rows, sides};

/// With more failed rows than this the job stops instead of listing a whole table.
const MAX_ERRORS: i64 = 1000;

/// Does the next piece of work of a backfill; None when all is done.
pub(super) fn work(
    m: &Migration,
    mappings: &[Mapping],
    able: SliceContext,
) -> Result<Option<SliceOutcome>> {
    drift::require_none(m)?;
    if let Some(p) = mappings.iter().find(|p| !p.copied) {
        // Without concurrent builds, indexes are built while the target is still small.
        if !able.top_level && p.bound_blocks.is_none() {
            match index::next(m, p, false)? {
                SliceOutcome::Done => {}
                other => return Ok(Some(other)),
            }
        }
        return copy::batch(m, p).map(Some);
    }
    if mappings.iter().any(|p| p.notes() && !p.settled) {
        install_triggers::settle_ids(m, mappings)?;
        return Ok(Some(SliceOutcome::Did(0)));
    }
    if let Some(l) = pending_rows::next_leftover(m.id)? {
        too_many_errors(m)?;
        return retry::copy(m, &l, able.may_wait).map(Some);
    }
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed > 0 {
        return Err(errors_left(m, failed));
    }
    late_work(m, mappings, able.top_level)
}

/// Builds indexes, waits for old snapshots, adds foreign keys, then scope pins. What is missing is looked up for all tables
/// at once: a look at each of many tables before each piece of work grows with the square of their number.
fn late_work(m: &Migration, mappings: &[Mapping], top_level: bool) -> Result<Option<SliceOutcome>> {
    if let Some(p) = index::find_lacking(m, mappings)? {
        return index::next(m, p, top_level).map(Some);
    }
    match fkeys::drain(m)? {
        SliceOutcome::Done => {}
        other => return Ok(Some(other)),
    }
    if let Some(p) = fkeys::find_lacking(mappings)? {
        return fkeys::next(m, p).map(Some);
    }
    match scope_pin::next_of(m, mappings)? {
        SliceOutcome::Done => Ok(None),
        other => Ok(Some(other)),
    }
}

fn too_many_errors(m: &Migration) -> Result<()> {
    let failed = pending_rows::open(m.id, None)?.errors;
    if failed > MAX_ERRORS {
        Err(errors_left(m, failed))
    } else {
        Ok(())
    }
}

fn errors_left(m: &Migration, failed: i64) -> Error {
    rows_left(
        m,
        failed,
        &format!("SELECT mig_backfill({});", Literal(&m.name)),
    )
}

/// Takes the batch of `table` that failed over one of its rows row by row. Anything else that a row can violate (a unique index, a foreign
/// key) fails the job with `error`.
pub(super) fn give_up_batch(m: &Migration, table: Option<&Mapping>, error: Error) -> Result<()> {
    let Some(p) = table else {
        return Err(error);
    };
    tx::subtransaction(|| copy::give_up_slice(m, p, false))?;
    Ok(())
}

/// Annotates and analyzes the targets.
pub(super) fn finish(mappings: &[Mapping]) -> Result<()> {
    tx::subtransaction(|| mappings.iter().try_for_each(annotate::annotate))?;
    for p in mappings {
        let _code = application_path::switch();
        spi::run(&format!("ANALYZE {}", sides::target(p)?), &[])?;
    }
    Ok(())
}
