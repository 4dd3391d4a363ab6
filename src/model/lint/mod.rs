//! Lint: what the statements of a migration file would do to a running application, and safer alternatives. The rules are
//! common knowledge of the field (strong_migrations, online_migrations, squawk, and PostgreSQL's manual: ALTER TABLE, CREATE
//! INDEX, explicit locking). Facts about tables come from the current database.

pub mod facts;
mod file;
mod locks;
mod rules;
pub mod statement;

use crate::error::brief;
use crate::ident::{Ident, Literal};
use facts::LintFacts;
use file::File;
use statement::{ConstraintRule, LintStatement, TableLock, WrittenName};
use std::rc::Rc;

/// One finding about a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct LintFinding {
    pub line: i32,
    /// The statement's text, cut where it is very long.
    pub statement: Rc<str>,
    pub severity: &'static str,
    pub rule: &'static str,
    pub lock: Option<TableLock>,
    pub detail: String,
    pub safer: Option<String>,
}

/// The result of a rule.
#[derive(Debug)]
struct RuleHit {
    severity: &'static str,
    rule: &'static str,
    /// Set where it differs from the statement's own lock.
    lock: Option<TableLock>,
    detail: String,
    safer: Option<String>,
}

/// Maximum number of findings per call: more are of no use, and all of them are kept in memory.
const MOST: usize = 100_000;
/// Maximum number of findings per statement: each refers to the statement's text.
const MOST_OF_ONE: usize = 100;
/// Maximum number of bytes of a statement's text that a finding shows.
const MOST_TEXT: usize = 10_000;

const ERROR: &str = "error";
const WARNING: &str = "warning";
const INFO: &str = "info";

/// Suggests a new column beside the old one, with both synchronized, instead of a column change that the application would
/// notice.
fn advise_new_column(
    table: &WrittenName,
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

impl RuleHit {
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

/// Checks a file statement by statement.
#[derive(Default)]
pub struct Linter {
    file: File,
    found: Vec<LintFinding>,
}

impl Linter {
    /// Takes what the database knows about the names in the next statements.
    pub fn learn(&mut self, facts: LintFacts) {
        self.file.learn(facts);
    }

    /// Checks one statement. Returns false where the limit of findings is reached; later statements are not checked.
    pub fn read(&mut self, s: &LintStatement) -> bool {
        let text: Rc<str> = brief(s.text.clone(), MOST_TEXT).into();
        if self.found.len() >= MOST {
            let finding = file::too_many(MOST).into_finding(s, &text, None);
            self.found.push(finding);
            return false;
        }
        let mut hits: Vec<RuleHit> = rules::ALL
            .iter()
            .flat_map(|rule| rule(&self.file, s))
            .collect();
        if hits.len() > MOST_OF_ONE {
            let more = file::summary_of_rest(hits.len() - MOST_OF_ONE);
            hits.truncate(MOST_OF_ONE);
            hits.push(more);
        }
        if hits.is_empty() {
            hits.push(self.file.nothing_to_say(s));
        }
        let own = locks::strongest(s);
        let all = hits.into_iter().map(|hit| hit.into_finding(s, &text, own));
        self.found.extend(all);
        self.file.pass(s);
        true
    }

    /// All findings in file order; at least one for each statement that was checked.
    pub fn findings(self) -> Vec<LintFinding> {
        self.found
    }
}

/// All names of tables, indexes and views that the statements use.
pub fn tables(statements: &[LintStatement]) -> Vec<WrittenName> {
    let all = statements.iter().flat_map(|s| locks::locked_tables(&s.act));
    all.map(|(table, _)| table).collect()
}

/// The name of a constraint; where the file gives none, the name that PostgreSQL would choose.
fn constraint_name(table: &WrittenName, name: Option<&String>, rule: &ConstraintRule) -> Ident {
    if let Some(name) = name {
        return Ident::new(name.as_str());
    }
    let (columns, ending): (&[String], &str) = match rule {
        ConstraintRule::Check { .. } => (&[], "check"),
        ConstraintRule::Unique { columns, .. } => (columns, "key"),
        ConstraintRule::Primary { .. } => (&[], "pkey"),
        ConstraintRule::Foreign { columns, .. } => (columns, "fkey"),
        ConstraintRule::Exclusion => (&[], "excl"),
    };
    let parts = std::iter::once(table.name.as_str()).chain(columns.iter().map(String::as_str));
    Ident::derive(&parts.chain([ending]).collect::<Vec<_>>())
}

#[cfg(test)]
fn lint(statements: &[LintStatement], facts: &LintFacts) -> Vec<LintFinding> {
    let mut linter = Linter::default();
    linter.learn(facts.clone());
    statements.iter().all(|s| linter.read(s));
    linter.findings()
}

#[cfg(test)]
#[path = "chance/tests.rs"]
mod chance;
#[cfg(test)]
mod tests;
