//! The canary: before a mirror goes live, one row of each source is written as each role that may write it, with and
//! without the mirror, and rolled back. A write that fails only with the mirror would start to fail for the application.

use crate::error::{Error, Result};
use crate::model::records::Mapping;
use crate::model::shape::Shape;
use crate::pg::notice::notice;
use crate::pg::{catalog, guc, prepared, role, spi, tx};
use crate::sqlgen::canary;
use crate::store::sides;
use pgrx::pg_sys::Oid;
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

/// How long a trial waits for a locked row, in milliseconds. After that the row is not tried.
const PATIENCE_MS: i32 = 50;

/// How long all trials without the mirror may take, because the tables are locked meanwhile. Those with it take as long
/// again.
const TIME: Duration = Duration::from_millis(250);

/// One trial write as one role, and the error that it failed with.
pub struct WriteTrial {
    relation: String,
    role: String,
    what: &'static str,
    failed: Option<Error>,
}

#[derive(serde::Deserialize)]
struct WritingUser {
    role: u32,
    name: String,
    may_insert: bool,
    may_update: bool,
    may_delete: bool,
}

#[derive(serde::Deserialize)]
struct SampleRow {
    key: Vec<String>,
    row: String,
}

/// Runs the possible trial writes: as many as in `before` if given, otherwise as many as the time allows. All of them are
/// rolled back.
pub fn tries(mappings: &[Mapping], before: Option<&Vec<WriteTrial>>) -> Result<Vec<WriteTrial>> {
    let began = Instant::now();
    // A mirror that writes below SQL now may need its SQL statements later.
    let _all = prepared::at_once();
    let enough = |n: usize| match before {
        Some(before) => n >= before.len(),
        None => began.elapsed() > TIME,
    };
    // The tables' own triggers may depend on the search_path that sessions start with; pg_mig's statements qualify every
    // name.
    let path: Option<String> = spi::value(
        "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'",
        &[],
    )?;
    let path = CString::new(path.unwrap_or_default()).unwrap_or_default();
    let mut all = Vec::new();
    for p in mappings {
        let source = catalog::shape_of(p.source, &p.source_text())?;
        let layout = sides::layout(p)?;
        let choose = canary::choose(p.id, &source.name, &layout.key);
        let row: Option<SampleRow> = {
            let _owner = role::confine_reading(sides::owner(p)?)?;
            let _exact = guc::pin(&guc::EXACT);
            spi::first(&choose, &[])?
        };
        let Some(row) = row else {
            continue;
        };
        let writers: Vec<WritingUser> = spi::rows(
            include_str!("../../sql/query/writers.sql"),
            &[Oid::from(p.source).into()],
        )?;
        // Deleting a row that others may refer to would run the actions of their foreign keys, however expensive.
        let alone = spi::run(
            include_str!("../../sql/query/inbound_keys.sql"),
            &[Oid::from(p.source).into()],
        )? == 0;
        for (n, w) in writers.iter().enumerate() {
            if enough(all.len()) {
                if before.is_none() {
                    notice(&format!(
                        "writes of {} roles to {} were not tried: writers are waiting",
                        writers.len() - n,
                        source.name.plain()
                    ));
                }
                break;
            }
            all.extend(
                TableTrial {
                    p,
                    source: &source,
                    row: &row,
                    alone,
                    path: &path,
                }
                .list_writes(w)?,
            );
        }
    }
    Ok(all)
}

/// Trial writes of one table.
struct TableTrial<'a> {
    p: &'a Mapping,
    source: &'a Shape,
    row: &'a SampleRow,
    /// No foreign key refers to the table.
    alone: bool,
    path: &'a CStr,
}

impl TableTrial<'_> {
    fn list_writes(&self, w: &WritingUser) -> Result<Vec<WriteTrial>> {
        let TableTrial {
            p,
            source,
            row,
            alone,
            path,
        } = *self;
        let key = &sides::layout(p)?.key;
        let owner = sides::owner(p)?;
        let by_key = |sql: &str, as_role: Oid| {
            let _role = role::confine(as_role)?;
            spi::run_for_application(sql, &[row.key.clone().into()])
        };
        let attempt = |what: &'static str, f: &dyn Fn(Oid) -> Result<i64>| WriteTrial {
            relation: source.name.plain(),
            role: w.name.clone(),
            what,
            failed: taken_back(path, || f(Oid::from(w.role))).err(),
        };
        let mut made = Vec::new();
        if let Some(sql) = canary::update(source, key).filter(|_| w.may_update) {
            made.push(attempt("UPDATE", &|as_role| by_key(&sql, as_role)));
        }
        let delete = canary::delete(source, key);
        if alone && w.may_delete {
            made.push(attempt("DELETE", &|as_role| by_key(&delete, as_role)));
        }
        if alone && w.may_insert {
            made.push(attempt("INSERT", &|as_role| {
                by_key(&delete, owner)?;
                let _role = role::confine(as_role)?;
                spi::run_for_application(&canary::insert(source), &[row.row.as_str().into()])
            }));
        }
        Ok(made)
    }
}

/// Runs `f` as an application would, and rolls it back: policies hide rows instead of raising errors. Deferred constraints
/// are checked immediately, as that role.
fn taken_back(path: &CStr, f: impl FnOnce() -> Result<i64>) -> Result<()> {
    tx::probe(|| {
        let _path = guc::pin(&[(c"search_path", path)]);
        let _policies = guc::pin(&[(c"row_security", c"on")]);
        let _exact = guc::pin(&guc::EXACT);
        let _timeout = guc::lock_timeout(PATIENCE_MS);
        spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
        f()?;
        Ok(())
    })
}

/// Errors: 55000 if a write succeeded before and fails now.
pub fn compare(before: &[WriteTrial], after: &[WriteTrial]) -> Result<()> {
    for (was, is) in before.iter().zip(after) {
        let Some(e) = is.failed.as_ref().filter(|e| !e.is_retryable()) else {
            continue;
        };
        if was.failed.is_none() {
            return Err(Error::would_fail(
                is.relation.clone(),
                is.role.clone(),
                is.what,
                format!("{} {e}", e.sqlstate()),
            ));
        }
    }
    Ok(())
}
