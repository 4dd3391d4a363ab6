//! tids (heap row locations) as statement arguments: a range of blocks, and the rows of it that a batch locked.

use crate::error::{Error, Result};
use crate::pg::document::JsonText;
use crate::pg::{guc, spi};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::Deserialize;

/// Blocks `from` (included) to `to` (excluded).
pub struct BlockSlice {
    bounds: Box<[pg_sys::ItemPointerData; 2]>,
}

/// An array of tids, made by the server; valid in the memory context it was fetched in.
pub struct TidList {
    datum: Option<pg_sys::Datum>,
    pub count: i64,
}

impl BlockSlice {
    pub fn new(from: i64, to: i64) -> Result<Self> {
        let block = |n: i64| {
            u32::try_from(n).map_err(|_| Error::internal(format!("block {n} is out of range")))
        };
        let place = |n: u32| pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (n >> 16) as u16,
                bi_lo: (n & 0xffff) as u16,
            },
            ip_posid: 0,
        };
        Ok(Self {
            bounds: Box::new([place(block(from)?), place(block(to)?)]),
        })
    }

    /// Returns the first tid of the slice, and the first one after it. Their offset is 0, which no row has.
    pub fn places(&self) -> [pg_sys::ItemPointerData; 2] {
        *self.bounds
    }

    pub fn args(&self) -> [DatumWithOid<'_>; 2] {
        // SAFETY: a tid is passed by reference; `self` outlives the arguments.
        self.bounds.each_ref().map(|p| unsafe {
            DatumWithOid::new(pg_sys::Datum::from(std::ptr::from_ref(p)), pg_sys::TIDOID)
        })
    }
}

/// Returns the block of a tid.
pub fn block_of(place: &pg_sys::ItemPointerData) -> u32 {
    u32::from(place.ip_blkid.bi_hi) << 16 | u32::from(place.ip_blkid.bi_lo)
}

impl TidList {
    fn arg(&self) -> DatumWithOid<'_> {
        // SAFETY: the datum is a tid[] that array_agg() returned, or null.
        unsafe {
            match self.datum {
                Some(datum) => DatumWithOid::new(datum, pg_sys::TIDARRAYOID),
                None => DatumWithOid::null_oid(pg_sys::TIDARRAYOID),
            }
        }
    }
}

/// Runs a batch's locking query. Returns the tids that it locked.
pub fn lock(sql: &str, slice: &BlockSlice) -> Result<TidList> {
    lock_rows(sql, &slice.args())
}

fn lock_rows(sql: &str, args: &[DatumWithOid]) -> Result<TidList> {
    let _plan = guc::pin(&guc::BY_PLACE);
    Spi::connect_mut(|client| {
        let table = client.update(sql, Some(1), args).map_err(spi::internal)?;
        let row = table.first();
        let count = row.get::<i64>(2).map_err(spi::internal)?.unwrap_or(0);
        let datum = row.get::<TidArray>(1).map_err(spi::internal)?.map(|a| a.0);
        Ok(TidList { datum, count })
    })
}

/// As `lock`, for rows that are chosen by their keys.
pub fn lock_keys(sql: &str, keys: &serde_json::Value) -> Result<TidList> {
    lock_rows(sql, &[pgrx::JsonB(keys.clone()).into()])
}

/// Runs a statement over locked tids that returns some of them.
pub fn some_of(sql: &str, places: &TidList, keys: &serde_json::Value) -> Result<TidList> {
    lock_rows(sql, &[places.arg(), pgrx::JsonB(keys.clone()).into()])
}

/// Returns the one JSON document that a statement over locked tids returns.
pub fn document(sql: &str, places: &TidList) -> Result<serde_json::Value> {
    let found = spi::value::<JsonText>(sql, &[places.arg()])?;
    found.map_or(Ok(serde_json::Value::Null), |d| d.decode())
}

/// Runs a statement over locked tids of two tables.
pub fn run_both(sql: &str, places: &TidList, others: &TidList) -> Result<i64> {
    spi::run(sql, &[places.arg(), others.arg()])
}

/// Runs a statement over locked tids. Returns the number of rows that it touched.
pub fn run(sql: &str, places: &TidList) -> Result<i64> {
    let _plan = guc::pin(&guc::BY_PLACE);
    spi::run(sql, &[places.arg()])
}

/// Returns the keys of rows in `slice` that are not among `places`.
pub fn keys_outside(sql: &str, slice: &BlockSlice, places: &TidList) -> Result<Vec<Vec<String>>> {
    // The planner may hash the set of tids, so only `enable_seqscan` is off.
    let _plan = guc::pin(&guc::BY_PLACE[..1]);
    let [from, to] = slice.args();
    keys(spi::rows(sql, &[from, to, places.arg()])?)
}

pub fn keys_in_slice(sql: &str, slice: &BlockSlice) -> Result<Vec<Vec<String>>> {
    keys(spi::rows(sql, &slice.args())?)
}

pub fn keys_of(sql: &str, places: &TidList) -> Result<Vec<Vec<String>>> {
    let _plan = guc::pin(&guc::BY_PLACE);
    keys(spi::rows(sql, &[places.arg()])?)
}

#[derive(Deserialize)]
struct KeyedRow {
    key: Vec<String>,
}

fn keys(rows: Vec<KeyedRow>) -> Result<Vec<Vec<String>>> {
    Ok(rows.into_iter().map(|r| r.key).collect())
}

/// Returns the keys of the rows at these tids.
pub fn keys_at(sql: &str, places: &[pg_sys::ItemPointerData]) -> Result<Vec<Vec<String>>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut datums: Vec<pg_sys::Datum> = places
        .iter()
        .map(|p| pg_sys::Datum::from(std::ptr::from_ref(p)))
        .collect();
    // SAFETY: a tid is six bytes, passed by reference and aligned as a short (pg_type.dat); the array copies them.
    let array = unsafe {
        pg_sys::construct_array(
            datums.as_mut_ptr(),
            datums.len() as i32,
            pg_sys::TIDOID,
            size_of::<pg_sys::ItemPointerData>() as i32,
            false,
            pg_sys::TYPALIGN_SHORT as std::ffi::c_char,
        )
    };
    keys_of(
        sql,
        &TidList {
            datum: Some(pg_sys::Datum::from(array)),
            count: places.len() as i64,
        },
    )
}

/// A tid[] kept as the server's own datum, copied into the caller's memory context by pgrx.
struct TidArray(pg_sys::Datum);

impl FromDatum for TidArray {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then_some(Self(datum))
    }

    unsafe fn from_datum_in_memory_context(
        mut context: pgrx::PgMemoryContexts,
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: a varlena array; the copy lives in `context`, which outlives the SPI call.
        (!is_null).then(|| unsafe {
            context.switch_to(|_| {
                Self(pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(
                    datum.cast_mut_ptr(),
                )))
            })
        })
    }
}

impl IntoDatum for TidArray {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIDARRAYOID
    }
}
