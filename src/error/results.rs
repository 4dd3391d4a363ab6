//! Error texts for results: what a check, a job or the server reported.

use super::{Error, Report, report};
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub(super) fn result_report(&self) -> Report {
        match self {
            Error::Preflight {
                migration,
                detail,
                hint,
            } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("preflight of migration \"{migration}\" found errors"),
                detail.clone(),
                hint.clone(),
            ),
            Error::CheckFailed {
                migration,
                detail,
                hint,
            } => report(
                Code::ERRCODE_DATA_EXCEPTION,
                format!("check of migration \"{migration}\" failed"),
                detail.clone(),
                hint.clone(),
            ),
            Error::JobFailed {
                migration,
                detail,
                hint,
            } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the job of migration \"{migration}\" failed"),
                detail.clone(),
                hint.clone(),
            ),
            Error::Sql {
                code,
                message,
                detail,
            } => report(*code, message.clone(), detail.clone(), None),
            Error::Refused {
                code,
                message,
                detail,
                hint,
            } => report(*code, message.clone(), detail.clone(), hint.clone()),
            Error::Internal(what) => report(
                Code::ERRCODE_INTERNAL_ERROR,
                format!("pg_mig: {what}"),
                None,
                None,
            ),
            other => report(
                Code::ERRCODE_INTERNAL_ERROR,
                format!("pg_mig: {other:?}"),
                None,
                None,
            ),
        }
    }
}
