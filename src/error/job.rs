//! Errors about jobs, and about locks that they or a call did not get.

use super::{About, Error, new_error};
use crate::ident::Literal;
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn job_running(migration: String, pid: Option<i32>, call: &'static str) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("a job of migration \"{migration}\" is running"),
            pid.map(|p| format!("Process {p} is at work; {call} must not run beside it.")),
            format!(
                "Wait for it: SELECT mig_wait({0}); or stop it: SELECT mig_cancel({0});",
                Literal(&migration)
            ),
        )
        .set_about(About::RunningJob)
    }

    pub fn no_job(migration: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("migration \"{migration}\" has no job to wait for"),
            None,
            format!("Start one: SELECT mig_backfill({});", Literal(&migration)),
        )
    }

    /// The transaction would wait for something that goes on only after the transaction's own end.
    pub fn waits_for_itself(what: String, call: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{what} goes on when this transaction ends"),
            "This transaction has started or changed it, and would wait for its own end. Statements that are sent as one string are one transaction.".to_owned(),
            format!("End it, then wait: COMMIT; SELECT {call};"),
        )
    }

    pub fn no_such_job(id: i64) -> Self {
        new_error(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("job {id} does not exist"),
            "It is none that makes a constraint or an index.".to_owned(),
            "SELECT * FROM mig.jobs; shows those that are.".to_owned(),
        )
    }

    pub fn job_failed(migration: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the job of migration \"{migration}\" failed"),
            detail,
            hint,
        )
        .set_about(About::FailedJob)
    }

    /// Rows violate a new constraint.
    pub fn rows_break(relation: String, made: String, rows: String, look: String) -> Self {
        new_error(
            Code::ERRCODE_CHECK_VIOLATION,
            format!("rows of {relation} break {made}"),
            format!("Found: {rows}."),
            format!("Correct them, and call again. All of them: {look};"),
        )
    }

    pub fn change_failed(made: String, detail: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the job failed: {made}"),
            detail,
            "Nothing of it is left. Correct the rows, then call the function again.".to_owned(),
        )
    }

    pub fn lock_not_had(relations: String, tries: u32, blockers: String) -> Self {
        new_error(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            format!("could not lock {relations} in {tries} tries"),
            blockers,
            "Nothing was changed. Call again when those transactions have ended; SELECT * FROM mig.blockers; shows them.".to_owned(),
        )
    }
}
