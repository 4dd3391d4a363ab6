//! What the statements of a migration file would do to a running application, and how to do the same without. The catalogue
//! of rules is common knowledge of the field (strong_migrations, online_migrations, squawk, and PostgreSQL's manual: ALTER TABLE,
//! CREATE INDEX, explicit locking); what is asked of the database is asked of this one.

pub mod facts;
mod locks;
mod rules;
pub mod statement;

use crate::ident::{Ident, Literal};
use facts::{Facts, Table};
use statement::{Act, Change, Lock, Rule, Statement, Written};

/// What is said of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub line: i32,
    pub statement: String,
    pub severity: &'static str,
    pub rule: &'static str,
    pub lock: Option<Lock>,
    pub detail: String,
    pub safer: Option<String>,
}

/// What a rule says.
#[derive(Debug)]
struct Hit {
    severity: &'static str,
    rule: &'static str,
    /// Where it is not the statement's own.
    lock: Option<Lock>,
    detail: String,
    safer: Option<String>,
}

const ERROR: &str = "error";
const WARNING: &str = "warning";
const INFO: &str = "info";

/// The way around what an application would notice of a change of a column: another one beside it, both kept in step.
fn beside(
    table: &Written,
    new: &Ident,
    of_type: &str,
    up: &str,
    old: Option<(&Ident, &str)>,
) -> String {
    let replaces = old.map_or_else(String::new, |(old, down)| {
        format!(", {}, replaces => {}", Literal(down), Literal(old.as_str()))
    });
    format!(
        "SELECT mig_define('columns');\nSELECT mig_add_column('columns', {}, {}, {}, {}{replaces});\n-- then mig_create, mig_dual_write, mig_backfill, mig_switch: old and new versions of the application write beside each other",
        Literal(&table.sql()),
        Literal(new.as_str()),
        Literal(of_type),
        Literal(up),
    )
}

impl Hit {
    fn new(severity: &'static str, rule: &'static str, detail: String) -> Self {
        Self {
            severity,
            rule,
            lock: None,
            detail,
            safer: None,
        }
    }

    fn safer(mut self, sql: impl Into<String>) -> Self {
        self.safer = Some(sql.into());
        self
    }
}

/// A file, up to the statement at hand.
struct File<'a> {
    facts: &'a Facts,
    in_transaction: bool,
    /// Tables that the file has made so far, in which nobody waits.
    made: Vec<Written>,
    /// Columns that it has added.
    added: Vec<(Written, String)>,
    /// Strong locks of the transaction that is open, and since which line.
    held: Vec<(Written, Lock, i32)>,
    /// Constraints that the transaction has added NOT VALID.
    unproved: Vec<String>,
    /// CHECKs that the file has added to keep a column from being null, and whether they are valid.
    checks: Vec<NotNull>,
    /// Values that the transaction has added to enums.
    values: bool,
    lock_timeout: bool,
    told_timeout: bool,
}

struct NotNull {
    table: Written,
    column: String,
    check: String,
    valid: bool,
}

/// All findings, in the file's order; at least one for each statement.
pub fn lint(statements: &[Statement], facts: &Facts) -> Vec<Finding> {
    let mut file = File::new(facts);
    let mut found = Vec::new();
    for s in statements {
        let hits: Vec<Hit> = rules::ALL.iter().flat_map(|rule| rule(&file, s)).collect();
        let own = locks::strongest(s);
        let none = hits.is_empty().then(|| file.nothing_to_say(s));
        found.extend(hits.into_iter().chain(none).map(|h| Finding {
            line: s.line,
            statement: s.text.clone(),
            severity: h.severity,
            rule: h.rule,
            lock: h.lock.or(own),
            detail: h.detail,
            safer: h.safer,
        }));
        file.pass(s);
    }
    found
}

/// All names of tables, indexes and views that the statements use.
pub fn tables(statements: &[Statement]) -> Vec<Written> {
    let all = statements.iter().flat_map(|s| locks::of(&s.act));
    all.map(|(table, _)| table).collect()
}

impl<'a> File<'a> {
    fn new(facts: &'a Facts) -> Self {
        Self {
            facts,
            in_transaction: false,
            made: Vec::new(),
            added: Vec::new(),
            held: Vec::new(),
            unproved: Vec::new(),
            checks: Vec::new(),
            values: false,
            lock_timeout: facts.lock_timeout_ms > 0,
            told_timeout: false,
        }
    }

    /// A table that the database has, and the file has not made.
    fn table(&self, written: &Written) -> Option<&'a Table> {
        if self.is_new(written) {
            return None;
        }
        self.facts.tables.iter().find(|t| t.is(written))
    }

    fn is_new(&self, written: &Written) -> bool {
        self.made.iter().any(|m| m.name == written.name)
    }

    fn has_added(&self, table: &Written, column: &str) -> bool {
        self.added
            .iter()
            .any(|(t, c)| t.name == table.name && c == column)
    }

    /// Whether whatever is done to the table is over before anybody notices.
    fn is_quick(&self, written: &Written) -> bool {
        self.is_new(written) || self.table(written).is_some_and(Table::is_small)
    }

    /// How bad it is that all of the table is read or written under a lock.
    fn severity(&self, written: &Written) -> &'static str {
        if self.is_quick(written) {
            INFO
        } else {
            WARNING
        }
    }

    /// `about 1,000,000 rows, 96 MB, some 12 seconds`.
    fn work(&self, written: &Written, rewrite: bool) -> String {
        match self.table(written) {
            Some(t) => format!("{}: {} here", t.size(), t.time(rewrite)),
            None => "this database has no such table, so how long that takes is not known".into(),
        }
    }

    fn pass(&mut self, s: &Statement) {
        match &s.act {
            Act::Begin => self.in_transaction = true,
            Act::Commit | Act::Rollback => {
                self.in_transaction = false;
                self.held.clear();
                self.unproved.clear();
                self.values = false;
            }
            Act::Set { name, value } if name == "lock_timeout" => {
                self.lock_timeout = value.as_deref().is_some_and(|v| v != "0");
            }
            Act::CreateTable { table, .. } => self.made.push(table.clone()),
            Act::AlterEnum { added, .. } => self.values |= added.is_some(),
            Act::AlterTable { table, changes, .. } => {
                for change in changes {
                    self.pass_change(table, change);
                }
            }
            _ => {}
        }
        for (table, lock) in locks::of(&s.act) {
            if self.in_transaction && lock.stops_writes() && !self.is_new(&table) {
                self.held.push((table, lock, s.line));
            }
        }
        self.told_timeout |= locks::strongest(s).is_some_and(Lock::stops_writes);
    }

    fn pass_change(&mut self, table: &Written, change: &Change) {
        match change {
            Change::AddColumn(column) => self.added.push((table.clone(), column.name.clone())),
            Change::Add(c) => {
                let name = constraint_name(table, c.name.as_ref(), &c.rule);
                if let Rule::Check {
                    not_null: Some(column),
                } = &c.rule
                {
                    self.checks.push(NotNull {
                        table: table.clone(),
                        column: column.clone(),
                        check: name.as_str().to_owned(),
                        valid: !c.not_valid,
                    });
                }
                if c.not_valid && self.in_transaction {
                    self.unproved.push(name.as_str().to_owned());
                }
            }
            Change::Validate { constraint } => {
                for c in &mut self.checks {
                    c.valid |= c.check == *constraint;
                }
            }
            _ => {}
        }
    }

    /// The line of a statement that no rule has to say anything of: its lock.
    fn nothing_to_say(&self, s: &Statement) -> Hit {
        let tables = locks::of(&s.act);
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
        Hit::new(INFO, "lock", detail)
    }
}

/// A name for a constraint that has none in the file, as PostgreSQL would make it.
fn constraint_name(table: &Written, name: Option<&String>, rule: &Rule) -> Ident {
    if let Some(name) = name {
        return Ident::new(name.as_str());
    }
    let (columns, ending): (&[String], &str) = match rule {
        Rule::Check { .. } => (&[], "check"),
        Rule::Unique { columns, .. } => (columns, "key"),
        Rule::Primary { .. } => (&[], "pkey"),
        Rule::Foreign { columns, .. } => (columns, "fkey"),
        Rule::Exclusion => (&[], "excl"),
    };
    let parts = std::iter::once(table.name.as_str()).chain(columns.iter().map(String::as_str));
    Ident::derived(&parts.chain([ending]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
