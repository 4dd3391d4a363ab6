//! Errors about arguments.

use super::{About, Error, new_error};
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn bad_option(name: String, detail: String, hint: Option<String>) -> Self {
        new_error(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid option \"{name}\""),
            detail,
            hint,
        )
        .set_about(About::Option)
    }

    pub fn bad_scope(detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid scope".into(),
            detail,
            hint,
        )
    }

    /// `code`: PostgreSQL's own, where it refused the expression.
    pub fn bad_expression(
        column: String,
        code: Option<Code>,
        detail: String,
        hint: String,
    ) -> Self {
        new_error(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid expression for \"{column}\""),
            detail,
            hint,
        )
        .set_about(About::Expression(code))
    }

    pub fn bad_name(text: String) -> Self {
        new_error(
            Code::ERRCODE_INVALID_NAME,
            format!("invalid table name \"{text}\""),
            "A name has one or two parts: table, or schema.table.".to_owned(),
            "Quote a part that is not in lower case: public.\"Rounds\".".to_owned(),
        )
    }

    pub fn invalid(message: String, detail: String, hint: String) -> Self {
        new_error(Code::ERRCODE_INVALID_PARAMETER_VALUE, message, detail, hint)
    }

    pub fn null_argument(name: &'static str) -> Self {
        new_error(
            Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{name}\" must not be null"),
            None,
            "Give a value; an argument that has a default may be left out.".to_owned(),
        )
    }

    /// An argument is longer than pg_mig accepts.
    pub fn too_large(bytes: usize, most: usize) -> Self {
        new_error(
            Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the argument is too large".into(),
            format!("It has {bytes} bytes; at most {most} are read."),
            "See the examples of this function in the README.".to_owned(),
        )
    }

    pub fn not_supported(what: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("{what} is not supported"),
            detail,
            hint,
        )
    }
}
