//! All errors of pg_mig, made by one constructor each; the constructors are sorted by topic in the files here. The texts follow PostgreSQL's
//! error style guide (<https://www.postgresql.org/docs/15/error-style-guide.html>). Decisions read `code` and `about`, never a text.

use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::ErrorReport;
use std::fmt;

mod input;
mod job;
mod migration;
mod rights;
mod server;
mod table;

pub type Result<T> = std::result::Result<T, Error>;

/// The four parts that a client sees, and what a caller here may want to know.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    about: About,
}

/// What an error is about, where a caller treats it in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum About {
    Other,
    /// PostgreSQL raised it.
    Server,
    /// A job that is at work keeps the call from its migration.
    RunningJob,
    /// Why a job failed: DETAIL alone says it.
    FailedJob,
    Option,
    /// An expression, with the SQLSTATE of PostgreSQL where that refused it.
    Expression(Option<Code>),
}

fn new_error(
    code: Code,
    message: String,
    detail: impl Into<Option<String>>,
    hint: impl Into<Option<String>>,
) -> Error {
    Error {
        code,
        message,
        detail: detail.into(),
        hint: hint.into(),
        about: About::Other,
    }
}

impl Error {
    fn set_about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn about(&self) -> About {
        self.about
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = ErrorReport::new(error.code, readable(error.message), "pg_mig");
        if let Some(detail) = error.detail {
            report = report.set_detail(readable(detail));
        }
        if let Some(hint) = error.hint {
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
        let sql = |code| Error::sql(code, String::new(), None);
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
        let hint = Error::migration_exists("it's".into()).hint;
        assert!(hint.is_some_and(|h| h.contains("'it''s'")));
    }
}
