//! A scan over a range of blocks, under the active snapshot.

use crate::pg::slot::{Slot, catch_error};
use crate::pg::tid::BlockSlice;
use pgrx::pg_sys;
use std::ptr::null_mut;

pub struct BlockScan {
    scan: pg_sys::TableScanDesc,
    routine: *const pg_sys::TableAmRoutine,
}

impl BlockScan {
    /// Begins the scan. Returns None if the table's access method has no such scan.
    ///
    /// # Safety
    /// The relation is a heap table, open for longer than the value lives; a snapshot is active for as long.
    #[allow(ffi_unwind_calls, reason = "the calls are guarded")]
    pub unsafe fn begin(relation: pg_sys::Relation, slice: &BlockSlice) -> Option<Self> {
        // SAFETY: guaranteed by the caller; ended by `end`, or by the abort that unwinds the scan. Heap tables have these functions
        // (heapam_handler.c).
        unsafe {
            let routine = (*relation).rd_tableam;
            let (begin, range) = ((*routine).scan_begin?, (*routine).scan_set_tidrange?);
            (*routine).scan_getnextslot_tidrange?;
            (*routine).scan_end?;
            let flags =
                pg_sys::ScanOptions::SO_TYPE_TIDRANGESCAN | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
            let snapshot = pg_sys::GetActiveSnapshot();
            let scan = catch_error(|| begin(relation, snapshot, 0, null_mut(), null_mut(), flags));
            let [mut from, mut to] = slice.places();
            catch_error(|| range(scan, &mut from, &mut to));
            Some(Self { scan, routine })
        }
    }

    /// Fetches the next row into `row`; false after the last row.
    ///
    /// # Safety
    /// `row` is a slot of the relation.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn next(&self, row: &Slot) -> bool {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: guaranteed by the caller; `begin` has checked that the function exists.
        unsafe {
            (*self.routine)
                .scan_getnextslot_tidrange
                .is_some_and(|next| catch_error(|| next(self.scan, forward, row.0)))
        }
    }

    /// # Safety
    /// The relation is still open.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    pub unsafe fn end(self) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if let Some(end) = (*self.routine).scan_end {
                catch_error(|| end(self.scan));
            }
        }
    }
}
