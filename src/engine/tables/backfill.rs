//! The backfill of tables, one slice at a time: rows, then pending rows, then what the targets get last.

use crate::engine::job::open::rows_left;
use crate::engine::types::SliceContext;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::records::{Mapping, Migration};
use crate::pg::{application_path, spi, tx};
use crate::settings;
use crate::steps::fkeys::LackingKey;
use crate::steps::{
    SliceOutcome, annotate, copy, fkeys, index, install_triggers, retry, scope_pin,
};
use crate::store::{drift, pending_rows, sides};
use std::time::{Duration, Instant};

/// With more failed rows than this the job stops instead of listing a whole table.
const MAX_ERRORS: i64 = 1000;
/// How long the further pieces of a slice wait for a lock.
const AT_ONCE_MS: i32 = 1;

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
            match early_indexes(m, p)? {
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

/// Builds indexes of one table for as long as a batch may take.
fn early_indexes(m: &Migration, p: &Mapping) -> Result<SliceOutcome> {
    let until = slice_end(m);
    let mut done = SliceOutcome::Done;
    while Instant::now() < until {
        match index::next(m, p, false, settings::lock_timeout_ms(m))? {
            SliceOutcome::Done => break,
            built => done = built,
        }
    }
    Ok(done)
}

fn slice_end(m: &Migration) -> Instant {
    let target = u64::try_from(settings::batch_target_ms(m)).unwrap_or(0);
    Instant::now() + Duration::from_millis(target)
}

#[derive(Clone, Copy, PartialEq)]
enum LateWork {
    Index,
    Key(LackingKey),
}

/// Builds indexes, waits for old snapshots, adds and validates foreign keys, then scope pins. A slice does as many pieces of one kind as
/// fit into the time of a batch: what comes before the first piece (drift, the layouts of all tables) costs more than an index of twelve
/// rows.
fn late_work(m: &Migration, mappings: &[Mapping], top_level: bool) -> Result<Option<SliceOutcome>> {
    let until = slice_end(m);
    let (kind, lacking) = next_late_work(m, mappings)?;
    if kind != LateWork::Index {
        match fkeys::drain(m)? {
            SliceOutcome::Done => {}
            other => return Ok(Some(other)),
        }
    }
    let Some(first) = lacking.first() else {
        return match scope_pin::next_of(m, mappings)? {
            SliceOutcome::Done => Ok(None),
            other => Ok(Some(other)),
        };
    };
    let outcome = do_late_work(m, first, kind, top_level, settings::lock_timeout_ms(m))?;
    if matches!(outcome, SliceOutcome::Did(_)) {
        do_further_work(m, &lacking, kind, top_level, until)?;
    }
    Ok(Some(outcome))
}

/// Goes on for as long as a batch may take. It waits for no lock, because others would wait for those that it has.
fn do_further_work(
    m: &Migration,
    lacking: &[&Mapping],
    kind: LateWork,
    top_level: bool,
    until: Instant,
) -> Result<()> {
    for p in lacking {
        loop {
            if Instant::now() >= until {
                return Ok(());
            }
            match tx::subtransaction(|| do_late_work(m, p, kind, top_level, AT_ONCE_MS)) {
                Ok(SliceOutcome::Did(_)) => {}
                Ok(SliceOutcome::Done) => break,
                Ok(_) => return Ok(()),
                Err(e) if e.is_retryable() => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Returns what comes next, and the tables that lack it. They are looked up all at once: a look at each of many tables before
/// each piece of work grows with the square of their number.
fn next_late_work<'a>(
    m: &Migration,
    mappings: &'a [Mapping],
) -> Result<(LateWork, Vec<&'a Mapping>)> {
    let indexes = index::find_lacking(m, mappings)?;
    if !indexes.is_empty() {
        return Ok((LateWork::Index, indexes));
    }
    let keys = fkeys::find_lacking(mappings, LackingKey::All)?;
    if !keys.is_empty() {
        return Ok((LateWork::Key(LackingKey::All), keys));
    }
    let keys = fkeys::find_lacking(mappings, LackingKey::Validation)?;
    Ok((LateWork::Key(LackingKey::Validation), keys))
}

fn do_late_work(
    m: &Migration,
    p: &Mapping,
    kind: LateWork,
    top_level: bool,
    lock_timeout_ms: i32,
) -> Result<SliceOutcome> {
    match kind {
        LateWork::Index => index::next(m, p, top_level, lock_timeout_ms),
        LateWork::Key(what) => fkeys::next(p, what, lock_timeout_ms),
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
