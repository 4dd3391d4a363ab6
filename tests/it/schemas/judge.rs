//! Whose an error is: the application's own, which the same statement would meet without us, or ours.

use super::catalog::Table;
use super::stage::Side;
use postgres::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Process numbers of all sessions of the application that ever were: a deadlock among them is theirs.
pub type Pids = Arc<Mutex<BTreeSet<i32>>>;

#[derive(Default, Debug, Clone)]
pub struct Errors {
    /// By SQLSTATE.
    pub own: BTreeMap<String, u64>,
    /// A constraint of the one side that the other side's row has broken: both sides are one table to the application.
    pub of_both_sides: BTreeMap<String, u64>,
    /// A trigger's function goes on writing an old table: mig_preflight has named it.
    pub foretold: u64,
    pub ours: Vec<String>,
    /// Codes and messages, without what changes from one to the next.
    pub seen: BTreeSet<String>,
}

impl Errors {
    pub fn add(&mut self, other: &Errors) {
        for (mine, theirs) in [
            (&mut self.own, &other.own),
            (&mut self.of_both_sides, &other.of_both_sides),
        ] {
            for (code, n) in theirs {
                *mine.entry(code.clone()).or_default() += n;
            }
        }
        self.foretold += other.foretold;
        self.ours.extend(other.ours.iter().cloned());
        self.seen.extend(other.seen.iter().cloned());
    }
}

#[derive(Clone)]
pub struct Judge {
    /// Old and new tables by their names, `schema.name`.
    pub old: BTreeSet<String>,
    pub new: BTreeSet<String>,
    /// What the application met before there was a migration.
    pub without_us: BTreeSet<String>,
    pub pids: Pids,
    /// Whether writes of either side reach the other at some time of this crew.
    pub both_live: bool,
    /// What mig_preflight says about triggers.
    pub about_triggers: String,
}

enum Verdict {
    Own,
    OfBothSides,
    Foretold,
    Ours,
}

impl Judge {
    pub fn new(moved: &[Table], new: BTreeSet<String>) -> Self {
        Self {
            old: moved.iter().map(Table::plain).collect(),
            new,
            without_us: BTreeSet::new(),
            pids: Pids::default(),
            both_live: false,
            about_triggers: String::new(),
        }
    }

    /// `written`: the side that the statement wrote.
    pub fn judge(&self, e: &Error, written: Side, statement: &str, to: &mut Errors) {
        let Some(d) = e.as_db_error() else {
            return to.ours.push(format!("{e} at {statement}"));
        };
        let code = d.code().code();
        let shape = format!("{code} {}", shape_of(d.message()));
        to.seen.insert(shape.clone());
        match self.verdict(d, &shape, written) {
            Verdict::Own => *to.own.entry(code.to_owned()).or_default() += 1,
            Verdict::OfBothSides => *to.of_both_sides.entry(code.to_owned()).or_default() += 1,
            Verdict::Foretold => to.foretold += 1,
            Verdict::Ours => to.ours.push(format!(
                "{code} {} ({}) [{}] <{}> at {statement}",
                d.message(),
                d.detail().unwrap_or_default(),
                d.hint().unwrap_or_default(),
                d.where_().unwrap_or_default()
            )),
        }
    }

    fn verdict(&self, d: &postgres::error::DbError, shape: &str, written: Side) -> Verdict {
        let code = d.code().code();
        let by_mirror = d.where_().is_some_and(|w| w.contains("mirror of "));
        let relation = match (d.schema(), d.table()) {
            (Some(s), Some(t)) => format!("{s}.{t}"),
            _ => String::new(),
        };
        let others = match written {
            Side::Old => &self.new,
            _ => &self.old,
        };
        match code {
            "40001" => Verdict::Own,
            "55000" if self.is_foretold(d.where_().unwrap_or_default()) => Verdict::Foretold,
            "40P01" if self.all_writers(d.detail().unwrap_or_default()) => Verdict::Own,
            "23505" | "23503" | "23P01" if by_mirror || others.contains(&relation) => {
                if self.both_live {
                    Verdict::OfBothSides
                } else {
                    Verdict::Ours
                }
            }
            _ if by_mirror || others.contains(&relation) => Verdict::Ours,
            _ if code.starts_with("23") || code.starts_with("22") || code == "P0001" => {
                Verdict::Own
            }
            _ if self.without_us.contains(shape) => Verdict::Own,
            _ => Verdict::Ours,
        }
    }

    /// Whether mig_preflight has named the function in which it happened.
    fn is_foretold(&self, context: &str) -> bool {
        let functions = context.split("PL/pgSQL function ").skip(1);
        functions
            .filter_map(|f| f.split(['(', '.']).next())
            .any(|f| self.about_triggers.contains(f))
    }

    /// Whether a deadlock's report names sessions of the application only.
    fn all_writers(&self, detail: &str) -> bool {
        let pids = self.pids.lock().expect("no writer panics");
        detail.split("Process ").skip(1).all(|part| {
            let pid = part.split_whitespace().next().and_then(|p| p.parse().ok());
            pid.is_some_and(|p: i32| pids.contains(&p))
        })
    }
}

/// Without names and numbers.
fn shape_of(message: &str) -> String {
    let outside: Vec<&str> = message.split('"').step_by(2).collect();
    outside.join("…").replace(|c: char| c.is_ascii_digit(), "")
}
