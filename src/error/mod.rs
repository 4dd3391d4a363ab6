//! All errors of pg_mig, one variant each, with fields instead of text. The texts follow PostgreSQL's error style guide
//! (<https://www.postgresql.org/docs/15/error-style-guide.html>). They are in `state`, `input` and `results`, by kind of error.

use crate::ident::QualifiedName;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::ErrorReport;
use std::fmt;

mod input;
mod results;
mod state;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug)]
pub enum Error {
    NoSuchMigration {
        name: String,
        known: Vec<String>,
    },
    NoMigrationAtAll,
    AmbiguousMigration {
        known: Vec<String>,
    },
    MigrationExists {
        name: String,
    },
    MappingExists {
        migration: String,
        relation: String,
    },
    TargetTaken {
        target: String,
        source: String,
        hint: String,
    },
    NoTables {
        migration: String,
    },
    WrongPhase {
        migration: String,
        phase: &'static str,
        needs: String,
        hint: String,
    },
    JobRunning {
        migration: String,
        pid: Option<i32>,
        call: &'static str,
    },
    NoJob {
        migration: String,
    },
    /// The transaction would wait for something that goes on only after the transaction's own end.
    WaitsForItself {
        what: String,
        call: String,
    },
    NoSuchJob {
        id: i64,
    },
    /// Rows violate a new constraint.
    RowsBreak {
        relation: String,
        made: String,
        rows: String,
        look: String,
    },
    ChangeFailed {
        made: String,
        detail: String,
    },
    NotOwner {
        relation: String,
        role: String,
        owner: String,
    },
    NotMember {
        role: String,
        caller: String,
    },
    NotOwnerOfMigration {
        migration: String,
        role: String,
        owner: String,
    },
    Unsuitable {
        relation: String,
        kind: String,
        hint: String,
    },
    NoPrimaryKey {
        relation: QualifiedName,
    },
    NoSuchColumn {
        relation: String,
        column: String,
        nearest: Option<String>,
    },
    KeyNotCarried {
        relation: String,
        column: String,
    },
    BadOption {
        name: String,
        detail: String,
        hint: Option<String>,
    },
    BadScope {
        detail: String,
        hint: String,
    },
    BadExpression {
        column: String,
        /// PostgreSQL's own, where it refused the expression.
        code: Option<Code>,
        detail: String,
        hint: String,
    },
    BadName {
        text: String,
    },
    Invalid {
        message: String,
        detail: String,
        hint: String,
    },
    ShapeDiffers {
        relation: String,
        detail: String,
        hint: String,
    },
    /// Something that the migration depends on was changed.
    Drift {
        migration: String,
        detail: String,
        hint: String,
    },
    NullArgument {
        name: &'static str,
    },
    NotSupported {
        what: String,
        detail: String,
        hint: String,
    },
    /// An argument is longer than pg_mig accepts.
    TooLarge {
        bytes: usize,
        most: usize,
    },
    LockNotHad {
        relations: String,
        tries: u32,
        blockers: String,
    },
    WrongIsolation,
    /// The server is a standby: nothing can be written.
    Standby,
    /// The loaded library has another version than the extension's objects.
    OutOfDate {
        objects: String,
        library: &'static str,
    },
    Preflight {
        migration: String,
        detail: String,
        hint: String,
    },
    CheckFailed {
        migration: String,
        detail: String,
        hint: String,
    },
    JobFailed {
        migration: String,
        detail: String,
        hint: String,
    },
    /// A mirror would make a write of the application fail.
    WouldFail {
        relation: String,
        role: String,
        what: &'static str,
        reason: String,
    },
    /// A write to an old table after the cutover.
    Retired {
        old: String,
        new: String,
    },
    /// The gate before the cutover is closed.
    NotReady {
        migration: String,
        detail: String,
        hint: String,
    },
    /// The waiting time that the options demand is not over.
    TooEarly {
        migration: String,
        phase: &'static str,
        waited: f64,
        days: i32,
        option: &'static str,
        call: String,
    },
    /// Other objects depend on the old tables.
    HasDependents {
        detail: String,
        call: String,
    },
    /// An ERROR of PostgreSQL, caught in a subtransaction.
    Sql {
        code: Code,
        message: String,
        detail: Option<String>,
    },
    /// A write that a trigger of pg_mig refuses.
    Refused {
        code: Code,
        message: String,
        detail: String,
        hint: String,
    },
    /// A broken internal invariant.
    Internal(String),
}

/// The four parts of an error that a client sees.
pub(crate) struct Report {
    code: Code,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

fn report(
    code: Code,
    message: String,
    detail: impl Into<Option<String>>,
    hint: impl Into<Option<String>>,
) -> Report {
    Report {
        code,
        message,
        detail: detail.into(),
        hint: hint.into(),
    }
}

impl Error {
    pub fn code(&self) -> Code {
        self.report().code
    }

    /// Whether a retry can succeed (a lock, a deadlock, a serialization failure).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code(),
            Code::ERRCODE_LOCK_NOT_AVAILABLE
                | Code::ERRCODE_T_R_DEADLOCK_DETECTED
                | Code::ERRCODE_T_R_SERIALIZATION_FAILURE
        )
    }

    /// Whether the row is at fault (constraint, cast, expression), not the server.
    pub fn is_about_data(&self) -> bool {
        // Cardinality, data, integrity, WITH CHECK OPTION, and RAISE in a trigger of the target; see
        // https://www.postgresql.org/docs/15/errcodes-appendix.html
        matches!(&self.sqlstate()[..2], "21" | "22" | "23" | "44" | "P0")
    }

    pub fn sqlstate(&self) -> String {
        crate::error::sqlstate(self.code())
    }

    pub fn detail(&self) -> Option<String> {
        self.report().detail
    }

    pub(crate) fn report(&self) -> Report {
        let special = self.state_report().or_else(|| self.input_report());
        special.unwrap_or_else(|| self.result_report())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report().message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let Report {
            code,
            message,
            detail,
            hint,
        } = error.report();
        let mut report = ErrorReport::new(code, readable(message), "pg_mig");
        if let Some(detail) = detail {
            report = report.set_detail(readable(detail));
        }
        if let Some(hint) = hint {
            report = report.set_hint(readable(hint));
        }
        report
    }
}

/// Shortens a part of a report that quotes a very long value.
fn readable(text: String) -> String {
    const MOST: usize = 50_000;
    brief(text, MOST)
}

/// Cuts the text to `most` bytes, between two characters.
pub fn brief(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|n| text.is_char_boundary(*n));
        text.truncate(end.unwrap_or(0));
        text.push_str(" …");
    }
    text
}

/// The five characters of an SQLSTATE: six bits each, lowest first (MAKE_SQLSTATE in utils/elog.h).
pub fn sqlstate(code: Code) -> String {
    let code = code as i32;
    (0..5)
        .map(|i| char::from(((code >> (6 * i)) & 0x3f) as u8 + b'0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_read_as_in_the_manual() {
        assert_eq!(sqlstate(Code::ERRCODE_UNDEFINED_OBJECT), "42704");
        assert_eq!(sqlstate(Code::ERRCODE_AMBIGUOUS_PARAMETER), "42P08");
        assert_eq!(sqlstate(Code::ERRCODE_OBJECT_IN_USE), "55006");
    }

    #[test]
    fn only_faults_of_the_row_count_as_data() {
        let sql = |code| Error::Sql {
            code,
            message: String::new(),
            detail: None,
        };
        assert!(sql(Code::ERRCODE_UNIQUE_VIOLATION).is_about_data());
        assert!(sql(Code::ERRCODE_INVALID_TEXT_REPRESENTATION).is_about_data());
        assert!(!sql(Code::ERRCODE_DISK_FULL).is_about_data());
        assert!(!sql(Code::ERRCODE_QUERY_CANCELED).is_about_data());
        assert!(sql(Code::ERRCODE_LOCK_NOT_AVAILABLE).is_retryable());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(brief("aü".into(), 3), "aü");
        assert_eq!(brief("aüb".into(), 2), "a …");
        assert_eq!(brief("ü".into(), 0), " …");
    }

    #[test]
    fn hints_quote_what_the_user_named() {
        let hint = Error::MigrationExists {
            name: "it's".into(),
        }
        .report()
        .hint;
        assert!(hint.is_some_and(|h| h.contains("'it''s'")));
    }
}
