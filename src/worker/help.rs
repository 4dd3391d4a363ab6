//! Helpers: more workers for one job. The worker that runs the job starts helpers while there are shares to copy; they exit when there are
//! none.

use super::{LOOK_EVERY_MS, find_own_job, own_settings, rest, transaction};
use crate::engine::job::helper;
use crate::engine::types::SliceProgress;
use crate::pg::job_lock;
use crate::pg::worker_launch::{WorkerArguments, WorkerRole};
use crate::store::{log, migration};
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// A helper that finds nothing to do for this long exits and frees its worker slot.
const PATIENCE_MS: i64 = 2000;

/// The runner's record of its helpers.
pub struct Helpers {
    worker: WorkerArguments,
    looked: Option<Instant>,
    /// A missing worker slot is reported once.
    reported: bool,
}

impl Helpers {
    /// For the process that runs the job.
    pub fn for_runner(runner: WorkerArguments) -> Self {
        Self {
            worker: WorkerArguments {
                worker_role: WorkerRole::Helps,
                ..runner
            },
            looked: None,
            reported: false,
        }
    }

    /// Starts as many helpers as are wanted, from time to time. Without a free slot the job goes on with the helpers it has.
    pub fn call(&mut self) {
        let pause = Duration::from_millis(LOOK_EVERY_MS.unsigned_abs());
        if self.looked.is_some_and(|l| l.elapsed() < pause) {
            return;
        }
        self.looked = Some(Instant::now());
        let asked = transaction(|| {
            let Some(job) = find_own_job(self.worker.job)? else {
                return Ok(None);
            };
            let m = migration::by_id(job.migration)?;
            Ok(m.map(|m| (helper::count_wanted_helpers(&job), m)))
        });
        let Ok(Some((Ok(wanted), m))) = asked else {
            return;
        };
        let all = (0..wanted).all(|_| self.worker.start(0, &m.name));
        if !all && !std::mem::replace(&mut self.reported, true) {
            let what = format!(
                "no worker slot is free to help with job {}: it goes on with fewer than max_workers",
                self.worker.job
            );
            let _ = transaction(|| log::write(&m.name, m.phase.as_str(), &what));
        }
    }
}

/// Helps with job `id` until no help is wanted.
pub fn run(id: i64) {
    let begun = transaction(own_settings).and_then(|()| {
        transaction(|| match find_own_job(id)? {
            Some(job) => job_lock::try_to_help(job.migration),
            None => Ok(false),
        })
    });
    if !matches!(begun, Ok(true)) {
        return;
    }
    let mut idle = 0;
    while idle < PATIENCE_MS {
        let next = transaction(|| match find_own_job(id)? {
            // A user's function may have released the lock meanwhile, see `job_lock`.
            Some(job) if job_lock::try_to_help(job.migration)? => helper::slice(&job),
            _ => Ok(SliceProgress::Ended),
        });
        let pause = match next {
            Ok(SliceProgress::Continue { pause_ms, .. }) => {
                idle = 0;
                pause_ms
            }
            Ok(SliceProgress::Wait { pause_ms }) => {
                idle += pause_ms;
                pause_ms
            }
            Ok(SliceProgress::TopLevel(_) | SliceProgress::Ended) => return,
            Err(e) => {
                log!("pg_mig worker: no more help with job {id}: {e}");
                return;
            }
        };
        rest(id, pause);
    }
}
