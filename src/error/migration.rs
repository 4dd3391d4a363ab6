//! Errors about a migration: which one, its phase, and what keeps it from the next.

use super::{About, Error, new_error};
use crate::ident::Literal;
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn no_such_migration(name: String, known: Vec<String>) -> Self {
        new_error(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("migration \"{name}\" does not exist"),
            (!known.is_empty()).then(|| format!("The migrations are: {}.", known.join(", "))),
            format!("Define it: SELECT mig_define({});", Literal(&name)),
        )
    }

    pub fn no_migration_at_all() -> Self {
        new_error(
            Code::ERRCODE_UNDEFINED_OBJECT,
            "there is no migration".into(),
            None,
            "Define one: SELECT mig_define('my_migration', 'projects', 'the project''s id');"
                .to_owned(),
        )
    }

    pub fn ambiguous_migration(known: Vec<String>) -> Self {
        new_error(
            Code::ERRCODE_AMBIGUOUS_PARAMETER,
            "which migration is meant is ambiguous".into(),
            format!("The migrations are: {}.", known.join(", ")),
            known.first().map(|k| {
                format!(
                    "Name one as the first argument, for example {}.",
                    Literal(k)
                )
            }),
        )
    }

    pub fn migration_exists(name: String) -> Self {
        new_error(
            Code::ERRCODE_DUPLICATE_OBJECT,
            format!("migration \"{name}\" already exists"),
            None,
            format!(
                "See SELECT * FROM mig_status({0}); or remove it: SELECT mig_drop({0});",
                Literal(&name)
            ),
        )
    }

    pub fn no_tables(migration: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("migration \"{migration}\" has no tables"),
            None,
            format!(
                "Add one: SELECT mig_add_table({}, 'old_table', 'new_table');",
                Literal(&migration)
            ),
        )
    }

    pub fn wrong_phase(
        migration: String,
        phase: &'static str,
        needs: String,
        hint: String,
    ) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("migration \"{migration}\" is in the wrong phase for this"),
            format!("It is in phase \"{phase}\"; this needs {needs}."),
            hint,
        )
    }

    /// Something that the migration depends on was changed.
    pub fn drift(migration: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("migration \"{migration}\" is not as it was left"),
            detail,
            hint,
        )
        .set_about(About::FailedJob)
    }

    pub fn preflight(migration: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("preflight of migration \"{migration}\" found errors"),
            detail,
            hint,
        )
    }

    pub fn check_failed(migration: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_DATA_EXCEPTION,
            format!("check of migration \"{migration}\" failed"),
            detail,
            hint,
        )
    }

    /// The gate before the cutover is closed.
    pub fn not_ready(migration: String, detail: String, hint: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("migration \"{migration}\" is not ready to switch"),
            detail,
            hint,
        )
    }

    /// The waiting time that the options demand is not over.
    pub fn too_early(
        migration: String,
        phase: &'static str,
        waited: f64,
        days: i32,
        option: &'static str,
        call: String,
    ) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "it is too early for this: migration \"{migration}\" is \"{phase}\" for {waited:.1} days"
            ),
            format!("Option {option} is {days}."),
            format!(
                "Wait, or lower it with mig_configure; SELECT * FROM {call}; goes past it and is recorded."
            ),
        )
    }

    /// Rows that a filter leaves out are only in the old tables. `fate`: what the call does to these.
    pub fn rows_left(migration: String, detail: String, fate: &str, call: String) -> Self {
        new_error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("filters of migration \"{migration}\" leave out rows, and this {fate}"),
            detail,
            format!("Move or delete these rows, or say that it is meant: SELECT * FROM {call};"),
        )
    }

    /// Other objects depend on the old tables.
    pub fn has_dependents(detail: String, call: String) -> Self {
        new_error(
            Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            "others depend on the old tables and would follow them into the archive".into(),
            detail,
            format!(
                "Point them to the new tables, or drop them; SELECT * FROM {call}; lets them follow and is recorded."
            ),
        )
    }
}
