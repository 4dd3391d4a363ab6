//! Server-wide defaults of a migration's options. The migration's own option wins, because a role that is no
//! superuser cannot set `mig.*` before the library is loaded.

use crate::model::state::Migration;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// A thousand rows are copied in a few tens of milliseconds on any machine: a safe first guess.
static BATCH_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1000);
/// A row is locked for one batch at most; a tenth of a second is below what a user notices.
static BATCH_TARGET_MS: GucSetting<i32> = GucSetting::<i32>::new(100);
/// No pause: whoever has little I/O to spare raises it.
static DELAY_MS: GucSetting<i32> = GucSetting::<i32>::new(0);
/// Half of the default deadlock_timeout: we give up before anybody is made a victim.
static LOCK_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(500);
/// Building indexes after the copy is two to three times faster than keeping them up during it.
static DEFER_INDEXES: GucSetting<bool> = GucSetting::<bool>::new(true);

pub fn register() {
    let int = |name, short, setting, min, max| {
        GucRegistry::define_int_guc(
            name,
            short,
            c"Default for migrations that do not set the option.",
            setting,
            min,
            max,
            GucContext::Userset,
            GucFlags::default(),
        );
    };
    int(
        c"mig.batch_rows",
        c"Rows of the first batch; later ones adapt.",
        &BATCH_ROWS,
        1,
        1_000_000,
    );
    int(
        c"mig.batch_target_ms",
        c"How long a batch should take, in milliseconds.",
        &BATCH_TARGET_MS,
        1,
        60_000,
    );
    int(
        c"mig.delay_ms",
        c"Pause between batches, in milliseconds.",
        &DELAY_MS,
        0,
        3_600_000,
    );
    int(
        c"mig.lock_timeout_ms",
        c"Longest wait for one lock, in milliseconds.",
        &LOCK_TIMEOUT_MS,
        1,
        60_000,
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

pub fn batch_rows(m: &Migration) -> i32 {
    m.int_option("batch_rows")
        .unwrap_or_else(|| BATCH_ROWS.get())
}

pub fn batch_target_ms(m: &Migration) -> i32 {
    m.int_option("batch_target_ms")
        .unwrap_or_else(|| BATCH_TARGET_MS.get())
}

pub fn delay_ms(m: &Migration) -> i32 {
    m.int_option("delay_ms").unwrap_or_else(|| DELAY_MS.get())
}

pub fn lock_timeout_ms(m: &Migration) -> i32 {
    m.int_option("lock_timeout_ms")
        .unwrap_or_else(|| LOCK_TIMEOUT_MS.get())
        .min(longest_wait_ms())
}

/// Half of deadlock_timeout: whoever waits for us while we wait for him looks for a deadlock after that time, and
/// would be the one to lose his transaction. We give up before.
pub fn longest_wait_ms() -> i32 {
    // SAFETY: reads a setting of this backend, in milliseconds.
    (unsafe { pgrx::pg_sys::DeadlockTimeout } / 2).max(1)
}

/// Days that the old tables wait in `stopped` before they may be put away.
pub fn archive_after_days(m: &Migration) -> i32 {
    m.int_option("archive_after_days").unwrap_or(30)
}

/// Days that archives wait before they may be dropped.
pub fn drop_after_days(m: &Migration) -> i32 {
    m.int_option("drop_after_days").unwrap_or(90)
}

/// Old and new ids stay in a table of their own when the migration is dropped.
pub fn keep_map(m: &Migration) -> bool {
    m.bool_option("keep_map").unwrap_or(false)
}

pub fn defer_indexes(m: &Migration) -> bool {
    m.bool_option("defer_indexes")
        .unwrap_or_else(|| DEFER_INDEXES.get())
}
