//! A slot for one row, and calls through the table access method, which PostgreSQL has as inline functions only
//! (tableam.h).

use pgrx::pg_sys;

pub struct Slot(pub *mut pg_sys::TupleTableSlot);

impl Slot {
    /// For rows as they are stored in `table`.
    ///
    /// # Safety
    /// `table` is open, for longer than the slot lives.
    pub unsafe fn of_table(table: pg_sys::Relation) -> Self {
        // SAFETY: as the caller says; dropped below, or by the abort that unwinds it.
        Self(unsafe { pg_sys::table_slot_create(table, std::ptr::null_mut()) })
    }

    /// For a row of `table` that is being made.
    ///
    /// # Safety
    /// `table` is open, for longer than the slot lives.
    pub unsafe fn to_fill(table: pg_sys::Relation) -> Self {
        // SAFETY: as the caller says.
        unsafe { Self::of_row((*table).rd_att) }
    }

    /// The same, of rows that this describes.
    ///
    /// # Safety
    /// The description lives for longer than the slot.
    pub unsafe fn of_row(description: pg_sys::TupleDesc) -> Self {
        // SAFETY: as the caller says.
        Self(unsafe {
            pg_sys::MakeSingleTupleTableSlot(description, &raw const pg_sys::TTSOpsVirtual)
        })
    }

    /// Value and null flag of a column, which `number` counts from 1.
    ///
    /// # Safety
    /// `slot` holds a row, and the row has the column.
    pub unsafe fn value(slot: *mut pg_sys::TupleTableSlot, number: i16) -> (pg_sys::Datum, bool) {
        // SAFETY: as the caller says; as slot_getattr() of tuptable.h does.
        unsafe {
            if (*slot).tts_nvalid < number {
                pg_sys::slot_getsomeattrs_int(slot, i32::from(number));
            }
            let at = number as usize - 1;
            (*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at))
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner lets go of what the slot pins.
        if !std::thread::panicking() {
            // SAFETY: made above, and dropped once.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}

/// A value that is to be put into a row: the column's number, the value, and whether it is null.
pub type ColumnValue = (i16, pg_sys::Datum, bool);

/// The row with other values in some columns.
///
/// # Safety
/// `row` holds a row and keeps its values for as long as `new`, which is one to fill, is used; the values are of its columns.
pub unsafe fn merge(row: *mut pg_sys::TupleTableSlot, set: &[ColumnValue], new: &Slot) {
    // SAFETY: as the caller says; both slots have as many values as the table has columns.
    unsafe {
        let (from, to) = (&*row, &mut *new.0);
        let width = (*from.tts_tupleDescriptor).natts;
        if i32::from(from.tts_nvalid) < width {
            pg_sys::slot_getsomeattrs_int(row, width);
        }
        pg_sys::ExecClearTuple(new.0);
        std::ptr::copy_nonoverlapping(from.tts_values, to.tts_values, width as usize);
        std::ptr::copy_nonoverlapping(from.tts_isnull, to.tts_isnull, width as usize);
        for (number, value, null) in set {
            let at = *number as usize - 1;
            *to.tts_values.add(at) = *value;
            *to.tts_isnull.add(at) = *null;
        }
        pg_sys::ExecStoreVirtualTuple(new.0);
    }
}

/// Calls one function of PostgreSQL that pgrx does not wrap, so that an ERROR in it unwinds as in those that it does.
///
/// # Safety
/// `call` calls nothing else, and has nothing to drop.
pub unsafe fn catch_error<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: as the caller says; PostgreSQL runs on the main thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) }
}
