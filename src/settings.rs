//! Server-wide defaults of a migration's options. The migration's own option takes precedence, because a role that is not a superuser
//! cannot set `mig.*` before the library is loaded.

use crate::model::options::{self, BoolOption, IntOption};
use crate::model::records::Migration;
use crate::model::units;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;

static BATCH_ROWS: GucSetting<i32> = GucSetting::<i32>::new(options::BATCH_ROWS.default);
static BATCH_TARGET_MS: GucSetting<i32> = GucSetting::<i32>::new(options::BATCH_TARGET_MS.default);
static DELAY_MS: GucSetting<i32> = GucSetting::<i32>::new(options::DELAY_MS.default);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(options::MAX_WORKERS.default);
static LOCK_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(options::LOCK_TIMEOUT_MS.default);
static DEFER_INDEXES: GucSetting<bool> = GucSetting::<bool>::new(options::DEFER_INDEXES.default);

/// Limits that apply only if they are set: what is too much depends on the standbys and the disks.
static MAX_REPLICATION_LAG: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static MAX_WAL_RATE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// An upper limit of the throttle.
pub enum ThrottleLimit {
    None,
    /// The given text is not an amount.
    Unreadable(String),
    /// Milliseconds, or bytes per second.
    Of(i64),
}

impl ThrottleLimit {
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::None)
    }
}

pub fn register() {
    let text = |name, short, setting| {
        GucRegistry::define_string_guc(
            name,
            short,
            c"Default for migrations that do not set the option.",
            setting,
            GucContext::Userset,
            GucFlags::default(),
        );
    };
    text(
        c"mig.max_replication_lag",
        c"A job waits while a standby is further behind, for example 10 s.",
        &MAX_REPLICATION_LAG,
    );
    text(
        c"mig.max_wal_rate",
        c"A job waits while the server writes more WAL a second, for example 50 MB.",
        &MAX_WAL_RATE,
    );
    let int = |name, short, setting, option: IntOption| {
        GucRegistry::define_int_guc(
            name,
            short,
            c"Default for migrations that do not set the option.",
            setting,
            option.min,
            option.max,
            GucContext::Userset,
            GucFlags::default(),
        );
    };
    int(
        c"mig.batch_rows",
        c"Rows of the first batch; later ones adapt.",
        &BATCH_ROWS,
        options::BATCH_ROWS,
    );
    int(
        c"mig.batch_target_ms",
        c"How long a batch should take, in milliseconds.",
        &BATCH_TARGET_MS,
        options::BATCH_TARGET_MS,
    );
    int(
        c"mig.delay_ms",
        c"Pause between batches, in milliseconds.",
        &DELAY_MS,
        options::DELAY_MS,
    );
    int(
        c"mig.max_workers",
        c"Workers that copy one table at a time.",
        &MAX_WORKERS,
        options::MAX_WORKERS,
    );
    int(
        c"mig.lock_timeout_ms",
        c"Longest wait for one lock, in milliseconds.",
        &LOCK_TIMEOUT_MS,
        options::LOCK_TIMEOUT_MS,
    );
    GucRegistry::define_bool_guc(
        c"mig.defer_indexes",
        c"Build the target's secondary indexes after the copy.",
        c"Default for migrations that do not set the option.",
        &DEFER_INDEXES,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn read_int(m: &Migration, option: IntOption, otherwise: i32) -> i32 {
    m.int_option(option.name).unwrap_or(otherwise)
}

fn read_bool(m: &Migration, option: BoolOption, otherwise: bool) -> bool {
    m.bool_option(option.name).unwrap_or(otherwise)
}

pub fn batch_rows(m: &Migration) -> i32 {
    read_int(m, options::BATCH_ROWS, BATCH_ROWS.get())
}

pub fn batch_target_ms(m: &Migration) -> i32 {
    read_int(m, options::BATCH_TARGET_MS, BATCH_TARGET_MS.get())
}

pub fn delay_ms(m: &Migration) -> i32 {
    read_int(m, options::DELAY_MS, DELAY_MS.get())
}

/// The number of processes that copy at a time, including the one that runs the job.
pub fn max_workers(m: &Migration) -> i32 {
    read_int(m, options::MAX_WORKERS, MAX_WORKERS.get())
}

/// As `max_workers`, for jobs that belong to no migration.
pub fn own_max_workers() -> i32 {
    MAX_WORKERS.get()
}

/// How far a standby may be behind, in milliseconds.
pub fn max_replication_lag(m: &Migration) -> ThrottleLimit {
    let text = text_setting(m, options::MAX_REPLICATION_LAG, &MAX_REPLICATION_LAG);
    limit(text, units::duration)
}

/// How much WAL the server may write while a job runs, in bytes per second.
pub fn max_wal_rate(m: &Migration) -> ThrottleLimit {
    limit(
        text_setting(m, options::MAX_WAL_RATE, &MAX_WAL_RATE),
        units::size,
    )
}

/// The throttle query. Only an option of the migration, not a server setting: a role that may change a setting for another role's session
/// must not be able to run code there.
/// The path of the application's code: the option, else that of the role that defined the migration.
pub fn search_path(m: &Migration) -> Option<String> {
    m.text_option(options::SEARCH_PATH)
        .or_else(|| m.search_path.clone())
}

pub fn throttle_query(m: &Migration) -> Option<String> {
    m.text_option(options::THROTTLE_QUERY)
        .filter(|q| !q.trim().is_empty())
}

fn text_setting(
    m: &Migration,
    option: &str,
    default: &GucSetting<Option<CString>>,
) -> Option<String> {
    let default = || Some(default.get()?.to_string_lossy().into_owned());
    let text = m.text_option(option).or_else(default)?;
    (!text.trim().is_empty()).then_some(text)
}

fn limit(text: Option<String>, read: fn(&str) -> Option<i64>) -> ThrottleLimit {
    match text {
        None => ThrottleLimit::None,
        Some(text) => read(&text).map_or(ThrottleLimit::Unreadable(text), ThrottleLimit::Of),
    }
}

/// As `lock_timeout_ms`, for jobs that belong to no migration.
pub fn own_lock_timeout_ms() -> i32 {
    LOCK_TIMEOUT_MS.get().min(longest_wait_ms())
}

pub fn lock_timeout_ms(m: &Migration) -> i32 {
    read_int(m, options::LOCK_TIMEOUT_MS, LOCK_TIMEOUT_MS.get()).min(longest_wait_ms())
}

/// Returns half of deadlock_timeout. A transaction that waits for pg_mig while pg_mig waits for it checks for a deadlock after
/// deadlock_timeout, and would be the one that is aborted. pg_mig gives up before that.
pub fn longest_wait_ms() -> i32 {
    // SAFETY: reads a setting of this backend, in milliseconds.
    (unsafe { pgrx::pg_sys::DeadlockTimeout } / 2).max(1)
}

pub fn archive_after_days(m: &Migration) -> i32 {
    read_int(
        m,
        options::ARCHIVE_AFTER_DAYS,
        options::ARCHIVE_AFTER_DAYS.default,
    )
}

pub fn drop_after_days(m: &Migration) -> i32 {
    read_int(
        m,
        options::DROP_AFTER_DAYS,
        options::DROP_AFTER_DAYS.default,
    )
}

pub fn keep_map(m: &Migration) -> bool {
    read_bool(m, options::KEEP_MAP, options::KEEP_MAP.default)
}

pub fn take_names(m: &Migration) -> bool {
    read_bool(m, options::TAKE_NAMES, options::TAKE_NAMES.default)
}

pub fn defer_indexes(m: &Migration) -> bool {
    read_bool(m, options::DEFER_INDEXES, DEFER_INDEXES.get())
}
