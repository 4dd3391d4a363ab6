//! Errors about the server and the installation, PostgreSQL's own errors, and broken invariants.

use super::{About, Error, new_error};
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn wrong_isolation() -> Self {
        new_error(
            Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "this needs a READ COMMITTED transaction".into(),
            "An older snapshot does not see what other sessions have committed since.".to_owned(),
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;".to_owned(),
        )
    }

    /// The server is a standby: nothing can be written.
    pub fn standby() -> Self {
        new_error(
            Code::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a migration cannot be changed on a standby".into(),
            "This server is in recovery.".to_owned(),
            "Run it on the primary; or here, after SELECT pg_promote();".to_owned(),
        )
    }

    /// The loaded library has another version than the extension's objects.
    pub fn out_of_date(objects: String, library: &'static str) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_mig is not up to date in this database".into(),
            format!(
                "Its objects are of version {objects}, its library is of version {library}; mirrors work all the same."
            ),
            "ALTER EXTENSION pg_mig UPDATE;".to_owned(),
        )
    }

    /// An ERROR of PostgreSQL, caught in a subtransaction.
    pub fn sql(code: Code, message: String, detail: Option<String>) -> Self {
        new_error(code, message, detail, None).set_about(About::Server)
    }

    /// A refusal whose SQLSTATE no other constructor has.
    pub fn refusal(code: Code, message: String, detail: String, hint: String) -> Self {
        new_error(code, message, detail, hint)
    }

    /// A broken internal invariant.
    pub fn internal(what: String) -> Self {
        new_error(
            Code::ERRCODE_INTERNAL_ERROR,
            format!("pg_mig: {what}"),
            None,
            None,
        )
    }
}
