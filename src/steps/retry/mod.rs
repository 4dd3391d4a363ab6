//! Pending rows: those that a batch could not lock, and those that a repair has found. Many at a time without waiting, then
//! each alone in its transaction, so that a wait for one holds no other lock.

mod merge;
pub mod repair;

use super::SliceOutcome;
use crate::error::{Error, Result};
use crate::model::records::{Leftover, Mapping, Migration, Pass};
use crate::pg::{guc, own_writes, role, spi, tx};
use crate::relation::id_pairs;
use crate::settings;
use crate::sqlgen::checksum::{ComparedPair, Side};
use crate::sqlgen::{batch, delete_stale};
use crate::store::{mapping, pending_rows, sides};

/// Copies the row. With `may_wait` it waits for the row's lock, no longer than `lock_timeout_ms`.
pub fn copy(m: &Migration, l: &Leftover, may_wait: bool) -> Result<SliceOutcome> {
    let p =
        mapping::by_id(l.mapping)?.ok_or_else(|| Error::internal("the mapping is gone".into()))?;
    let moved = tx::subtransaction(|| match p.pass {
        Pass::Copy => copy_row(m, &p, l, may_wait),
        Pass::DeleteStale | Pass::CopyBack => bring_back(m, &p, l),
    });
    match moved {
        Ok(RowResult::Settled) => {
            pending_rows::done(l.id)?;
            Ok(SliceOutcome::Did(1))
        }
        Ok(RowResult::Refused) => {
            pending_rows::move_refused(l)?;
            Ok(SliceOutcome::Did(1))
        }
        Ok(RowResult::Busy) => {
            pending_rows::set_tried(l.id)?;
            Ok(SliceOutcome::Wait(row_lock(&p, l)))
        }
        Ok(RowResult::Tied(why)) => {
            pending_rows::move_failed(l, "23503", why)?;
            Ok(SliceOutcome::Did(1))
        }
        Err(e) if e.is_retryable() => {
            pending_rows::set_tried(l.id)?;
            Ok(SliceOutcome::Wait(row_lock(&p, l)))
        }
        Err(e) if e.is_about_data() => {
            pending_rows::move_failed(l, &e.sqlstate(), &e.to_string())?;
            Ok(SliceOutcome::Did(1))
        }
        Err(e) => Err(e),
    }
}

fn row_lock(p: &Mapping, l: &Leftover) -> String {
    format!("lock on row ({}) of {}", l.key.join(", "), p.source_text())
}

enum RowResult {
    /// In the target, or deleted from the source; then the mirror deleted it from the target too.
    Settled,
    /// The target did not take it: a row of another scope holds its key.
    Refused,
    /// Locked by another transaction, and this call must not wait.
    Busy,
    /// A foreign key of the targets is in the way.
    Tied(&'static str),
}

/// As `copy_row`, in the reverse direction: the source row becomes what the target row is, or is deleted.
fn bring_back(m: &Migration, p: &Mapping, l: &Leftover) -> Result<RowResult> {
    let flow = sides::reverse(p)?
        .ok_or_else(|| Error::internal(format!("mapping {} has no way back", p.id)))?;
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(sides::owner(p)?)?;
    let key = || -> [pgrx::datum::DatumWithOid; 1] { [l.key.clone().into()] };
    if spi::run(&batch::lock_one(&flow, true), &key())? > 0 {
        id_pairs::give_id(&flow, &l.key)?;
        spi::run(&batch::renew_one(&flow), &key())?;
        spi::run(&batch::copy_one(&flow), &key())?;
        if let Some(sql) = batch::settle_one(&sides::forward(p)?, &flow) {
            own_writes::note_next_command();
            spi::run(&sql, &key())?;
        }
        let arrived = spi::value::<bool>(&batch::select_arrived(&flow), &key())?;
        return Ok(if arrived.unwrap_or(true) {
            RowResult::Settled
        } else {
            RowResult::Refused
        });
    }
    if spi::run(&batch::exists(&flow), &key())? > 0 {
        return Ok(RowResult::Busy);
    }
    if spi::run(&delete_stale::lock_one(&flow), &key())? > 0 {
        spi::run(&delete_stale::delete_one(&flow), &key())?;
    } else if spi::run(&delete_stale::exists(&flow), &key())? > 0 {
        return Ok(RowResult::Busy);
    }
    Ok(RowResult::Settled)
}

/// Handles a key that the source does not have. The target does not have it either, unless a write passed the mirror.
fn not_there(p: &Mapping, l: &Leftover) -> Result<RowResult> {
    let free = repair::prune(p, &repair::keys(std::slice::from_ref(l)))?;
    let pair = ComparedPair::new(p.id, sides::target(p)?, sides::layout(p)?);
    let still = spi::run(
        &pair.row(Side::Target, Side::Source),
        &[l.key.clone().into()],
    )? > 0;
    Ok(match (still, free) {
        (false, _) => RowResult::Settled,
        // Another transaction holds it, perhaps one that is inserting the source row.
        (true, 0) => RowResult::Busy,
        (true, _) => RowResult::Tied("the new row has no old one, and others refer to it"),
    })
}

fn copy_row(m: &Migration, p: &Mapping, l: &Leftover, may_wait: bool) -> Result<RowResult> {
    let flow = sides::forward(p)?;
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(sides::owner(p)?)?;
    let key = || -> [pgrx::datum::DatumWithOid; 1] { [l.key.clone().into()] };
    let lock = |skip| spi::run(&batch::lock_one(&flow, skip), &key());
    let found = |sql: &str| Ok::<bool, Error>(spi::run(sql, &key())? > 0);
    if lock(true)? == 0 {
        let here = match flow.merged {
            true => batch::is_here(&flow),
            false => batch::exists(&flow),
        };
        if !may_wait && found(&here)? {
            return Ok(RowResult::Busy);
        }
        if !may_wait || lock(false)? == 0 {
            // This source may have no part of a merged row.
            if !flow.merged || !found(&batch::exists(&flow))? {
                return not_there(p, l);
            }
        }
    }
    // The mirror keeps an existing row right: this is for a row that was written past it.
    let brought = repair::copy_free_rows(m, p, &repair::keys(std::slice::from_ref(l)))?;
    match (brought.rows, brought.waits) {
        (0, true) => return Ok(RowResult::Busy),
        (0, false) => {
            return Ok(RowResult::Tied(
                "what the row refers to is not in the new tables",
            ));
        }
        _ => {}
    }
    if p.adopted {
        spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    }
    let arrived = spi::value::<bool>(&batch::select_arrived(&flow), &key())?;
    Ok(match arrived {
        Some(false) => RowResult::Refused,
        // The transaction that holds the target row may end without a write that corrects it.
        _ if brought.held => RowResult::Busy,
        _ => RowResult::Settled,
    })
}
