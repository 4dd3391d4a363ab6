//! Where a migration stands, and which way it may go.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Defined,
    Created,
    DualWrite,
    Backfilled,
    Switched,
    Stopped,
    Archived,
}

impl Phase {
    pub const ALL: [Phase; 7] = [
        Phase::Defined,
        Phase::Created,
        Phase::DualWrite,
        Phase::Backfilled,
        Phase::Switched,
        Phase::Stopped,
        Phase::Archived,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Defined => "defined",
            Phase::Created => "created",
            Phase::DualWrite => "dual_write",
            Phase::Backfilled => "backfilled",
            Phase::Switched => "switched",
            Phase::Stopped => "stopped",
            Phase::Archived => "archived",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }

    /// The phase that `mig_rollback` without a target goes to.
    pub fn previous(self) -> Option<Phase> {
        match self {
            Phase::Defined => None,
            Phase::Created => Some(Phase::Defined),
            Phase::DualWrite | Phase::Backfilled => Some(Phase::Created),
            Phase::Switched => Some(Phase::Backfilled),
            Phase::Stopped => Some(Phase::Switched),
            Phase::Archived => Some(Phase::Stopped),
        }
    }

    /// Which side applications should read.
    pub fn reads(self) -> &'static str {
        if self < Phase::Switched { "old" } else { "new" }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_way_back_to_the_start() {
        for phase in Phase::ALL {
            let mut steps = 0;
            let mut at = phase;
            while let Some(back) = at.previous() {
                assert!(back < at);
                at = back;
                steps += 1;
            }
            assert_eq!(at, Phase::Defined);
            assert!(steps <= 5);
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
    }
}
