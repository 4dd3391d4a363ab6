//! One registered snapshot for several statements. PostgreSQL may use parallel workers for each statement. It is the latest
//! snapshot at its creation, so it sees what others have committed even in a REPEATABLE READ transaction.

use crate::error::{Error, Result};
use crate::pg::{document, encoding, plan_guard, prepared, spi};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use serde::de::DeserializeOwned;

pub struct Snapshot {
    snapshot: pg_sys::Snapshot,
}

impl Snapshot {
    pub fn take() -> Self {
        // SAFETY: inside a transaction; registered with the current resource owner, which releases it if an ERROR unwinds.
        let snapshot = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot())
        };
        Self { snapshot }
    }

    /// Returns all rows of a query under this snapshot, each as one JSON object.
    pub fn rows<T: DeserializeOwned>(&self, sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
        let connection = prepared::connect()?;
        self.run(
            &format!("SELECT pg_catalog.to_jsonb(q)::pg_catalog.text FROM ({sql}) q"),
            args,
        )?;
        let found = texts()?;
        drop(connection);
        decode_rows(&found)
    }

    /// Returns the first row, if there is one.
    pub fn first<T: DeserializeOwned>(
        &self,
        sql: &str,
        args: &[DatumWithOid],
    ) -> Result<Option<T>> {
        Ok(self.rows(sql, args)?.into_iter().next())
    }

    /// Reads a query whose one column is the text of a JSON document, `size` rows at a time. Each lot is read while the guard that
    /// `reader` returns is held, and passed to `take` without that guard.
    pub fn in_lots<T: DeserializeOwned, G>(
        &self,
        sql: &str,
        args: &[DatumWithOid],
        size: i64,
        reader: impl Fn() -> Result<G>,
        mut take: impl FnMut(Vec<T>) -> Result<()>,
    ) -> Result<()> {
        let _connection = prepared::connect()?;
        let portal = {
            let _reader = reader()?;
            self.open(sql, args)?
        };
        loop {
            let found = {
                let _reader = reader()?;
                // SAFETY: the portal was opened above, in this SPI connection; its rows are copied out before they are freed.
                unsafe {
                    pg_sys::SPI_cursor_fetch(portal, true, size as _);
                    let found = texts()?;
                    pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable);
                    found
                }
            };
            if found.is_empty() {
                break;
            }
            take(decode_rows(&found)?)?;
        }
        // SAFETY: the portal was opened above; an ERROR in between closes it with its (sub)transaction.
        unsafe { pg_sys::SPI_cursor_close(portal) };
        Ok(())
    }

    fn open(&self, sql: &str, args: &[DatumWithOid]) -> Result<pg_sys::Portal> {
        let text = spi::one_statement(sql)?;
        let _watched = plan_guard::watch(&text);
        let (mut types, mut values, nulls) = parameters(args);
        // SAFETY: as in `run`; a read-only cursor takes the snapshot that is active when it is opened.
        unsafe {
            let count = i32::try_from(types.len()).unwrap_or(0);
            let plan = pg_sys::SPI_prepare(text.as_ptr(), count, types.as_mut_ptr());
            if plan.is_null() {
                return Err(Error::internal("SPI_prepare failed".into()));
            }
            pg_sys::PushActiveSnapshot(self.snapshot);
            let portal = pg_sys::SPI_cursor_open(
                std::ptr::null(),
                plan,
                values.as_mut_ptr(),
                nulls.as_ptr(),
                true,
            );
            pg_sys::PopActiveSnapshot();
            Ok(portal)
        }
    }

    fn run(&self, sql: &str, args: &[DatumWithOid]) -> Result<()> {
        let text = spi::one_statement(sql)?;
        let _watched = plan_guard::watch(&text);
        let (mut types, mut values, nulls) = parameters(args);
        // SAFETY: the caller has connected to SPI; the three arrays have one entry for each parameter and live through the calls;
        // the plan is freed with the connection. Read-only: the statement takes no snapshot of its own.
        let code = unsafe {
            let plan = pg_sys::SPI_prepare_cursor(
                text.as_ptr(),
                i32::try_from(types.len()).unwrap_or(0),
                types.as_mut_ptr(),
                pg_sys::CURSOR_OPT_PARALLEL_OK as i32,
            );
            if plan.is_null() {
                return Err(Error::internal("SPI_prepare_cursor failed".into()));
            }
            pg_sys::SPI_execute_snapshot(
                plan,
                values.as_mut_ptr(),
                nulls.as_ptr(),
                self.snapshot,
                std::ptr::null_mut(),
                true,
                true,
                0,
            )
        };
        if code < 0 {
            return Err(Error::internal(format!(
                "SPI_execute_snapshot returned {code}"
            )));
        }
        Ok(())
    }
}

fn decode_rows<T: DeserializeOwned>(texts: &[String]) -> Result<Vec<T>> {
    texts.iter().map(|text| document::decode(text)).collect()
}

/// Returns types, values and null flags in the form that SPI takes.
fn parameters(
    args: &[DatumWithOid],
) -> (Vec<pg_sys::Oid>, Vec<pg_sys::Datum>, Vec<std::ffi::c_char>) {
    let types = args.iter().map(DatumWithOid::oid).collect();
    let given = args.iter().map(DatumWithOid::datum);
    let (values, nulls) = given
        .map(|d| match d {
            Some(d) => (d.sans_lifetime(), b' ' as std::ffi::c_char),
            None => (pg_sys::Datum::from(0), b'n' as std::ffi::c_char),
        })
        .unzip();
    (types, values, nulls)
}

/// Returns the one text column of the rows that the last statement returned.
fn texts() -> Result<Vec<String>> {
    // SAFETY: the statement was a SELECT of one text column; its rows live until the connection closes, and are copied out.
    unsafe {
        let table = &*pg_sys::SPI_tuptable;
        let count = usize::try_from(pg_sys::SPI_processed).unwrap_or(0);
        (0..count)
            .map(|n| {
                let mut null = false;
                let datum = pg_sys::SPI_getbinval(*table.vals.add(n), table.tupdesc, 1, &mut null);
                let text: Option<&[u8]> = pgrx::FromDatum::from_datum(datum, null);
                text.ok_or_else(|| Error::internal("a row without a document".into()))
                    .and_then(encoding::read)
            })
            .collect()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner releases the snapshot.
        if !std::thread::panicking() {
            // SAFETY: registered by `take` with the same resource owner: no caller keeps a snapshot across the start of a
            // subtransaction.
            unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
        }
    }
}
