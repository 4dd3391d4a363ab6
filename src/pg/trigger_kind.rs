//! The triggers of a table, and whose they are.

use crate::pg::syscache;
use pgrx::pg_sys::{self, Oid};

/// Returns the triggers of a table.
///
/// # Safety
/// `all` is null or valid as long as the result is used.
pub unsafe fn triggers_of<'a>(all: *const pg_sys::TriggerDesc) -> &'a [pg_sys::Trigger] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match all.as_ref() {
            Some(all) if all.numtriggers > 0 => {
                std::slice::from_raw_parts(all.triggers, all.numtriggers as usize)
            }
            _ => &[],
        }
    }
}

/// Whose trigger it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    Application,
    /// Of pg_mig.
    Own,
    /// Of a foreign key, or of a deferrable unique or exclusion constraint.
    Constraint,
    /// Another internal one, of an extension.
    OtherInternal,
}

/// Returns the kinds of the triggers, in their order.
pub fn list_kinds(triggers: &[pg_sys::Trigger]) -> Vec<TriggerKind> {
    let own = syscache::schema_of_extension();
    triggers.iter().map(|t| kind_of(t, own)).collect()
}

pub fn kind_of(trigger: &pg_sys::Trigger, own: Option<Oid>) -> TriggerKind {
    /// `unique_key_recheck` (pg_proc.dat).
    const UNIQUE_KEY_RECHECK: u32 = 1250;
    // SAFETY: catalog look-ups inside a transaction.
    let (in_own, key) = unsafe {
        (
            own.is_some_and(|own| pg_sys::get_func_namespace(trigger.tgfoid) == own),
            pg_sys::RI_FKey_trigger_type(trigger.tgfoid) as u32 != pg_sys::RI_TRIGGER_NONE,
        )
    };
    match trigger.tgisinternal {
        _ if in_own => TriggerKind::Own,
        true if key || trigger.tgfoid.to_u32() == UNIQUE_KEY_RECHECK => TriggerKind::Constraint,
        true => TriggerKind::OtherInternal,
        false => TriggerKind::Application,
    }
}

/// Whether it is an AFTER ROW trigger of ours: a mirror.
pub fn is_mirror(trigger: &pg_sys::Trigger, own: Option<Oid>) -> bool {
    let [row, timing] = [
        pg_sys::TRIGGER_TYPE_ROW,
        pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSTEAD,
    ]
    .map(|bits| trigger.tgtype as u32 & bits);
    row != 0 && timing == 0 && kind_of(trigger, own) == TriggerKind::Own
}

/// Whether the table has a mirror's trigger.
///
/// # Safety
/// `table` is open.
pub unsafe fn has_mirror(table: pg_sys::Relation) -> bool {
    let own = syscache::schema_of_extension();
    // SAFETY: guaranteed by the caller.
    let triggers = unsafe { triggers_of((*table).trigdesc) };
    triggers.iter().any(|t| is_mirror(t, own))
}

/// Whether it fires before a row is written, and may change it.
pub fn changes_rows(trigger: &pg_sys::Trigger) -> bool {
    let before = pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE;
    trigger.tgtype as u32 & before == before
}

/// Whether it is the check of a foreign key, on the table that refers.
pub fn checks_parent(trigger: &pg_sys::Trigger) -> bool {
    // SAFETY: compares an object id.
    let kind = unsafe { pg_sys::RI_FKey_trigger_type(trigger.tgfoid) };
    kind as u32 == pg_sys::RI_TRIGGER_FK
}

/// Whether the function is an action of a foreign key: CASCADE, SET NULL or SET DEFAULT, on DELETE or UPDATE. Object ids of built-in
/// functions never change (pg_proc.dat).
pub fn acts_on_other_rows(function: Oid) -> bool {
    matches!(function.to_u32(), 1646 | 1647 | 1650..=1653)
}
