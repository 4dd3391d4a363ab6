//! The worker that makes one constraint or index, slice by slice, and then exits.

use super::{build, own_settings, rest_for, transaction};
use crate::engine::online_ddl::work;
use crate::engine::types::SliceProgress;
use crate::error::{Error, Result};
use crate::pg::spi;
use crate::settings;
use crate::store::ddl_job;
use pgrx::prelude::*;

/// Runs the job. Exits silently if there is no such job, because the transaction that created it was rolled back.
pub fn run(id: i64) {
    // SAFETY: reads the pid of this process.
    let pid = unsafe { pg_sys::MyProcPid };
    let take = || transaction(own_settings).and_then(|()| transaction(|| work::take(id, pid)));
    let begun = match take() {
        // The job was cancelled at this very time: what exists of it must be removed.
        Err(e) if e.code() == PgSqlErrorCode::ERRCODE_QUERY_CANCELED => take(),
        begun => begun,
    };
    match begun {
        Ok(true) => {}
        Ok(false) => return,
        Err(e) => {
            log!("pg_mig worker: job {id} does not start: {e}");
            return;
        }
    }
    while let Some(pause) = turn(id) {
        rest_for(pause);
    }
}

/// Runs one slice. Returns the pause before the next one, or None at the end.
fn turn(id: i64) -> Option<i64> {
    match transaction(|| work::slice(id)) {
        Ok(SliceProgress::Continue { pause_ms, .. } | SliceProgress::Wait { pause_ms }) => {
            Some(pause_ms)
        }
        Ok(SliceProgress::TopLevel(command)) => match named_as_by_the_caller(id)
            .and_then(|()| build(|| Ok(settings::own_max_workers()), &command))
        {
            Ok(()) => Some(0),
            Err(e) => wrong(id, &e),
        },
        Ok(SliceProgress::Ended) => None,
        Err(e) => wrong(id, &e),
    }
}

/// Sets search_path to that of the job's caller, for functions that the index calls.
fn named_as_by_the_caller(id: i64) -> Result<()> {
    transaction(|| {
        let path = ddl_job::by_id(id)?.map(|j| j.search_path);
        spi::run(
            "SELECT pg_catalog.set_config('search_path', $1, false)",
            &[path.unwrap_or_default().into()],
        )?;
        Ok(())
    })
}

fn wrong(id: i64, e: &Error) -> Option<i64> {
    let noted = transaction(|| match ddl_job::by_id(id)? {
        Some(job) => work::wrong(&job, e),
        None => Ok(SliceProgress::Ended),
    });
    match noted {
        Ok(SliceProgress::Continue { pause_ms, .. } | SliceProgress::Wait { pause_ms }) => {
            Some(pause_ms)
        }
        Ok(SliceProgress::TopLevel(_) | SliceProgress::Ended) => None,
        Err(again) => {
            log!("pg_mig worker: job {id} failed ({e}), and could not say so: {again}");
            None
        }
    }
}
