//! The event that fired the trigger.

use super::types::Mirror;
use pgrx::pg_sys;

/// What happened to a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RowEvent {
    New,
    Changed,
    Gone,
}

/// What the application did.
#[derive(Clone)]
pub enum TriggerEvent {
    /// BEFORE TRUNCATE.
    Emptying,
    /// AFTER TRUNCATE.
    All,
    Row(Vec<pg_sys::Datum>, RowEvent),
    /// A change of the key: the old and the new key.
    Moved(Vec<pg_sys::Datum>, Vec<pg_sys::Datum>),
}

/// Returns the event of the running call.
///
/// # Safety
/// `data` is the TriggerData of the running call.
pub unsafe fn classify_event(data: &pg_sys::TriggerData, mirror: &Mirror) -> TriggerEvent {
    // SAFETY: which tuples exist depends on the event, as the manual's chapter on trigger functions says.
    unsafe {
        let event = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        if event == pg_sys::TRIGGER_EVENT_TRUNCATE {
            return match data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK {
                pg_sys::TRIGGER_EVENT_BEFORE => TriggerEvent::Emptying,
                _ => TriggerEvent::All,
            };
        }
        let old = mirror.key.of_tuple(data.tg_relation, data.tg_trigtuple);
        match event {
            pg_sys::TRIGGER_EVENT_INSERT => return TriggerEvent::Row(old, RowEvent::New),
            pg_sys::TRIGGER_EVENT_DELETE => return TriggerEvent::Row(old, RowEvent::Gone),
            _ => {}
        }
        let new = mirror.key.of_tuple(data.tg_relation, data.tg_newtuple);
        // Keys that are equal bit by bit are one key. Other keys are treated as two, which is never wrong.
        if mirror.key.is_same(&old, &new) {
            TriggerEvent::Row(new, RowEvent::Changed)
        } else {
            TriggerEvent::Moved(old, new)
        }
    }
}
