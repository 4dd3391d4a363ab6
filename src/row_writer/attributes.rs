//! Columns of a table that is open.

use crate::pg::datum_equality::KeyColumns;
use pgrx::pg_sys;
use std::ffi::CString;

/// Returns the column's description.
///
/// # Safety
/// `table` is open and has the column.
pub unsafe fn attribute<'a>(
    table: pg_sys::Relation,
    number: i16,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: guaranteed by the caller.
    unsafe {
        &(*(*table).rd_att)
            .attrs
            .as_slice((*(*table).rd_att).natts as usize)[number as usize - 1]
    }
}

/// Returns the columns as those of a key.
///
/// # Safety
/// `table` is open and has the columns.
pub unsafe fn key_columns(table: pg_sys::Relation, numbers: &[i16]) -> KeyColumns {
    // SAFETY: guaranteed by the caller.
    let kind = |n: &i16| (*n, unsafe { attribute(table, *n) }.atttypid);
    KeyColumns::new(numbers.iter().map(kind))
}

/// Returns the numbers of the columns; None if one of them does not exist.
///
/// # Safety
/// `table` is open.
pub unsafe fn numbers_in(table: pg_sys::Relation, names: &[CString]) -> Option<Vec<i16>> {
    // SAFETY: guaranteed by the caller.
    names
        .iter()
        .map(|n| unsafe { number_in(table, n) })
        .collect()
}

/// Returns the number of the column; None if it does not exist.
///
/// # Safety
/// `table` is open.
pub unsafe fn number_in(table: pg_sys::Relation, name: &CString) -> Option<i16> {
    // SAFETY: guaranteed by the caller.
    let number = unsafe { pg_sys::get_attnum((*table).rd_id, name.as_ptr()) };
    (number > 0).then_some(number)
}

/// Returns the numbers of the columns that are not among `numbers`.
///
/// # Safety
/// `table` is open.
pub unsafe fn all_but(
    table: pg_sys::Relation,
    numbers: impl Iterator<Item = i16> + Clone,
) -> Vec<i16> {
    // SAFETY: guaranteed by the caller.
    let all = unsafe {
        (*(*table).rd_att)
            .attrs
            .as_slice((*(*table).rd_att).natts as usize)
    };
    all.iter()
        .filter(|a| !a.attisdropped && !numbers.clone().any(|n| n == a.attnum))
        .map(|a| a.attnum)
        .collect()
}
