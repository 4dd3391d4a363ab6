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
        Self(unsafe {
            pg_sys::MakeSingleTupleTableSlot((*table).rd_att, &raw const pg_sys::TTSOpsVirtual)
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

/// Calls one function of PostgreSQL that pgrx does not wrap, so that an ERROR in it unwinds as in those that it does.
///
/// # Safety
/// `call` calls nothing else, and has nothing to drop.
pub unsafe fn guarded<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: as the caller says; PostgreSQL runs on the main thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) }
}
