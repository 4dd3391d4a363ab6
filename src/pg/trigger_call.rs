//! How a trigger function is called. Whoever owns a table attaches any trigger function to it in any way that SQL has, with any
//! arguments; what is there to be read depends on that, so that it is looked at before a tuple is.

use crate::ident::QualifiedName;
use crate::pg::catalog;
use crate::sqlgen::trigger_definition::TriggerDefinition;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// What is common to all events that a trigger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FiringMode {
    AfterRow,
    BeforeRow,
    InsteadOfRow,
    /// Before or after a statement; there is no tuple.
    Statement,
}

/// What a trigger sits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerRelation {
    /// An ordinary table, whose rows are a heap's.
    Heap,
    View,
    Other,
}

/// None where the function is not called as a trigger.
///
/// # Safety
/// `fcinfo` is what the function manager passed, and lives as long as what is returned.
pub unsafe fn data<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Option<&'a pg_sys::TriggerData> {
    // SAFETY: as the caller says; the context of a function called as a trigger is a TriggerData, and its tag is looked at.
    unsafe {
        pgrx::trigger_support::called_as_trigger(fcinfo)
            .then(|| &*(*fcinfo).context.cast::<pg_sys::TriggerData>())
    }
}

/// Timing and level.
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

/// One of `TRIGGER_EVENT_INSERT` and its neighbours.
pub fn event(data: &pg_sys::TriggerData) -> u32 {
    data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK
}

/// # Safety
/// `data` is the TriggerData of a trigger that is running.
pub unsafe fn seat(data: &pg_sys::TriggerData) -> TriggerRelation {
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

/// Whether all tuples are there that a row's event has.
pub fn has_rows(data: &pg_sys::TriggerData) -> bool {
    let changed = event(data) == pg_sys::TRIGGER_EVENT_UPDATE;
    let there = !data.tg_trigtuple.is_null() && !data.tg_trigslot.is_null();
    there && (!changed || !data.tg_newtuple.is_null() && !data.tg_newslot.is_null())
}

/// Whether the trigger is in all but its state what `made` makes: neither another's constraint, nor with columns, a condition or
/// tables of rows that we do not ask for.
///
/// # Safety
/// `trigger` is one that is running.
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
    // SAFETY: as the caller says.
    ordinary
        && trigger.tgtype == made.bits()
        && trigger.tgqual.is_null() == made.when.is_none()
        && unsafe { name(trigger) } == made.name.as_str().as_bytes()
        && unsafe { has_arguments(trigger, &made.arguments) }
}

/// # Safety
/// `trigger` is one that is running.
unsafe fn has_arguments(trigger: &pg_sys::Trigger, expected: &[String]) -> bool {
    let same = |(n, text): (usize, &String)| {
        // SAFETY: as the caller says.
        let is = unsafe { argument(trigger, n) };
        is.is_some_and(|a| a.to_bytes() == text.as_bytes())
    };
    usize::try_from(trigger.tgnargs) == Ok(expected.len()) && expected.iter().enumerate().all(same)
}

/// # Safety
/// `trigger` is one that is running, and runs as long as the text is used.
pub unsafe fn argument(trigger: &pg_sys::Trigger, n: usize) -> Option<&CStr> {
    let there = usize::try_from(trigger.tgnargs).is_ok_and(|all| n < all);
    // SAFETY: tgargs has tgnargs C strings.
    there.then(|| unsafe { CStr::from_ptr((*trigger.tgargs.add(n)).cast::<c_char>()) })
}

/// # Safety
/// As `argument`.
pub unsafe fn name(trigger: &pg_sys::Trigger) -> &[u8] {
    // SAFETY: a trigger has a name, a C string.
    unsafe { CStr::from_ptr(trigger.tgname) }.to_bytes()
}

/// The running trigger and its table, for messages.
///
/// # Safety
/// `trigger` is one that is running.
pub unsafe fn name_of_trigger(
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
) -> (String, Option<QualifiedName>) {
    // SAFETY: as the caller says.
    let name = String::from_utf8_lossy(unsafe { name(trigger) }).into_owned();
    (name, catalog::name_of(relation))
}
