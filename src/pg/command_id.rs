//! The command id (cmin, cmax) in a row's header. PostgreSQL's own functions are called only for a combo command id (combocid.c): a
//! call into the server costs more than the look-up here.

use pgrx::pg_sys;

/// Returns the id of the command that inserted the row.
///
/// # Safety
/// This transaction inserted the row.
pub unsafe fn cmin(row: pg_sys::HeapTupleHeader) -> pg_sys::CommandId {
    // SAFETY: upheld by the caller.
    unsafe { single(row).unwrap_or_else(|| pg_sys::HeapTupleHeaderGetCmin(row)) }
}

/// Returns the id of the command that updated or deleted the row.
///
/// # Safety
/// This transaction updated or deleted the row.
pub unsafe fn cmax(row: pg_sys::HeapTupleHeader) -> pg_sys::CommandId {
    // SAFETY: upheld by the caller.
    unsafe { single(row).unwrap_or_else(|| pg_sys::HeapTupleHeaderGetCmax(row)) }
}

/// # Safety
/// `row` is a heap tuple header.
unsafe fn single(row: pg_sys::HeapTupleHeader) -> Option<pg_sys::CommandId> {
    // SAFETY: upheld by the caller; all three meanings of the field are numbers of the same size.
    unsafe {
        let two = u32::from((*row).t_infomask) & pg_sys::HEAP_COMBOCID != 0;
        (!two).then(|| (*row).t_choice.t_heap.t_field3.t_cid)
    }
}
