//! The extension pg_cron: one pg_cron job for each pg_mig job that it drives, created and removed in the transaction that asks for
//! it. Only what pg_cron's README documents is used: cron.schedule, cron.unschedule and the table cron.job.

use crate::error::Result;
use crate::pg::{guc, role, spi, tx};
use pgrx::pg_sys::Oid;

/// The name of the pg_cron job, shown in cron.job and cron.job_run_details.
fn name(job: i64) -> String {
    format!("pg_mig {job}")
}

/// Returns why the current role cannot have a pg_cron job; None if it can, as far as is visible without trying.
pub fn why_unavailable() -> Result<Option<String>> {
    spi::value(
        "SELECT CASE \
           WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_extension e \
               JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e' \
               JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND c.relname = 'job' \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'cron' WHERE e.extname = 'pg_cron') \
             THEN 'pg_cron is not installed in this database' \
           WHEN NOT pg_catalog.has_schema_privilege('cron', 'USAGE') \
             THEN pg_catalog.format('role %s has no USAGE on schema cron', current_user) END",
        &[],
    )
}

/// Runs `command` once a minute as the current role, in this database. A job that is already scheduled is no error.
pub fn schedule(job: i64, command: &str) -> Result<()> {
    spi::run(
        "SELECT cron.schedule($1::text, '* * * * *', $2::text)",
        &[name(job).into(), command.into()],
    )?;
    Ok(())
}

/// Removes the pg_cron job of `role`. A job that cannot be removed ends by itself at its next run.
pub fn unschedule(job: i64, role: Oid) {
    let sql = "SELECT cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname = $1 AND j.username = current_user";
    let _ = tx::subtransaction(|| {
        let _role = role::act_as(role);
        let _own = guc::pin(&guc::OWN_ROWS);
        // Without pg_cron, schema cron is anybody's.
        if why_unavailable()?.is_some() {
            return Ok(0);
        }
        spi::run(sql, &[name(job).into()])
    });
}
