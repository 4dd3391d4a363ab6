//! SPI, three ways: rows decoded by serde, one row, or just run. Every statement takes a fresh snapshot in READ COMMITTED, and
//! PostgreSQL's errors unwind past the `Result` (see `tx` for catching them).

use crate::error::{Error, Result};
use crate::pg::document::{self, JsonText};
use crate::pg::plan_guard;
use pgrx::PgMemoryContexts;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde::de::DeserializeOwned;
use std::ffi::{CStr, CString};

/// Returns the text of one statement of ours. Errors where it is more: a name, type or operator from outside must not end the statement
/// and begin another.
pub fn one_statement(sql: &str) -> Result<CString> {
    let text = text_of(sql)?;
    match count_statements(&text) {
        1 => Ok(text),
        n => Err(Error::internal(format!(
            "a statement of ours came out as {n}"
        ))),
    }
}

fn text_of(sql: &str) -> Result<CString> {
    CString::new(sql).map_err(|_| Error::internal("NUL in SQL text".into()))
}

fn count_statements(text: &CStr) -> i32 {
    let mut memory = PgMemoryContexts::new("pg_mig statement");
    // SAFETY: the text is NUL-terminated; the list lives in `memory`. A syntax error is raised.
    unsafe {
        memory.switch_to(|_| {
            let list = pgrx::pg_sys::raw_parser(
                text.as_ptr(),
                pgrx::pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
            );
            list.as_ref().map_or(0, |l| l.length)
        })
    }
}

/// Returns all rows of a query, each as one JSON object.
pub fn rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    json_rows(
        &format!("SELECT pg_catalog.to_jsonb(q) FROM ({sql}) q"),
        args,
    )
}

/// Returns the rows of a query whose one column is a JSON document already.
pub fn json_rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    let text = one_statement(sql)?;
    let _watched = plan_guard::watch(&text);
    Spi::connect_mut(|client| {
        let table = client.update(sql, None, args).map_err(internal)?;
        let mut found = Vec::with_capacity(table.len());
        for row in table {
            let document: Option<JsonText> = row.get(1).map_err(internal)?;
            found.push(document::decode(
                document.as_ref().map_or("null", |d| &d.0),
            )?);
        }
        Ok(found)
    })
}

/// Returns the first row, if there is one.
pub fn first<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    Ok(rows(sql, args)?.into_iter().next())
}

/// Returns the one value of a query of one row and one column.
pub fn value<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let text = one_statement(sql)?;
    let _watched = plan_guard::watch(&text);
    Spi::connect_mut(|client| {
        let table = client.update(sql, Some(1), args).map_err(internal)?;
        if table.is_empty() {
            Ok(None)
        } else {
            table.first().get_one::<T>().map_err(internal)
        }
    })
}

/// As `value`, for a query that only reads; works on a standby too.
pub fn look<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let text = one_statement(sql)?;
    let _watched = plan_guard::watch(&text);
    Spi::connect(|client| {
        let table = client.select(sql, Some(1), args).map_err(internal)?;
        if table.is_empty() {
            Ok(None)
        } else {
            table.first().get_one::<T>().map_err(internal)
        }
    })
}

/// Returns the one boolean of a user's query. The query cannot write.
pub fn read_only(query: &str) -> Result<Option<bool>> {
    let text = text_of(query)?;
    if count_statements(&text) != 1 {
        return Err(not_a_question("It is not one query."));
    }
    Spi::connect(|_| {
        // SAFETY: connected to SPI; the text lives through the call, and the row is read before the connection closes.
        unsafe {
            let code = pgrx::pg_sys::SPI_execute(text.as_ptr(), true, 1);
            let table = pgrx::pg_sys::SPI_tuptable;
            if code != pgrx::pg_sys::SPI_OK_SELECT as i32 || table.is_null() {
                return Err(not_a_question("It is no query."));
            }
            let columns = &*(*table).tupdesc;
            if columns.natts != 1
                || pgrx::pg_sys::SPI_gettypeid((*table).tupdesc, 1) != pgrx::pg_sys::BOOLOID
            {
                return Err(not_a_question("It does not return one boolean column."));
            }
            if pgrx::pg_sys::SPI_processed == 0 {
                return Ok(None);
            }
            let mut null = false;
            let value = pgrx::pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &mut null);
            Ok(bool::from_datum(value, null))
        }
    })
}

fn not_a_question(detail: &str) -> Error {
    Error::bad_option("throttle_query".into(), detail.into(), None)
}

/// Runs a statement. Returns the number of rows that it touched.
pub fn run(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    let text = one_statement(sql)?;
    let _watched = plan_guard::watch(&text);
    update(sql, args)
}

fn update(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    Spi::connect_mut(|client| {
        client.update(sql, None, args).map_err(internal)?;
        // SAFETY: set by the statement that just ran.
        i64::try_from(unsafe { pgrx::pg_sys::SPI_processed })
            .map_err(|_| Error::internal("more rows than fit".into()))
    })
}

/// As `run`, for a statement as an application runs it: over whatever the current role may touch.
pub fn run_for_application(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    one_statement(sql)?;
    update(sql, args)
}

pub fn internal(e: pgrx::spi::Error) -> Error {
    Error::internal(format!("SPI: {e}"))
}
