//! Plans of the mirrors that this session has met, dropped when their tables change.

use super::build;
use super::trust::RunningTrigger;
use super::types::Mirror;
use crate::error::Result;
use crate::pg::guc;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static MIRRORS: RefCell<HashMap<pg_sys::Oid, Rc<Mirror>>> = RefCell::new(HashMap::new());
}

/// The mirror of the trigger that fired, from the session's cache or made anew.
pub fn find_or_build(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    loop {
        let found = known_or_made(data)?;
        // The lock that our writes take anyway, before the plans are chosen: with it come the messages of whoever
        // changed that table, and nobody puts a mirror on it from here to the end of the transaction.
        for one in std::iter::once(&*found).chain(&found.partners) {
            // SAFETY: inside a transaction; an oid that is gone is locked all the same.
            unsafe { pg_sys::LockRelationOid(one.written, pg_sys::RowExclusiveLock as i32) };
        }
        if !found.changed.is_raised() {
            return Ok(found);
        }
    }
}

/// The mirror of the trigger that fired, if this session knows it.
pub fn find_cached(data: &pg_sys::TriggerData) -> Option<Rc<Mirror>> {
    let running = RunningTrigger(data);
    let trigger = running.trigger();
    let found = MIRRORS.with_borrow(|m| m.get(&trigger.tgoid).cloned());
    found.filter(|m| {
        // Whatever else of the trigger changes, its table is told of.
        !m.changed.is_raised() && m.touched == running.relation() && m.fires == trigger.tgtype
    })
}

fn known_or_made(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    if let Some(found) = find_cached(data) {
        return Ok(found);
    }
    let running = RunningTrigger(data);
    let _safe = guc::pin_names();
    let (id, way) = running.arguments()?;
    let made = Rc::new(build::mirror(id, way, running, None)?);
    // Others that are stale may be of triggers that are gone. They are freed outside the borrow, and only when no call
    // further up still uses them.
    let stale = MIRRORS.with_borrow_mut(|mirrors| {
        let (stale, good) = mirrors.drain().partition(|(_, m)| m.changed.is_raised());
        *mirrors = good;
        mirrors.insert(running.trigger().tgoid, Rc::clone(&made));
        stale
    });
    drop::<HashMap<_, _>>(stale);
    Ok(made)
}
