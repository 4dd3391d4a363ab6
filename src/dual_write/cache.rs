//! The session's cache of mirrors with their plans. A mirror is dropped when one of its tables changes.

use super::build;
use super::trust::RunningTrigger;
use super::types::Mirror;
use crate::error::Result;
use crate::pg::guc;
use crate::store::unmirrored;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static MIRRORS: RefCell<HashMap<pg_sys::Oid, Rc<Mirror>>> = RefCell::new(HashMap::new());
}

/// Returns the mirror of the trigger that fired, from the session's cache or newly built. None if an owner lacks rights, which is noted: the
/// write passes.
pub fn find_or_build(data: &pg_sys::TriggerData) -> Result<Option<Rc<Mirror>>> {
    loop {
        let Some(found) = known_or_made(data)? else {
            return Ok(None);
        };
        // Takes the lock that the write takes anyway, before the plans are chosen. With the lock come the invalidation messages of
        // transactions that changed the table, and no mirror can be installed on it until the transaction ends.
        for one in std::iter::once(&*found).chain(&found.partners) {
            // SAFETY: inside a transaction; the oid of a dropped table can be locked, too.
            unsafe { pg_sys::LockRelationOid(one.written, pg_sys::RowExclusiveLock as i32) };
        }
        if !found.changed.is_raised() {
            return Ok(Some(found));
        }
    }
}

/// Returns the mirror of the trigger that fired, if the session has cached it.
pub fn find_cached(data: &pg_sys::TriggerData) -> Option<Rc<Mirror>> {
    let running = RunningTrigger(data);
    let trigger = running.trigger();
    let found = MIRRORS.with_borrow(|m| m.get(&trigger.tgoid).cloned());
    found.filter(|m| {
        // Any other change of the trigger invalidates its table.
        !m.changed.is_raised() && m.touched == running.relation() && m.fires == trigger.tgtype
    })
}

fn known_or_made(data: &pg_sys::TriggerData) -> Result<Option<Rc<Mirror>>> {
    if let Some(found) = find_cached(data) {
        return Ok(Some(found));
    }
    let running = RunningTrigger(data);
    let _safe = guc::pin_names();
    let (id, way) = running.arguments()?;
    let Some(made) = build::build_mirror(id, way, running, None)? else {
        unmirrored::note_mapping(id, way)?;
        return Ok(None);
    };
    let made = Rc::new(made);
    // Other stale mirrors may belong to dropped triggers. They are freed outside the borrow, and only when no outer call still uses them.
    let stale = MIRRORS.with_borrow_mut(|mirrors| {
        let (stale, good) = mirrors.drain().partition(|(_, m)| m.changed.is_raised());
        *mirrors = good;
        mirrors.insert(running.trigger().tgoid, Rc::clone(&made));
        stale
    });
    drop::<HashMap<_, _>>(stale);
    Ok(Some(made))
}
