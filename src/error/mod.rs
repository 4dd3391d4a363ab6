//! Everything we refuse, one variant each: fields, not strings. The texts follow PostgreSQL's error
//! style guide (<https://www.postgresql.org/docs/15/error-style-guide.html>); they stand in `state`, `input`
//! and `results`, by what went wrong.

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
    /// Whoever waits has to end first.
    WaitsForItself {
        what: String,
        call: String,
    },
    NoSuchJob {
        id: i64,
    },
    /// Rows that a new constraint would refuse.
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
    /// Somebody changed what a migration rests on.
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
    /// An argument of more bytes than we take.
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
    /// A standby: nothing can be written here.
    Standby,
    /// The library that is loaded is not of the version that the extension's objects are.
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
    /// A write of the application that a mirror would make fail.
    WouldFail {
        relation: String,
        role: String,
        what: &'static str,
        reason: String,
    },
    /// An old table after the cutover.
    Retired {
        old: String,
        new: String,
    },
    /// The gate before the cutover is shut.
    NotReady {
        migration: String,
        detail: String,
        hint: String,
    },
    /// The time that the options give has not passed.
    TooEarly {
        migration: String,
        phase: &'static str,
        waited: f64,
        days: i32,
        option: &'static str,
        call: String,
    },
    /// Others have built upon the old tables.
    Followed {
        detail: String,
        call: String,
    },
    /// An ERROR of PostgreSQL's own, caught in a subtransaction.
    Sql {
        code: Code,
        message: String,
        detail: Option<String>,
    },
    /// A write that our triggers refuse.
    Refused {
        code: Code,
        message: String,
        detail: String,
        hint: String,
    },
    /// A broken invariant of ours.
    Internal(String),
}

/// The four parts that a client sees.
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

    /// Whether trying the same thing again can help (a lock, a deadlock, a serialization failure).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code(),
            Code::ERRCODE_LOCK_NOT_AVAILABLE
                | Code::ERRCODE_T_R_DEADLOCK_DETECTED
                | Code::ERRCODE_T_R_SERIALIZATION_FAILURE
        )
    }

    /// Whether the fault lies in the row (constraint, cast, expression) and not in the server.
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

/// A part of a report, cut where it quotes a value that nobody would read to its end.
fn readable(text: String) -> String {
    const MOST: usize = 50_000;
    brief(text, MOST)
}

/// The text, cut to that many bytes.
pub fn brief(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|n| text.is_char_boundary(*n));
        text.truncate(end.unwrap_or(0));
        text.push_str(" …");
    }
    text
}

/// The five characters of a code: six bits each, lowest first (MAKE_SQLSTATE in utils/elog.h).
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
