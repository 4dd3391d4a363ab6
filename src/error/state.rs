//! Error texts for the wrong state: which migration, which phase, which other sessions are at work.

use super::{Error, Report, report};
use crate::ident::Literal;
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub(super) fn state_report(&self) -> Option<Report> {
        Some(match self {
            Error::NoSuchMigration { name, known } => report(
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("migration \"{name}\" does not exist"),
                (!known.is_empty()).then(|| format!("The migrations are: {}.", known.join(", "))),
                format!("Define it: SELECT mig_define({});", Literal(name)),
            ),
            Error::NoMigrationAtAll => report(
                Code::ERRCODE_UNDEFINED_OBJECT,
                "there is no migration".into(),
                None,
                "Define one: SELECT mig_define('my_migration', 'projects', 'the project''s id');".to_owned(),
            ),
            Error::AmbiguousMigration { known } => report(
                Code::ERRCODE_AMBIGUOUS_PARAMETER,
                "which migration is meant is ambiguous".into(),
                format!("The migrations are: {}.", known.join(", ")),
                known.first().map(|k| format!("Name one as the first argument, for example {}.", Literal(k))),
            ),
            Error::MigrationExists { name } => report(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("migration \"{name}\" already exists"),
                None,
                format!("See SELECT * FROM mig_status({0}); or remove it: SELECT mig_drop({0});", Literal(name)),
            ),
            Error::MappingExists { migration, relation } => report(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("table {relation} is already part of migration \"{migration}\""),
                None,
                format!("See SELECT * FROM mig.tables WHERE migration = {};", Literal(migration)),
            ),
            Error::TargetTaken { target, source, hint } => report(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("table {target} is already the target of {source}"),
                "No key of one source refers to the key of the other, and no constant column tells their rows apart.".to_owned(),
                hint.clone(),
            ),
            Error::NoTables { migration } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("migration \"{migration}\" has no tables"),
                None,
                format!("Add one: SELECT mig_add_table({}, 'old_table', 'new_table');", Literal(migration)),
            ),
            Error::WrongPhase { migration, phase, needs, hint } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("migration \"{migration}\" is in the wrong phase for this"),
                format!("It is in phase \"{phase}\"; this needs {needs}."),
                hint.clone(),
            ),
            Error::Drift { migration, detail, hint } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("migration \"{migration}\" is not as it was left"),
                detail.clone(),
                hint.clone(),
            ),
            Error::JobRunning { migration, pid, call } => report(
                Code::ERRCODE_OBJECT_IN_USE,
                format!("a job of migration \"{migration}\" is running"),
                pid.map(|p| format!("Process {p} is at work; {call} must not run beside it.")),
                format!("Wait for it: SELECT mig_wait({0}); or stop it: SELECT mig_cancel({0});", Literal(migration)),
            ),
            Error::NoJob { migration } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("migration \"{migration}\" has no job to wait for"),
                None,
                format!("Start one: SELECT mig_backfill({});", Literal(migration)),
            ),
            Error::WaitsForItself { what, call } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{what} goes on when this transaction ends"),
                "This transaction has started or changed it, and would wait for its own end. Statements that are sent as one string are one transaction.".to_owned(),
                format!("End it, then wait: COMMIT; SELECT {call};"),
            ),
            Error::NoSuchJob { id } => report(
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("job {id} does not exist"),
                "It is none that makes a constraint or an index.".to_owned(),
                "SELECT * FROM mig.jobs; shows those that are.".to_owned(),
            ),
            Error::RowsBreak { relation, made, rows, look } => report(
                Code::ERRCODE_CHECK_VIOLATION,
                format!("rows of {relation} break {made}"),
                format!("Found: {rows}."),
                format!("Correct them, and call again. All of them: {look};"),
            ),
            Error::ChangeFailed { made, detail } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the job failed: {made}"),
                detail.clone(),
                "Nothing of it is left. Correct the rows, then call the function again.".to_owned(),
            ),
            Error::LockNotHad { relations, tries, blockers } => report(
                Code::ERRCODE_LOCK_NOT_AVAILABLE,
                format!("could not lock {relations} in {tries} tries"),
                blockers.clone(),
                "Nothing was changed. Call again when those transactions have ended; SELECT * FROM mig.blockers; shows them.".to_owned(),
            ),
            Error::WouldFail { relation, role, what, reason } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("writes to {relation} would start to fail"),
                format!("Tried as role \"{role}\", {what} goes well without the mirror, and with it ends in: {reason}."),
                "Nothing was changed. Correct that, and call again.".to_owned(),
            ),
            Error::Retired { old, new } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("table {old} has moved and takes no writes"),
                format!("Its rows live in {new}."),
                format!("Write to {new} instead."),
            ),
            Error::NotReady { migration, detail, hint } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("migration \"{migration}\" is not ready to switch"),
                detail.clone(),
                hint.clone(),
            ),
            Error::TooEarly { migration, phase, waited, days, option, call } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("it is too early for this: migration \"{migration}\" is \"{phase}\" for {waited:.1} days"),
                format!("Option {option} is {days}."),
                format!("Wait, or lower it with mig_configure; SELECT * FROM {call}; goes past it and is recorded."),
            ),
            Error::HasDependents { detail, call } => report(
                Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                "others depend on the old tables and would follow them into the archive".into(),
                detail.clone(),
                format!("Point them to the new tables, or drop them; SELECT * FROM {call}; lets them follow and is recorded."),
            ),
            Error::OutOfDate { objects, library } => report(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "pg_mig is not up to date in this database".into(),
                format!("Its objects are of version {objects}, its library is of version {library}; mirrors work all the same."),
                "ALTER EXTENSION pg_mig UPDATE;".to_owned(),
            ),
            Error::Standby => report(
                Code::ERRCODE_READ_ONLY_SQL_TRANSACTION,
                "a migration cannot be changed on a standby".into(),
                "This server is in recovery.".to_owned(),
                "Run it on the primary; or here, after SELECT pg_promote();".to_owned(),
            ),
            Error::WrongIsolation => report(
                Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
                "this needs a READ COMMITTED transaction".into(),
                "An older snapshot does not see what other sessions have committed since.".to_owned(),
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;".to_owned(),
            ),
            _ => return None,
        })
    }
}
