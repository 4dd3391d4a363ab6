//! A process without a database, which sees the shared catalogs.

use pgrx::pg_sys::{self, Oid};

/// Connects this process to no database; only shared catalogs can be read afterwards. autovacuum's launcher does the same
/// (autovacuum.c).
pub fn connect_to_none() {
    // SAFETY: called once, in a new worker that is not connected.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
    }
}

/// Returns the databases that allow connections. Must be called inside a transaction.
pub fn list_connectable() -> Vec<Oid> {
    let mut found = Vec::new();
    // SAFETY: a plain scan of a shared catalog, closed below; an ERROR ends it with its transaction. Each tuple is read before the
    // next is fetched, and the fixed part of a pg_database row has no nulls.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let data = (*tuple).t_data;
            let row: pg_sys::Form_pg_database = data.byte_add(usize::from((*data).t_hoff)).cast();
            if (*row).datallowconn {
                found.push((*row).oid);
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}
