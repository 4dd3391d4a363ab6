//! What the statements of a migration file would do to a running application, and how to do the same without. The catalogue
//! of rules is common knowledge of the field (strong_migrations, online_migrations, squawk, and PostgreSQL's manual: ALTER TABLE,
//! CREATE INDEX, explicit locking); what is asked of the database is asked of this one.

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

/// What is said of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct LintFinding {
    pub line: i32,
    /// Its text, cut where it is very long.
    pub statement: Rc<str>,
    pub severity: &'static str,
    pub rule: &'static str,
    pub lock: Option<TableLock>,
    pub detail: String,
    pub safer: Option<String>,
}

/// What a rule says.
#[derive(Debug)]
struct RuleHit {
    severity: &'static str,
    rule: &'static str,
    /// Where it is not the statement's own.
    lock: Option<TableLock>,
    detail: String,
    safer: Option<String>,
}

/// Findings of one call. Whoever has more has no use for them all, and they have to be kept in memory.
const MOST: usize = 100_000;
/// Findings of one statement: each carries its text.
const MOST_OF_ONE: usize = 100;
/// Bytes of a statement's text that each of its findings shows.
const MOST_TEXT: usize = 10_000;

const ERROR: &str = "error";
const WARNING: &str = "warning";
const INFO: &str = "info";

/// The way around what an application would notice of a change of a column: another one beside it, both kept in step.
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

/// Reads a file statement by statement.
#[derive(Default)]
pub struct Linter {
    file: File,
    found: Vec<LintFinding>,
}

impl Linter {
    /// What the database knows of the names in the statements that come next.
    pub fn learn(&mut self, facts: LintFacts) {
        self.file.learn(facts);
    }

    /// False where there are findings enough: what follows is not looked at.
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

    /// All findings, in the file's order; at least one for each statement that was read.
    pub fn findings(self) -> Vec<LintFinding> {
        self.found
    }
}

/// All names of tables, indexes and views that the statements use.
pub fn tables(statements: &[LintStatement]) -> Vec<WrittenName> {
    let all = statements.iter().flat_map(|s| locks::locked_tables(&s.act));
    all.map(|(table, _)| table).collect()
}

/// A name for a constraint that has none in the file, as PostgreSQL would make it.
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
