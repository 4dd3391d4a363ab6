//! How a trigger function is called. A table's owner can attach any trigger function to it in any way that SQL allows, with any
//! arguments. Which tuples exist depends on that, so the call is checked before a tuple is read.

use crate::ident::QualifiedName;
use crate::pg::syscache;
use crate::sqlgen::trigger_definition::TriggerDefinition;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// Timing and level, common to all events of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FiringMode {
    AfterRow,
    BeforeRow,
    InsteadOfRow,
    /// Before or after a statement; there is no tuple.
    Statement,
}

/// The kind of relation that a trigger is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerRelation {
    /// An ordinary table with heap storage.
    Heap,
    View,
    Other,
}

/// Returns the call's TriggerData; None where the function is not called as a trigger.
///
/// # Safety
/// `fcinfo` is what the function manager passed, and lives as long as the result.
pub unsafe fn data<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Option<&'a pg_sys::TriggerData> {
    // SAFETY: upheld by the caller; the context of a function called as a trigger is a TriggerData, and its tag is checked.
    unsafe {
        pgrx::trigger_support::called_as_trigger(fcinfo)
            .then(|| &*(*fcinfo).context.cast::<pg_sys::TriggerData>())
    }
}

/// Returns timing and level.
pub fn call(data: &pg_sys::TriggerData) -> FiringMode {
    if data.tg_event & pg_sys::TRIGGER_EVENT_ROW == 0 {
        return FiringMode::Statement;
    }
    match data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK {
        pg_sys::TRIGGER_EVENT_BEFORE => FiringMode::BeforeRow,
        pg_sys::TRIGGER_EVENT_INSTEAD => FiringMode::InsteadOfRow,
        _ => FiringMode::AfterRow,
    }
}

/// Returns `TRIGGER_EVENT_INSERT` or one of its siblings.
pub fn event(data: &pg_sys::TriggerData) -> u32 {
    data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK
}

/// # Safety
/// `data` is the TriggerData of a trigger that is running.
pub unsafe fn relation_kind(data: &pg_sys::TriggerData) -> TriggerRelation {
    // SAFETY: the relation is open while the trigger runs.
    let form = unsafe { &*(*data.tg_relation).rd_rel };
    match form.relkind as u8 {
        pg_sys::RELKIND_RELATION if form.relam == pg_sys::HEAP_TABLE_AM_OID => {
            TriggerRelation::Heap
        }
        pg_sys::RELKIND_VIEW => TriggerRelation::View,
        _ => TriggerRelation::Other,
    }
}

/// Checks that all tuples exist that a row event has.
pub fn has_rows(data: &pg_sys::TriggerData) -> bool {
    let changed = event(data) == pg_sys::TRIGGER_EVENT_UPDATE;
    let there = !data.tg_trigtuple.is_null() && !data.tg_trigslot.is_null();
    there && (!changed || !data.tg_newtuple.is_null() && !data.tg_newslot.is_null())
}

/// Checks that the trigger matches the definition `made` in everything except its enabled state: it is not part of a constraint,
/// and has no column list, condition or transition tables beyond the definition.
///
/// # Safety
/// `trigger` is a running trigger.
pub unsafe fn is_as_made(trigger: &pg_sys::Trigger, made: &TriggerDefinition) -> bool {
    let none = pg_sys::InvalidOid;
    let ordinary = !trigger.tgisinternal
        && !trigger.tgisclone
        && !trigger.tgdeferrable
        && !trigger.tginitdeferred
        && [
            trigger.tgconstraint,
            trigger.tgconstrrelid,
            trigger.tgconstrindid,
        ] == [none; 3]
        && trigger.tgnattr == 0
        && trigger.tgoldtable.is_null()
        && trigger.tgnewtable.is_null();
    // SAFETY: upheld by the caller.
    ordinary
        && trigger.tgtype == made.bits()
        && trigger.tgqual.is_null() == made.when.is_none()
        && unsafe { name(trigger) } == made.name.as_str().as_bytes()
        && unsafe { has_arguments(trigger, &made.arguments) }
}

/// # Safety
/// `trigger` is a running trigger.
unsafe fn has_arguments(trigger: &pg_sys::Trigger, expected: &[String]) -> bool {
    let same = |(n, text): (usize, &String)| {
        // SAFETY: upheld by the caller.
        let is = unsafe { argument(trigger, n) };
        is.is_some_and(|a| a.to_bytes() == text.as_bytes())
    };
    usize::try_from(trigger.tgnargs) == Ok(expected.len()) && expected.iter().enumerate().all(same)
}

/// # Safety
/// `trigger` is a running trigger, and runs as long as the text is used.
pub unsafe fn argument(trigger: &pg_sys::Trigger, n: usize) -> Option<&CStr> {
    let there = usize::try_from(trigger.tgnargs).is_ok_and(|all| n < all);
    // SAFETY: tgargs has tgnargs C strings.
    there.then(|| unsafe { CStr::from_ptr((*trigger.tgargs.add(n)).cast::<c_char>()) })
}

/// # Safety
/// As for `argument`.
pub unsafe fn name(trigger: &pg_sys::Trigger) -> &[u8] {
    // SAFETY: every trigger has a name, a C string.
    unsafe { CStr::from_ptr(trigger.tgname) }.to_bytes()
}

/// Returns the names of the running trigger and its table, for messages.
///
/// # Safety
/// `trigger` is a running trigger.
pub unsafe fn name_of_trigger(
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
) -> (String, Option<QualifiedName>) {
    // SAFETY: upheld by the caller.
    let name = String::from_utf8_lossy(unsafe { name(trigger) }).into_owned();
    (name, syscache::relation_name(relation))
}
