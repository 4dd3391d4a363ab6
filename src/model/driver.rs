//! What runs the batches of a job.

use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A background worker of ours.
    Worker,
    /// A job of the extension pg_cron, once a minute.
    PgCron,
    /// Whoever calls mig_step or mig_run.
    Manual,
}

impl Driver {
    /// What mig_backfill takes; `auto` is the first of the others that can be had.
    pub const NAMES: [&'static str; 4] = ["auto", "worker", "pg_cron", "manual"];

    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Worker => "worker",
            Driver::PgCron => "pg_cron",
            Driver::Manual => "manual",
        }
    }

    /// None for a name that no driver has; `Some(None)` for `auto`.
    pub fn parse(name: &str) -> Option<Option<Self>> {
        match name {
            "auto" => Some(None),
            "worker" => Some(Some(Driver::Worker)),
            "pg_cron" | "cron" => Some(Some(Driver::PgCron)),
            "manual" => Some(Some(Driver::Manual)),
            _ => None,
        }
    }
}
