//! SPI, three ways: rows decoded by serde, one row, or just run. Every statement takes a fresh snapshot in
//! READ COMMITTED, and errors of PostgreSQL unwind past the `Result` (see `tx` for catching them).

use crate::error::{Error, Result};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde::de::DeserializeOwned;

/// All rows of a query, each as one JSON object.
pub fn rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    json_rows(
        &format!("SELECT pg_catalog.to_jsonb(q) FROM ({sql}) q"),
        args,
    )
}

/// Rows of a query whose one column is a JSON document already.
pub fn json_rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    Spi::connect_mut(|client| {
        let table = client.update(sql, None, args).map_err(internal)?;
        let mut found = Vec::with_capacity(table.len());
        for row in table {
            let document: Option<pgrx::JsonB> = row.get(1).map_err(internal)?;
            let document = document.map_or(serde_json::Value::Null, |d| d.0);
            found.push(
                serde_json::from_value(document)
                    .map_err(|e| Error::Internal(format!("row does not decode: {e}")))?,
            );
        }
        Ok(found)
    })
}

/// The first row, if there is one.
pub fn first<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    Ok(rows(sql, args)?.into_iter().next())
}

/// The one value of a query of one row and one column.
pub fn value<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    Spi::connect_mut(|client| {
        let table = client.update(sql, Some(1), args).map_err(internal)?;
        if table.is_empty() {
            Ok(None)
        } else {
            table.first().get_one::<T>().map_err(internal)
        }
    })
}

/// As `value`, of a query that only reads: on a standby, too.
pub fn look<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    Spi::connect(|client| {
        let table = client.select(sql, Some(1), args).map_err(internal)?;
        if table.is_empty() {
            Ok(None)
        } else {
            table.first().get_one::<T>().map_err(internal)
        }
    })
}

/// Runs a statement; the number of rows it touched.
pub fn run(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    Spi::connect_mut(|client| {
        client.update(sql, None, args).map_err(internal)?;
        // SAFETY: set by the statement that just ran.
        i64::try_from(unsafe { pgrx::pg_sys::SPI_processed })
            .map_err(|_| Error::Internal("more rows than fit".into()))
    })
}

pub fn internal(e: pgrx::spi::Error) -> Error {
    Error::Internal(format!("SPI: {e}"))
}
