//! Error texts for wrong input: tables, columns, options, expressions, privileges.

use super::{Error, Report, report};
use crate::ident::Ident;
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub(super) fn input_report(&self) -> Option<Report> {
        Some(match self {
            Error::NotOwner {
                relation,
                role,
                owner,
            } => report(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of table {relation}"),
                format!("The table belongs to role \"{owner}\", the caller is \"{role}\"."),
                format!("SET ROLE {};", Ident::new(owner)),
            ),
            Error::NotMember { role, caller } => report(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied to act as role {role}"),
                format!(
                    "A table or a migration of role {role} is asked for, and role {caller} is no member of it."
                ),
                format!("SET ROLE {role};"),
            ),
            Error::NotOwnerOfMigration {
                migration,
                role,
                owner,
            } => report(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of migration \"{migration}\""),
                format!("The migration belongs to role \"{owner}\", the caller is \"{role}\"."),
                format!("SET ROLE {};", Ident::new(owner)),
            ),
            Error::Unsuitable {
                relation,
                kind,
                hint,
            } => report(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{relation} cannot be migrated"),
                format!("It is {kind}."),
                hint.clone(),
            ),
            Error::NoPrimaryKey { relation } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("table {} has no primary key", relation.plain()),
                "Rows are carried over and compared by their key.".to_owned(),
                format!("Add one: ALTER TABLE {relation} ADD PRIMARY KEY (...);"),
            ),
            Error::NoSuchColumn {
                relation,
                column,
                nearest,
            } => report(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{column}\" of {relation} does not exist"),
                None,
                nearest.as_ref().map(|n| format!("Did you mean \"{n}\"?")),
            ),
            Error::KeyNotCarried { relation, column } => report(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("key column \"{column}\" of {relation} is not carried over"),
                "Without its key a row cannot be found again in the target.".to_owned(),
                format!(
                    "Leave \"{column}\" out of \"columns\", or rename it: {{\"new_name\": \"{column}\"}}."
                ),
            ),
            Error::BadOption { name, detail, hint } => report(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid option \"{name}\""),
                detail.clone(),
                hint.clone(),
            ),
            Error::BadScope { detail, hint } => report(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "invalid scope".into(),
                detail.clone(),
                hint.clone(),
            ),
            Error::BadExpression {
                column,
                detail,
                hint,
                ..
            } => report(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid expression for \"{column}\""),
                detail.clone(),
                hint.clone(),
            ),
            Error::NullArgument { name } => report(
                Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("argument \"{name}\" must not be null"),
                None,
                "Give a value; an argument that has a default may be left out.".to_owned(),
            ),
            Error::BadName { text } => report(
                Code::ERRCODE_INVALID_NAME,
                format!("invalid table name \"{text}\""),
                "A name has one or two parts: table, or schema.table.".to_owned(),
                "Quote a part that is not in lower case: public.\"Rounds\".".to_owned(),
            ),
            Error::Invalid {
                message,
                detail,
                hint,
            } => report(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                message.clone(),
                detail.clone(),
                hint.clone(),
            ),
            Error::ShapeDiffers {
                relation,
                detail,
                hint,
            } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("table {relation} exists already with a different shape"),
                detail.clone(),
                hint.clone(),
            ),
            Error::TooLarge { bytes, most } => report(
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the argument is too large".into(),
                format!("It has {bytes} bytes; at most {most} are read."),
                "See the examples of this function in the README.".to_owned(),
            ),
            Error::NotSupported { what, detail, hint } => report(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("{what} is not supported"),
                detail.clone(),
                hint.clone(),
            ),
            _ => return None,
        })
    }
}
