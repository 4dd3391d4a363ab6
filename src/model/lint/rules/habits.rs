//! Rules for choices that are cheap now and expensive later.

use crate::model::lint::statement::{
    Act, ColumnDefinition, ConstraintRule, LintStatement, TableChange,
};
use crate::model::lint::{File, INFO, RuleHit, WARNING};

pub fn columns(_: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::CreateTable {
            columns,
            temporary: false,
            ..
        } => columns.iter().filter_map(of_column).collect(),
        Act::AlterTable { changes, .. } => changes
            .iter()
            .filter_map(|c| match c {
                TableChange::AddColumn(column) => of_column(column),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn of_column(column: &ColumnDefinition) -> Option<RuleHit> {
    let is_key = column
        .constraints
        .iter()
        .any(|c| matches!(c.rule, ConstraintRule::Primary { .. }));
    let name = &column.name;
    let (rule, detail) = match column.kind.name.as_str() {
        "int2" | "int4" | "serial" | "serial4" | "smallserial" | "serial2" if is_key => (
            "prefer-bigint",
            format!(
                "key {name} ends at {} rows; to widen it later rewrites the table and all tables that refer to it",
                if column.kind.name.contains('2') || column.kind.name.contains("small") {
                    "32,767"
                } else {
                    "2,147,483,647"
                }
            ),
        ),
        "json" => (
            "prefer-jsonb",
            format!("{name} json cannot be compared: SELECT DISTINCT and GROUP BY fail with 42883"),
        ),
        "timestamp" => (
            "prefer-timestamptz",
            format!("{name} does not say in which time zone its times are"),
        ),
        "bpchar" => (
            "prefer-text",
            format!(
                "{name} char(n) is padded with blanks; text with a CHECK of its length can be changed without rewriting the table"
            ),
        ),
        _ => return None,
    };
    Some(RuleHit::new(INFO, rule, detail))
}

/// Two locks on the same relation do not imply that one waits for the other: pg_blocking_pids() knows.
pub fn lock_query(_: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Select { from, calls, .. } = &s.act else {
        return Vec::new();
    };
    let locks = from.iter().filter(|t| t.name == "pg_locks").count();
    if locks < 2 || calls.iter().any(|c| c == "pg_blocking_pids") {
        return Vec::new();
    }
    vec![
        RuleHit::new(
            WARNING,
            "lock-pairs",
            "pg_locks joined to itself pairs sessions that do not wait for each other: it knows nothing of which modes conflict, nor of the queue".into(),
        )
        .safer("SELECT * FROM mig.blockers; -- or pg_blocking_pids(pid)"),
    ]
}
