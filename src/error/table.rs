//! Errors about tables, their columns and keys, and about writes to them.

use super::{Error, new_error};
use crate::ident::{Literal, QualifiedName};
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn mapping_exists(migration: String, relation: String) -> Self {
        new_error(
            Code::ERRCODE_DUPLICATE_OBJECT,
            format!("table {relation} is already part of migration \"{migration}\""),
            None,
            format!(
                "See SELECT * FROM mig.tables WHERE migration = {};",
                Literal(&migration)
            ),
        )
    }

    pub fn target_taken(target: String, source: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_DUPLICATE_OBJECT,
            format!("table {target} is already the target of {source}"),
            "No key of one source refers to the key of the other, and no constant column tells their rows apart.".to_owned(),
            hint,
        )
    }

    pub fn name_taken(relation: &QualifiedName, hint: String) -> Self {
        new_error(
            Code::ERRCODE_DUPLICATE_TABLE,
            format!("another relation is called {}", relation.plain()),
            "A table of the migration is to have this name.".to_owned(),
            hint,
        )
    }

    pub fn unsuitable(relation: String, kind: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("{relation} cannot be migrated"),
            format!("It is {kind}."),
            hint,
        )
    }

    pub fn no_primary_key(relation: QualifiedName) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} has no primary key", relation.plain()),
            "Rows are carried over and compared by their key.".to_owned(),
            format!("Add one: ALTER TABLE {relation} ADD PRIMARY KEY (...);"),
        )
    }

    pub fn no_such_column(relation: String, column: String, nearest: Option<String>) -> Self {
        new_error(
            Code::ERRCODE_UNDEFINED_COLUMN,
            format!("column \"{column}\" of {relation} does not exist"),
            None,
            nearest.map(|n| format!("Did you mean \"{n}\"?")),
        )
    }

    pub fn key_not_carried(relation: String, column: String) -> Self {
        new_error(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("key column \"{column}\" of {relation} is not carried over"),
            "Without its key a row cannot be found again in the target.".to_owned(),
            format!(
                "Leave \"{column}\" out of \"columns\", or rename it: {{\"new_name\": \"{column}\"}}."
            ),
        )
    }

    pub fn shape_differs(relation: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {relation} exists already with a different shape"),
            detail,
            hint,
        )
    }

    /// A mirror writes a column that has another name now, or is gone.
    pub fn mirror_misfit(touched: String, written: String, column: &str, hint: &str) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("writes to {touched} cannot be mirrored to {written}"),
            format!(
                "Column \"{column}\" of {written} was renamed or dropped since mig_create. The old name brings the mirror back."
            ),
            hint.to_owned(),
        )
    }

    /// A mirror would make a write of the application fail.
    pub fn would_fail(relation: String, role: String, what: &'static str, reason: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("writes to {relation} would start to fail"),
            format!(
                "Tried as role \"{role}\", {what} goes well without the mirror, and with it ends in: {reason}."
            ),
            "Nothing was changed. Correct that, and call again.".to_owned(),
        )
    }

    /// A trigger of pg_mig that stands after all of them were dropped.
    pub fn trigger_left(name: &str, relation: String, drop: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("trigger \"{name}\" of pg_mig on {relation} is left"),
            "It was made while the others were dropped. Nothing was changed.".to_owned(),
            format!("{drop}; then call again."),
        )
    }

    /// A trigger of pg_mig on a table that the caller may not change.
    pub fn trigger_of_another(name: &str, relation: String, owner: String, drop: String) -> Self {
        new_error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("trigger \"{name}\" of pg_mig is on {relation}, which belongs to role {owner}"),
            "Nothing was changed: the trigger would be left.".to_owned(),
            format!("As {owner} or a superuser: {drop}; then call again."),
        )
    }

    /// A mirror's write that SQL does not see.
    pub fn not_read_back(relation: String, role: String, what: &'static str) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("writes to {relation} would not reach its target"),
            format!(
                "Tried as role \"{role}\": after {what} a query of the target does not find what the mirror wrote."
            ),
            "Nothing was changed. See which library plans or runs statements on the target otherwise than the server: SHOW shared_preload_libraries;"
                .to_owned(),
        )
    }

    /// A write of a row that has moved, to a table some of whose rows have not.
    pub fn moved_row(old: String, new: String, home: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("a row of {old} has moved and takes no writes there"),
            format!("Rows that the mapping's filter takes live in {new}, the others in {home}."),
            format!("Write to {new} instead."),
        )
    }

    /// A write to an old table after the cutover.
    pub fn retired_table(old: String, new: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {old} has moved and takes no writes"),
            format!("Its rows live in {new}."),
            format!("Write to {new} instead."),
        )
    }
}
