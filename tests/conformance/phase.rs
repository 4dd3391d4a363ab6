//! The phase that the tables of a spec or a script are in while it runs.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Without a migration.
    Plain,
    DualWrite,
    Backfilled,
    /// After the switch; the old tables are written.
    SwitchedOld,
    /// After the switch; the new tables are written.
    SwitchedNew,
}

impl Phase {
    pub const MIRRORED: [Phase; 4] = [
        Phase::DualWrite,
        Phase::Backfilled,
        Phase::SwitchedOld,
        Phase::SwitchedNew,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Plain => "plain",
            Phase::DualWrite => "dual_write",
            Phase::Backfilled => "backfilled",
            Phase::SwitchedOld => "switched_old",
            Phase::SwitchedNew => "switched_new",
        }
    }

    /// Statements that bring the tables that there are into the phase, each for a transaction of its own.
    pub fn enter(self, name: &str) -> Vec<String> {
        let mut statements = Vec::new();
        if self > Phase::Plain {
            statements.push(format!(
                "DO $$ BEGIN PERFORM conformance.begin('{name}'); END $$;"
            ));
        }
        if self > Phase::DualWrite {
            statements.push("CALL conformance.copy();".to_owned());
        }
        if self > Phase::Backfilled {
            statements.push("DO $$ BEGIN PERFORM conformance.switch(); END $$;".to_owned());
        }
        statements
    }

    /// A statement that compares both sides and removes the migration.
    pub fn leave(name: &str) -> String {
        format!("DO $$ BEGIN PERFORM conformance.finish('{name}'); END $$;")
    }
}
