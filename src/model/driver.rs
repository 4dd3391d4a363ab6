//! The driver of a job: what runs its batches.

use crate::model::text_enum::text_enum;

text_enum! {
    pub enum Driver {
        /// A background worker of the extension.
        Worker = "worker",
        /// A job of the extension pg_cron, once a minute.
        PgCron = "pg_cron",
        /// The callers of `mig_step` and `mig_run`.
        Manual = "manual",
    }
}

impl Driver {
    /// The names that `mig_backfill` accepts; `auto` picks the first of the others that is available.
    pub const NAMES: [&'static str; 4] = ["auto", "worker", "pg_cron", "manual"];

    /// None for an unknown name; `Some(None)` for `auto`.
    pub fn read(name: &str) -> Option<Option<Self>> {
        match name {
            "auto" => Some(None),
            "cron" => Some(Some(Driver::PgCron)),
            other => Self::parse(other).map(Some),
        }
    }
}
