//! How fast a job may run, given what was measured on the server so far. Times are in milliseconds, WAL positions in bytes.

use serde::{Deserialize, Serialize};

/// Stored with the job: another process may run the next slice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ThrottleState {
    written: Option<WalBucket>,
    /// (time, WAL position) pairs, oldest first.
    marks: Vec<(i64, i64)>,
}

/// A leaky bucket: written WAL fills it, time drains it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct WalBucket {
    at: i64,
    place: i64,
    /// Bytes written beyond the rate.
    debt: i64,
}

/// Number of marks per lag limit: the lag is known to about a sixteenth of its limit.
const MARKS: i64 = 16;

impl ThrottleState {
    /// Returns how long to wait until the server has written no more than `rate` bytes a second since the job began.
    pub fn wait_for_rate(&mut self, now: i64, place: i64, rate: i64) -> i64 {
        let debt = self.written.map_or(0, |w| {
            let allowed = i128::from(rate) * i128::from((now - w.at).max(0)) / 1000;
            let allowed = i64::try_from(allowed).unwrap_or(i64::MAX);
            (w.debt + (place - w.place).max(0))
                .saturating_sub(allowed)
                .max(0)
        });
        self.written = Some(WalBucket {
            at: now,
            place,
            debt,
        });
        i64::try_from(i128::from(debt) * 1000 / i128::from(rate.max(1))).unwrap_or(i64::MAX)
    }

    /// Returns how long ago the WAL was at the position that a standby has replayed, as far as that is known. `limit` is the
    /// value that the lag is compared with.
    pub fn lag(&mut self, now: i64, place: i64, replayed: i64, limit: i64) -> i64 {
        // Replayed marks are dropped: the first mark that is not replayed gives the lag.
        self.marks.retain(|(_, mark)| *mark > replayed);
        let due = self
            .marks
            .last()
            .is_none_or(|(at, mark)| *mark < place && now - at >= limit / MARKS);
        if due && place > replayed {
            self.marks.push((now, place));
        }
        self.marks.first().map_or(0, |(at, _)| now - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_too_fast_is_waited_for() {
        let mut seen = ThrottleState::default();
        assert_eq!(seen.wait_for_rate(0, 5000, 1000), 0);
        assert_eq!(seen.wait_for_rate(1000, 8000, 1000), 2000);
        assert_eq!(seen.wait_for_rate(2000, 8000, 1000), 1000);
        assert_eq!(seen.wait_for_rate(9000, 8000, 1000), 0);
        assert_eq!(seen.wait_for_rate(10_000, 8500, 1000), 0);
    }

    #[test]
    fn lag_is_the_age_of_what_is_not_replayed() {
        let mut seen = ThrottleState::default();
        assert_eq!(seen.lag(0, 100, 100, 1600), 0);
        assert_eq!(seen.lag(1000, 200, 100, 1600), 0);
        assert_eq!(seen.lag(2000, 300, 100, 1600), 1000);
        assert_eq!(seen.lag(2500, 300, 200, 1600), 500);
        assert_eq!(seen.lag(2600, 300, 300, 1600), 0);
    }

    #[test]
    fn a_standby_that_stands_still_keeps_few_marks() {
        let mut seen = ThrottleState::default();
        for now in 0..10_000 {
            seen.lag(now, now, 0, 1600);
        }
        assert!(seen.marks.len() <= 101, "{}", seen.marks.len());
        assert_eq!(seen.lag(10_000, 10_000, 0, 1600), 9999);
    }
}
