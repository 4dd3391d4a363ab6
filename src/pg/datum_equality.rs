//! How values of a type are stored, and whether two of them are binary equal.

use crate::pg::slot::Slot;
use pgrx::{pg_sys, varlena};

#[derive(Clone, Copy)]
pub struct DatumImage {
    length: i16,
    by_value: bool,
}

impl DatumImage {
    pub fn for_type(type_oid: pg_sys::Oid) -> Self {
        let (mut length, mut by_value) = (0, false);
        // SAFETY: a catalog look-up that fills two local variables.
        unsafe { pg_sys::get_typlenbyval(type_oid, &mut length, &mut by_value) };
        Self { length, by_value }
    }

    /// Compares as datumIsEqual() does, apart from varlena headers. Values that are equal but stored differently are not the same;
    /// nor are values that are compressed or stored out of line.
    ///
    /// # Safety
    /// Both values are of this type, and not null.
    pub unsafe fn is_same(self, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        if self.by_value {
            return a.value() == b.value();
        }
        // SAFETY: not by value, so a pointer to `length` bytes, or to a varlena that carries its size.
        let bytes = |d: pg_sys::Datum| unsafe {
            if self.length != -1 {
                let size = usize::from(self.length.unsigned_abs());
                return Some(std::slice::from_raw_parts(d.cast_mut_ptr::<u8>(), size));
            }
            // The stored form of a value may have a shorter header.
            let value = d.cast_mut_ptr::<pg_sys::varlena>().cast_const();
            if varlena::varatt_is_1b_e(value) || varlena::varatt_is_4b_c(value) {
                return None;
            }
            Some(std::slice::from_raw_parts(
                varlena::vardata_any(value).cast::<u8>(),
                varlena::varsize_any_exhdr(value),
            ))
        };
        let (a, b) = (bytes(a), bytes(b));
        // A key column cannot be a C string (length -2).
        self.length != -2 && a.is_some() && a == b
    }
}

impl DatumImage {
    /// As `is_same`, for values that may be compressed or stored out of line.
    ///
    /// # Safety
    /// Both values are of this type, and not null.
    pub unsafe fn is_same_stored(self, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        // SAFETY: upheld by the caller; a varlena carries its size, and copies are in the current memory context.
        unsafe {
            if self.length != -1 || a.value() == b.value() {
                return a.value() == b.value() || self.is_same(a, b);
            }
            let [x, y] = [a, b].map(|d| d.cast_mut_ptr::<pg_sys::varlena>());
            if varlena::varatt_is_1b_e(x) && varlena::varatt_is_1b_e(y) {
                let bytes = |v: *mut pg_sys::varlena| {
                    std::slice::from_raw_parts(v.cast::<u8>(), varlena::varsize_any(v))
                };
                if bytes(x) == bytes(y) {
                    return true;
                }
            }
            let plain = |v| pg_sys::Datum::from(pg_sys::pg_detoast_datum_packed(v));
            self.is_same(plain(x), plain(y))
        }
    }
}

/// A key's columns in the rows of one table: the number of each, and how its values are stored.
#[derive(Clone)]
pub struct KeyColumns(Vec<(i16, DatumImage)>);

impl KeyColumns {
    /// Makes them from column numbers and types.
    pub fn new(columns: impl IntoIterator<Item = (i16, pg_sys::Oid)>) -> Self {
        Self(
            columns
                .into_iter()
                .map(|(n, t)| (n, DatumImage::for_type(t)))
                .collect(),
        )
    }

    /// Returns the key of a row of `relation`.
    ///
    /// # Safety
    /// `tuple` is a row of `relation`.
    pub unsafe fn of_tuple(
        &self,
        relation: pg_sys::Relation,
        tuple: pg_sys::HeapTuple,
    ) -> Vec<pg_sys::Datum> {
        let mut null = false;
        // SAFETY: key columns exist and are not null.
        let value = |k: &(i16, DatumImage)| unsafe {
            pg_sys::heap_getattr(tuple, i32::from(k.0), (*relation).rd_att, &mut null)
        };
        self.0.iter().map(value).collect()
    }

    /// Returns the key of the row in a slot.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    pub unsafe fn of_slot(&self, slot: *mut pg_sys::TupleTableSlot) -> Vec<pg_sys::Datum> {
        // SAFETY: upheld by the caller; key columns exist and are not null.
        let value = |k: &(i16, DatumImage)| unsafe { Slot::value(slot, k.0).0 };
        self.0.iter().map(value).collect()
    }

    /// # Safety
    /// Both keys are of rows that are still in memory.
    pub unsafe fn is_same(&self, a: &[pg_sys::Datum], b: &[pg_sys::Datum]) -> bool {
        // SAFETY: upheld by the caller; length and by-value flag are those of the key's types.
        self.0
            .iter()
            .zip(a.iter().zip(b))
            .all(|(k, (a, b))| unsafe { k.1.is_same(*a, *b) })
    }
}
