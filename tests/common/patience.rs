//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// When a wait is given up. It says nothing about how fast anything has to be: something hangs by then.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The same for mig_wait.
#[allow(dead_code)]
pub const PATIENCE_SQL: &str = "5 min";

/// Until `condition` is true; panics with `what` when patience is at its end.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
