//! A migration of parents and children in one phase, and the same tables without mirrors.

use super::cases::Case;
use super::turns::{Trace, play_case};
use crate::common::cluster::Cluster;
use crate::race::session::Session;
use postgres::Client;
use std::fmt;

/// A phase in which mirrors live, and how a family gets there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    DualWrite,
    Backfilled,
    Switched,
}

/// Half of the rows before the backfill.
const NOT_COPIED: &str = "DELETE FROM new.p WHERE id = 1; DELETE FROM new.q WHERE id = 2; DELETE FROM new.c WHERE id = 3; DELETE FROM new.d WHERE id = 1";
const UNCOPIED: &[&str] = &["p(1,old)", "q(2,old)", "c(3,3,old)", "d(1,1,2,old)"];

/// Rows that are gone do not split the pages of an index, for which predicate locks are taken.
const VACUUM: &str = "VACUUM (INDEX_CLEANUP ON) plain.p, plain.q, plain.c, plain.d, old.p, old.q, old.c, old.d, new.p, new.q, new.c, new.d";

pub struct Stage {
    pub control: Client,
    sessions: Vec<Session>,
    phase: Phase,
    plays: usize,
}

/// What a case came to.
pub struct Outcome {
    pub traces: Vec<Trace>,
    /// The rows at its end.
    pub rows: Vec<String>,
    /// Between both sides.
    pub differences: i64,
}

impl Outcome {
    /// What each session's transaction failed with, if it did.
    pub fn list_errors(&self) -> Vec<Option<&str>> {
        self.traces.iter().map(Trace::find_error).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let traces: Vec<_> = self.traces.iter().map(Trace::to_string).collect();
        write!(f, "{} {:?}", traces.join(" "), self.rows)
    }
}

impl Stage {
    pub fn open(cluster: &Cluster, database: &str, phase: Phase) -> Self {
        let mut control = cluster.database(database);
        control
            .batch_execute(include_str!("family.sql"))
            .expect("the stage stands");
        let calls: &[&str] = match phase {
            Phase::DualWrite => &["SELECT mig_dual_write()"],
            Phase::Backfilled => &["SELECT mig_dual_write()", "CALL mig_run()"],
            Phase::Switched => &[
                "SELECT mig_dual_write()",
                "CALL mig_run()",
                "SELECT mig_switch()",
            ],
        };
        for call in calls {
            control.batch_execute(call).expect("the phase is reached");
        }
        let sessions = (0..3).map(|_| Self::open_session(cluster, database));
        Self {
            sessions: sessions.collect(),
            control,
            phase,
            plays: 0,
        }
    }

    /// A session that finds rows by their keys, as in large tables, and that waits no longer than it must for a deadlock to be seen.
    fn open_session(cluster: &Cluster, database: &str) -> Session {
        let mut session = Session::open(cluster, database);
        session
            .run("SET enable_seqscan = off; SET deadlock_timeout = '50ms'")
            .expect("sets");
        session
    }

    /// Plays a case with the session n in the schema n.
    pub fn play(&mut self, case: &Case, schemas: [&str; 3]) -> Outcome {
        let is_plain = schemas[0] == "plain";
        let fill = if is_plain { "plain" } else { "old" };
        self.plays += 1;
        if self.plays.is_multiple_of(20) {
            self.control.batch_execute(VACUUM).expect("cleans");
        }
        let reset = format!("SET search_path = {fill}, public; SELECT public.fill_family()");
        self.control.batch_execute(&reset).expect("fills");
        if self.phase == Phase::DualWrite && !is_plain {
            self.control.batch_execute(NOT_COPIED).expect("takes back");
        }
        let traces = play_case(&mut self.sessions, &mut self.control, case, &schemas);
        Outcome {
            traces,
            rows: self.read_rows(fill),
            differences: self.count_differences(),
        }
    }

    fn read_rows(&mut self, schema: &str) -> Vec<String> {
        let query = "SELECT public.read_family($1)";
        self.control
            .query_one(query, &[&schema])
            .expect("reads")
            .get(0)
    }

    fn count_differences(&mut self) -> i64 {
        let uncopied = match self.phase {
            Phase::DualWrite => UNCOPIED,
            _ => &[],
        };
        let query = "SELECT public.family_differences($1)";
        self.control
            .query_one(query, &[&uncopied])
            .expect("compares")
            .get(0)
    }
}
