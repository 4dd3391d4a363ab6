//! A row of a table as one value of its row type. A document cannot hold every row: a string in it has at most 256 MB, and the bytes of a
//! column have two characters each.

use crate::error::Result;
use crate::pg::{plan_guard, spi};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// The row's key as texts, and the row.
pub struct TypedRow {
    pub key: Vec<String>,
    row: pg_sys::Datum,
    row_type: pg_sys::Oid,
}

impl TypedRow {
    /// The row, as a parameter of its row type.
    pub fn argument(&self) -> DatumWithOid<'_> {
        // SAFETY: the value is of this type, and lives as long as `self`.
        unsafe { DatumWithOid::new(Composite(self.row), self.row_type) }
    }
}

impl Drop for TypedRow {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: allocated for `first`, for this value alone.
            unsafe { pg_sys::pfree(self.row.cast_mut_ptr()) };
        }
    }
}

struct Composite(pg_sys::Datum);

impl IntoDatum for Composite {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::RECORDOID
    }
}

/// Runs a statement of ours that returns a key as text[] and a row; None if it returns no row. The row is whole: nothing of it is in the
/// table's TOAST relation, so it outlives the (sub)transaction that has read it.
pub fn first(sql: &str) -> Result<Option<TypedRow>> {
    let text = spi::one_statement(sql)?;
    let _watched = plan_guard::watch(&text);
    Spi::connect_mut(|client| {
        let table = client.update(sql, Some(1), &[]).map_err(spi::internal)?;
        if table.is_empty() {
            return Ok(None);
        }
        let key = table.first().get::<Vec<String>>(1).map_err(spi::internal)?;
        // SAFETY: SPI has just returned a row whose second column is a composite, a varlena that is not in a TOAST relation
        // (ExecEvalWholeRowVar makes it by heap_copy_tuple_as_datum); it is copied to the memory of the caller of SPI.
        let (row, row_type) = unsafe {
            let result = &*pg_sys::SPI_tuptable;
            let mut null = false;
            let value = pg_sys::SPI_getbinval(*result.vals, result.tupdesc, 2, &mut null);
            if null {
                return Ok(None);
            }
            let copy = pg_sys::SPI_datumTransfer(value, false, -1);
            (copy, pg_sys::SPI_gettypeid(result.tupdesc, 2))
        };
        Ok(key.map(|key| TypedRow { key, row, row_type }))
    })
}
