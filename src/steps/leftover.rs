//! One row that a batch could not lock: alone in its transaction, so that waiting for it holds nothing else.

use super::Outcome;
use crate::error::{Error, Result};
use crate::model::state::{Leftover, Mapping, Migration};
use crate::pg::{role, session, spi, tx};
use crate::settings;
use crate::sqlgen::batch;
use crate::store::{mapping, rows};

/// Copies the row. With `may_wait` it waits for the row's lock, no longer than `lock_timeout_ms`.
pub fn copy(m: &Migration, l: &Leftover, may_wait: bool) -> Result<Outcome> {
    let p =
        mapping::by_id(l.mapping)?.ok_or_else(|| Error::Internal("the mapping is gone".into()))?;
    match tx::subtransaction(|| copy_row(m, &p, l, may_wait)) {
        Ok(Fate::Settled) => {
            rows::done(l.id)?;
            Ok(Outcome::Did(1))
        }
        Ok(Fate::Refused) => {
            rows::refused(l)?;
            Ok(Outcome::Did(1))
        }
        Ok(Fate::Busy) => Ok(Outcome::Wait(row_lock(&p, l))),
        Err(e) if e.is_retryable() => {
            rows::tried(l.id)?;
            Ok(Outcome::Wait(row_lock(&p, l)))
        }
        Err(e) if e.is_about_data() => {
            rows::failed(l, &e.sqlstate(), &e.to_string())?;
            Ok(Outcome::Did(1))
        }
        Err(e) => Err(e),
    }
}

fn row_lock(p: &Mapping, l: &Leftover) -> String {
    format!("lock on row ({}) of {}", l.key.join(", "), p.source_text())
}

enum Fate {
    /// In the target, or gone from the source; the mirror did the latter to the target too.
    Settled,
    /// The target did not take it: a row of another scope holds its key.
    Refused,
    /// Locked by somebody, and this call must not wait.
    Busy,
}

fn copy_row(m: &Migration, p: &Mapping, l: &Leftover, may_wait: bool) -> Result<Fate> {
    let (layout, target) = (mapping::layout(p)?, mapping::target(p)?);
    let _timeout = session::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::act_as(mapping::owner(p)?);
    let key = || -> [pgrx::datum::DatumWithOid; 1] { [l.key.clone().into()] };
    let lock = |skip| spi::run(&batch::lock_one(p.id, layout, skip), &key());
    if lock(true)? == 0 {
        if !may_wait && spi::run(&batch::exists(p.id, layout), &key())? > 0 {
            return Ok(Fate::Busy);
        }
        if !may_wait || lock(false)? == 0 {
            return Ok(Fate::Settled);
        }
    }
    spi::run(&batch::copy_one(p.id, target, layout), &key())?;
    if p.adopted {
        spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    }
    let arrived = spi::value::<bool>(&batch::arrived(p.id, target, layout), &key())?;
    Ok(if arrived.unwrap_or(true) {
        Fate::Settled
    } else {
        Fate::Refused
    })
}
