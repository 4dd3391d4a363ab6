//! Which tables can be written below SQL, and to what extent.

use crate::pg::trigger_kind::{self, TriggerKind};
use crate::row_writer::{attributes, index_lookup};
use pgrx::pg_sys;
use std::ffi::CString;

/// Whether `table` can be written below SQL, where mirrors are on it if `both_ways`: an ordinary table whose columns outside `columns` stay null, without triggers that would have to
/// see the rows, except those of constraints. The application's have fired on the side that it wrote.
///
/// # Safety
/// `table` is open.
pub unsafe fn table(table: pg_sys::Relation, columns: &[CString], both_ways: bool) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let Some(set) = attributes::numbers_in(table, columns) else {
            return false;
        };
        let attributes = &*(*table).rd_att;
        let generated = attributes
            .constr
            .as_ref()
            .is_some_and(|c| c.has_generated_stored);
        let all = attributes.attrs.as_slice(attributes.natts as usize);
        let stays_null = |a: &pg_sys::FormData_pg_attribute| {
            a.attisdropped
                || set.contains(&a.attnum)
                || !a.atthasdef
                    && a.attidentity == 0
                    && pg_sys::get_typtype(a.atttypid) as u8 != pg_sys::TYPTYPE_DOMAIN
        };
        let triggers = trigger_kind::triggers_of((*table).trigdesc);
        let kinds = trigger_kind::list_kinds(triggers);
        let silent = triggers
            .iter()
            .zip(kinds)
            .all(|(trigger, kind)| match kind {
                TriggerKind::Constraint | TriggerKind::Application => true,
                TriggerKind::Own => both_ways && !trigger_kind::changes_rows(trigger),
                TriggerKind::OtherInternal => false,
            });
        index_lookup::is_table(table)
            && !generated
            && (*table).rd_rules.is_null()
            && all.iter().all(stays_null)
            && silent
    }
}

/// Whether a write runs only built-in code. Triggers of foreign keys count as built-in: they qualify all names with a schema.
///
/// # Safety
/// `table` is open.
pub unsafe fn is_plain(table: pg_sys::Relation) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let checks = (*(*table).rd_att).constr.as_ref();
        checks.is_none_or(|c| c.num_check == 0) && index_lookup::indexes_are_plain(table)
    }
}

/// Whether every index reports a conflict at once, without waiting and without a deferred check: true for immediate unique indexes, not for
/// exclusion constraints.
///
/// # Safety
/// `table` is open.
pub unsafe fn tells_at_once(table: pg_sys::Relation) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        index_lookup::all_indexes(table, |index| {
            let form = &*(*index).rd_index;
            !form.indisexclusion && form.indimmediate
        })
    }
}
