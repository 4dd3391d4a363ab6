//! The state of a file up to the current statement: what it has created, and what its open transaction holds. Every question is
//! answered without a scan of the earlier statements, so the time is linear in the length of the file.

use super::facts::{LintFacts, TableFact};
use super::statement::{Act, ConstraintRule, LintStatement, TableChange, TableLock, WrittenName};
use super::{INFO, LintFinding, RuleHit, WARNING, constraint_name, locks};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What rules can ask about the earlier statements.
#[derive(Default)]
pub struct File {
    pub facts: LintFacts,
    /// Index of each table in `facts`.
    known: HashMap<WrittenName, usize>,
    /// Whether any facts have been given.
    begun: bool,
    pub in_transaction: bool,
    /// Names of tables that the file has created so far; no application uses them yet.
    made: HashSet<String>,
    /// Columns that the file has added, as (table, column).
    added: HashSet<(String, String)>,
    /// Tables on which the open transaction holds strong locks, and the strongest of these locks.
    held: HashSet<WrittenName>,
    pub strongest: Option<HeldLock>,
    /// Constraints that the transaction has added NOT VALID.
    pub unproved: HashSet<String>,
    /// Columns that a CHECK of the file keeps from being null, as (table, column).
    proved: HashSet<(String, String)>,
    /// The same for CHECKs that are not validated yet, by constraint name.
    waiting: HashMap<String, Vec<(String, String)>>,
    /// Whether the transaction has added enum values.
    pub values: bool,
    pub lock_timeout: bool,
    pub told_timeout: bool,
}

/// A lock of the open transaction, and the line of the statement that took it.
pub struct HeldLock {
    pub table: WrittenName,
    pub lock: TableLock,
    pub line: i32,
}

impl File {
    /// Takes what the database knows about the names in the next statements.
    pub fn learn(&mut self, facts: LintFacts) {
        if !self.begun {
            self.begun = true;
            self.lock_timeout = facts.lock_timeout_ms > 0;
        }
        let tables = facts.tables.iter().enumerate();
        self.known = tables.map(|(n, t)| (t.as_written(), n)).collect();
        self.facts = facts;
    }

    /// Returns a table that exists in the database and was not created by the file.
    pub fn table(&self, written: &WrittenName) -> Option<&TableFact> {
        if self.is_new(written) {
            return None;
        }
        self.facts.tables.get(*self.known.get(written)?)
    }

    pub fn is_new(&self, written: &WrittenName) -> bool {
        self.made.contains(&written.name)
    }

    pub fn has_added(&self, table: &WrittenName, column: &str) -> bool {
        self.added
            .contains(&(table.name.clone(), column.to_owned()))
    }

    pub fn has_proved(&self, table: &WrittenName, column: &str) -> bool {
        self.proved
            .contains(&(table.name.clone(), column.to_owned()))
    }

    pub fn holds(&self, table: &WrittenName) -> bool {
        self.held.contains(table)
    }

    /// Whether any work on the table is too short to matter.
    pub fn is_quick(&self, written: &WrittenName) -> bool {
        self.is_new(written) || self.table(written).is_some_and(TableFact::is_small)
    }

    /// The severity of a full scan or rewrite of the table under a lock.
    pub fn severity(&self, written: &WrittenName) -> &'static str {
        if self.is_quick(written) {
            INFO
        } else {
            WARNING
        }
    }

    /// Returns for example `about 1,000,000 rows, 96 MB, some 12 seconds`.
    pub fn work(&self, written: &WrittenName, rewrite: bool) -> String {
        match self.table(written) {
            Some(t) => format!("{}: {} here", t.size(), t.time(rewrite)),
            None => "this database has no such table, so how long that takes is not known".into(),
        }
    }

    pub fn pass(&mut self, s: &LintStatement) {
        match &s.act {
            Act::Begin => self.in_transaction = true,
            Act::Commit | Act::Rollback => {
                self.in_transaction = false;
                self.held.clear();
                self.strongest = None;
                self.unproved.clear();
                self.values = false;
            }
            Act::Set { name, value } if name == "lock_timeout" => {
                self.lock_timeout = value.as_deref().is_some_and(|v| v != "0");
            }
            Act::CreateTable { table, .. } => {
                self.made.insert(table.name.clone());
            }
            Act::AlterEnum { added, .. } => self.values |= added.is_some(),
            Act::AlterTable { table, changes, .. } => {
                for change in changes {
                    self.pass_change(table, change);
                }
            }
            _ => {}
        }
        for (table, lock) in locks::locked_tables(&s.act) {
            if self.in_transaction && lock.stops_writes() && !self.is_new(&table) {
                self.hold(table, lock, s.line);
            }
        }
        self.told_timeout |= locks::strongest(s).is_some_and(TableLock::stops_writes);
    }

    fn hold(&mut self, table: WrittenName, lock: TableLock, line: i32) {
        self.held.insert(table.clone());
        if self.strongest.as_ref().is_none_or(|h| h.lock <= lock) {
            self.strongest = Some(HeldLock { table, lock, line });
        }
    }

    fn pass_change(&mut self, table: &WrittenName, change: &TableChange) {
        match change {
            TableChange::AddColumn(column) => {
                self.added.insert((table.name.clone(), column.name.clone()));
            }
            TableChange::Add(c) => {
                let name = constraint_name(table, c.name.as_ref(), &c.rule);
                let name = name.as_str().to_owned();
                if let ConstraintRule::Check {
                    not_null: Some(column),
                } = &c.rule
                {
                    let kept = (table.name.clone(), column.clone());
                    match c.not_valid {
                        true => self.waiting.entry(name.clone()).or_default().push(kept),
                        false => drop(self.proved.insert(kept)),
                    }
                }
                if c.not_valid && self.in_transaction {
                    self.unproved.insert(name);
                }
            }
            TableChange::Validate { constraint } => {
                let kept = self.waiting.remove(constraint);
                self.proved.extend(kept.into_iter().flatten());
            }
            _ => {}
        }
    }

    /// The finding for a statement that no rule applies to: its lock.
    pub fn nothing_to_say(&self, s: &LintStatement) -> RuleHit {
        let tables = locks::locked_tables(&s.act);
        let detail = match (&s.act, tables.as_slice()) {
            (_, []) => "no lock that an application waits for".to_owned(),
            (_, all) => {
                let each = all.iter().map(|(t, lock)| {
                    let new = if self.is_new(t) { ", which is new" } else { "" };
                    format!("{} on {}{new}", lock.as_str(), t.plain())
                });
                let all = each.collect::<Vec<_>>().join(", ");
                match self.in_transaction {
                    true => format!("{all}, until the transaction ends"),
                    false => format!("{all}, for a moment"),
                }
            }
        };
        RuleHit::new(INFO, "lock", detail)
    }
}

impl RuleHit {
    /// Turns the hit into a finding of a statement whose own lock is `own`.
    pub fn into_finding(
        self,
        s: &LintStatement,
        text: &Rc<str>,
        own: Option<TableLock>,
    ) -> LintFinding {
        LintFinding {
            line: s.line,
            statement: Rc::clone(text),
            severity: self.severity,
            rule: self.rule,
            lock: self.lock.or(own),
            detail: self.detail,
            safer: self.safer,
        }
    }
}

/// The finding that replaces the further findings of one statement.
pub fn summary_of_rest(left_out: usize) -> RuleHit {
    let detail = format!(
        "{left_out} more findings of this statement are not shown: give it in parts to see them"
    );
    RuleHit::new(WARNING, "more-findings", detail)
}

/// The last finding, where the rest of the file is not checked.
pub fn too_many(limit: usize) -> RuleHit {
    let detail = format!(
        "the file has more than the {limit} findings that one call gives: from here on it was not looked at; give it in parts"
    );
    RuleHit::new(WARNING, "more-findings", detail)
}
