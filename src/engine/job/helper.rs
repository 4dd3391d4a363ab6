//! One slice of a backfill, by a helper. Only the runner finds out what holds the job back: a helper checks whether the
//! runner waits.

use crate::engine::job::slice;
use crate::engine::types::SliceProgress;
use crate::engine::work_path;
use crate::error::Result;
use crate::model::records::{Job, Mapping, Migration};
use crate::pg::{guc, tx};
use crate::relation::deferred_constraints;
use crate::settings;
use crate::steps::{SliceOutcome, copy};
use crate::store::{block_range, drift, job, mapping, migration};

/// Pause until the runner has shared out the next table, or continues alone.
const LOOK_EVERY_MS: i64 = 20;
/// Pause while the runner waits.
const HELD_MS: i64 = 100;

/// Copies a slice of the job's current table. `Ended` if no help is wanted.
pub fn slice(job: &Job) -> Result<SliceProgress> {
    let _safe = guc::pin(&guc::SAFE);
    let _exact = guc::pin(&guc::EXACT);
    let Some(m) = migration::by_id(job.migration)? else {
        return Ok(SliceProgress::Ended);
    };
    migration::require_owner(&m)?;
    if settings::max_workers(&m) == 1 {
        return Ok(SliceProgress::Ended);
    }
    if job::is_held(job.id)? {
        return Ok(SliceProgress::Wait { pause_ms: HELD_MS });
    }
    let mappings = mapping::list(m.id)?;
    let Some(p) = mappings.iter().find(|p| !p.copied) else {
        return Ok(SliceProgress::Ended);
    };
    let owners = mappings
        .iter()
        .flat_map(|p| [p.source_owner, p.target_owner]);
    let _path = work_path::enter(&m, owners)?;
    let worked = tx::subtransaction(|| {
        drift::require_none(&m)?;
        deferred_constraints::checked_at_once(
            &deferred_constraints::owners(&mappings),
            false,
            || copy::help(&m, p),
        )
    });
    match worked {
        Ok(SliceOutcome::Did(rows)) => Ok(SliceProgress::Continue {
            rows,
            pause_ms: i64::from(settings::delay_ms(&m)),
        }),
        Ok(_) => Ok(SliceProgress::Wait {
            pause_ms: LOOK_EVERY_MS,
        }),
        Err(e) if e.is_retryable() => Ok(SliceProgress::Wait { pause_ms: HELD_MS }),
        Err(e) if e.is_about_data() => give_up(&m, p, job),
        Err(e) if e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED => Err(e),
        Err(e) => slice::fail(&m, job, &e),
    }
}

fn give_up(m: &Migration, p: &Mapping, job: &Job) -> Result<SliceProgress> {
    match tx::subtransaction(|| copy::give_up_slice(m, p, true)) {
        Ok(_) => Ok(SliceProgress::Continue {
            rows: 0,
            pause_ms: 0,
        }),
        Err(e) if e.is_retryable() => Ok(SliceProgress::Wait { pause_ms: HELD_MS }),
        Err(e) => slice::fail(m, job, &e),
    }
}

/// Returns how many more helpers the job could use now.
pub fn count_wanted_helpers(job: &Job) -> Result<i64> {
    let Some(m) = migration::by_id(job.migration)? else {
        return Ok(0);
    };
    let others = i64::from(settings::max_workers(&m)) - 1;
    if others == 0 || !block_range::any_left(m.id)? {
        return Ok(0);
    }
    Ok((others - job::helpers(m.id)?).max(0))
}
