//! Waiting on the process latch only, so that every interrupt is served at once.

use crate::error::Result;
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// Calls `look` until it returns a decision; false at the timeout. Another session decides, so `look` must see what is committed
/// now.
pub fn until_decided(
    timeout: Duration,
    mut look: impl FnMut() -> Result<Option<bool>>,
) -> Result<bool> {
    const LOOK_EVERY_MS: u128 = 50;
    // None means for ever: an interval may be longer than the clock can represent.
    let deadline = Instant::now().checked_add(timeout);
    loop {
        if let Some(decided) = look()? {
            return Ok(decided);
        }
        let left = deadline.map_or(Duration::MAX, |d| {
            d.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            return Ok(false);
        }
        sleep(i64::try_from(left.as_millis().min(LOOK_EVERY_MS)).unwrap_or(50));
    }
}

/// Sleeps for `ms`. A cancel, a termination or DROP DATABASE interrupts the sleep. The latch may have been set before, or may be
/// set for another reason (a lock timeout does): that alone does not end the sleep.
pub fn sleep(ms: i64) {
    // The server's own limit for one wait. A caller that sleeps longer checks its condition in between.
    let ms = ms.min(i64::from(i32::MAX));
    let deadline = Instant::now() + Duration::from_millis(ms.unsigned_abs());
    let mut left = ms;
    while left > 0 {
        until_woken(left);
        let rest = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last fraction of a millisecond is slept too.
        left = i64::try_from(rest.as_micros().div_ceil(1000)).unwrap_or(0);
    }
}

/// Serves interrupts, in work that goes on for long without a wait.
pub fn hear_interrupts() {
    pgrx::check_for_interrupts!();
}

fn until_woken(ms: i64) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: waits on this process's own latch, then serves interrupts.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            ms,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
