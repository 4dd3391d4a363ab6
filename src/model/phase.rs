//! The phase of a migration, and the allowed transitions.

use crate::model::text_enum::text_enum;

text_enum! {
    pub enum Phase {
        Defined = "defined",
        Created = "created",
        DualWrite = "dual_write",
        Backfilled = "backfilled",
        Switched = "switched",
        Stopped = "stopped",
        Archived = "archived",
    }
}

impl Phase {
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

    /// The side that applications should read.
    pub fn reads(self) -> &'static str {
        if self < Phase::Switched { "old" } else { "new" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_way_back_to_the_start() {
        for &phase in Phase::ALL {
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
