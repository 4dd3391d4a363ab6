//! The number of the command that wrote a row, as the row carries it. PostgreSQL's own functions are called where it took two numbers
//! (combocid.c) only: each call into the server costs more than what it looks up here.

use pgrx::pg_sys;

/// Of the command that put the row in.
///
/// # Safety
/// This transaction did.
pub unsafe fn cmin(row: pg_sys::HeapTupleHeader) -> pg_sys::CommandId {
    // SAFETY: as the caller says.
    unsafe { single(row).unwrap_or_else(|| pg_sys::HeapTupleHeaderGetCmin(row)) }
}

/// Of the command that changed or deleted the row.
///
/// # Safety
/// This transaction did.
pub unsafe fn cmax(row: pg_sys::HeapTupleHeader) -> pg_sys::CommandId {
    // SAFETY: as the caller says.
    unsafe { single(row).unwrap_or_else(|| pg_sys::HeapTupleHeaderGetCmax(row)) }
}

/// # Safety
/// `row` is one.
unsafe fn single(row: pg_sys::HeapTupleHeader) -> Option<pg_sys::CommandId> {
    // SAFETY: as the caller says; all three meanings of the field are numbers of the same size.
    unsafe {
        let two = u32::from((*row).t_infomask) & pg_sys::HEAP_COMBOCID != 0;
        (!two).then(|| (*row).t_choice.t_heap.t_field3.t_cid)
    }
}
