//! A tuple slot for one row, and calls through the table access method, which PostgreSQL has as inline functions only (tableam.h).

use pgrx::pg_sys;

pub struct Slot(pub *mut pg_sys::TupleTableSlot);

impl Slot {
    /// Makes a slot for rows as they are stored in `table`.
    ///
    /// # Safety
    /// `table` is open, for longer than the slot lives.
    pub unsafe fn of_table(table: pg_sys::Relation) -> Self {
        // SAFETY: upheld by the caller; dropped below, or by the abort that an ERROR leads to.
        Self(unsafe { pg_sys::table_slot_create(table, std::ptr::null_mut()) })
    }

    /// Makes a slot for a row of `table` that is being built.
    ///
    /// # Safety
    /// `table` is open, for longer than the slot lives.
    pub unsafe fn to_fill(table: pg_sys::Relation) -> Self {
        // SAFETY: upheld by the caller.
        unsafe { Self::of_row((*table).rd_att) }
    }

    /// As `to_fill`, for rows that `description` describes.
    ///
    /// # Safety
    /// `description` lives longer than the slot.
    pub unsafe fn of_row(description: pg_sys::TupleDesc) -> Self {
        // SAFETY: upheld by the caller.
        Self(unsafe {
            pg_sys::MakeSingleTupleTableSlot(description, &raw const pg_sys::TTSOpsVirtual)
        })
    }

    /// Returns the value and the null flag of a column. `number` counts from 1.
    ///
    /// # Safety
    /// `slot` holds a row, and the row has the column.
    pub unsafe fn value(slot: *mut pg_sys::TupleTableSlot, number: i16) -> (pg_sys::Datum, bool) {
        // SAFETY: upheld by the caller; as slot_getattr() of tuptable.h does.
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
        // While an ERROR unwinds, the resource owner releases what the slot pins.
        if !std::thread::panicking() {
            // SAFETY: the slot was made above, and is dropped once.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}

/// Locks the row in `slot` to the end of the transaction, and waits for others that hold it: the version that it has by then. False if it is
/// gone, or is not the row of the slot any more; or if the running command wrote it.
///
/// # Safety
/// `slot` holds a row of `table` as stored.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
pub unsafe fn lock_row(
    table: pg_sys::Relation,
    slot: &Slot,
    mode: pg_sys::LockTupleMode::Type,
) -> bool {
    // SAFETY: upheld by the caller.
    unsafe {
        let Some(lock) = (*(*table).rd_tableam).tuple_lock else {
            return false;
        };
        // The lock follows the row to its last version, and writes where that is.
        let mut place = (*slot.0).tts_tid;
        let command = pg_sys::GetCurrentCommandId(false);
        let mut failure = pg_sys::TM_FailureData::default();
        // As ExecLockRows() does: a version that another transaction is writing is locked, too.
        let flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS
            | pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
        let result = catch_error(|| {
            lock(
                table,
                &mut place,
                &raw mut pg_sys::SnapshotAnyData,
                slot.0,
                command,
                mode,
                pg_sys::LockWaitPolicy::LockWaitBlock,
                flags as u8,
                &mut failure,
            )
        });
        result == pg_sys::TM_Result::TM_Ok && !failure.traversed
    }
}

/// A value to set in a row: the column's number, the value, and whether it is null.
pub type ColumnValue = (i16, pg_sys::Datum, bool);

/// Stores in `new` a copy of the row with other values in some columns.
///
/// # Safety
/// `row` holds a row, and keeps its values for as long as `new` is used. `new` is a slot to fill. The values are of the row's
/// columns.
pub unsafe fn merge(row: *mut pg_sys::TupleTableSlot, set: &[ColumnValue], new: &Slot) {
    // SAFETY: upheld by the caller; both slots have as many values as the table has columns.
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

/// Calls one function of PostgreSQL that pgrx does not wrap, so that an ERROR in it unwinds as in the functions that pgrx wraps.
///
/// # Safety
/// `call` calls nothing else, and has nothing to drop.
pub unsafe fn catch_error<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: upheld by the caller; PostgreSQL runs on the main thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) }
}
