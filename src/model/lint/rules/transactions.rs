//! Rules for what belongs into one transaction, and what does not.

use crate::model::lint::statement::{Act, BlockCheck, LintStatement, TableLock};
use crate::model::lint::{ERROR, File, INFO, RuleHit, WARNING, locks};

pub fn invalid(_: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::Invalid { message } => vec![RuleHit::new(ERROR, "syntax", message.clone())],
        Act::Unread { why } => vec![RuleHit::new(
            WARNING,
            "not-read",
            format!("not looked at: {why}"),
        )],
        Act::Meta => vec![RuleHit::new(
            INFO,
            "psql-command",
            "psql runs this, not the server; it was not looked at".into(),
        )],
        _ => Vec::new(),
    }
}

/// Commands that cannot run in a transaction block.
pub fn check_not_in_transaction(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let must = match &s.act {
        Act::CreateIndex { concurrently, .. }
        | Act::Reindex { concurrently, .. }
        | Act::Drop { concurrently, .. } => *concurrently,
        Act::VacuumFull { .. } | Act::Alone => true,
        Act::AlterTable { changes, .. } => changes.iter().any(|c| {
            matches!(
                c,
                crate::model::lint::statement::TableChange::Detach { concurrently: true }
            )
        }),
        _ => false,
    };
    if !must || !file.in_transaction {
        return Vec::new();
    }
    vec![
        RuleHit::new(
            ERROR,
            "not-in-a-transaction",
            format!(
                "{} cannot run inside a transaction block: it fails with 25001, and what comes before it is rolled back",
                s.tag
            ),
        )
        .safer(format!("COMMIT; -- then, on its own:\n{};", s.text)),
    ]
}

/// A strong lock is held until the end of its transaction, no matter what follows.
pub fn check_held_locks(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Some(held) = &file.strongest else {
        return Vec::new();
    };
    let (table, lock, line) = (&held.table, held.lock, held.line);
    if long_work(file, s) {
        return vec![
            RuleHit::new(
                WARNING,
                "long-work-under-lock",
                format!(
                    "the transaction holds {} on {} since line {line}: {} wait until all of this is done, too",
                    lock.as_str(),
                    table.plain(),
                    lock.blocks()
                ),
            )
            .safer(format!("COMMIT; -- the lock of line {line} is let go\nBEGIN;\n{};", s.text)),
        ];
    }
    let mine = locks::locked_tables(&s.act);
    let other = mine
        .iter()
        .find(|(t, l)| *l == TableLock::AccessExclusive && t != table && !file.is_new(t));
    match other {
        Some((other, _)) if lock == TableLock::AccessExclusive && !file.holds(other) => vec![
            RuleHit::new(
                INFO,
                "several-tables-locked",
                format!(
                    "{} is locked since line {line}, and is so while this waits for {}: a transaction that uses both the other way round ends in a deadlock",
                    table.plain(),
                    other.plain()
                ),
            )
            .safer(format!("COMMIT; -- one table for each transaction\nBEGIN;\n{};", s.text)),
        ],
        _ => Vec::new(),
    }
}

fn long_work(file: &File, s: &LintStatement) -> bool {
    match &s.act {
        Act::Update {
            table, everything, ..
        }
        | Act::Delete { table, everything } => *everything && !file.is_quick(table),
        Act::Insert { from_query, .. } => *from_query,
        Act::CreateIndex {
            table,
            concurrently: false,
            ..
        } => !file.is_quick(table),
        _ => false,
    }
}

/// A statement that waits for a strong lock makes all later lock requests wait behind it.
pub fn timeout(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    if file.lock_timeout || file.told_timeout {
        return Vec::new();
    }
    let waits = locks::locked_tables(&s.act)
        .into_iter()
        .find(|(t, lock)| lock.stops_writes() && !file.is_new(t));
    waits
        .map(|(table, lock)| {
            RuleHit::new(
                WARNING,
                "no-lock-timeout",
                format!(
                    "{} on {} waits for the longest transaction that uses the table, and everybody else waits behind it; said once for the file",
                    lock.as_str(),
                    table.plain()
                ),
            )
            .safer("SET lock_timeout = '500ms'; -- and run the statement again when it fails with 55P03")
        })
        .into_iter()
        .collect()
}

/// Bodies of functions and DO blocks.
pub fn programs(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::Function {
            body,
            language,
            procedure: false,
        } if language == "plpgsql" && ends_transactions(body) => vec![
            RuleHit::new(
                ERROR,
                "commit-in-a-function",
                "a function runs inside its caller's statement and cannot end the transaction: it fails with 2D000 at the first COMMIT".into(),
            )
            .safer("CREATE PROCEDURE …, called by CALL outside a transaction block; or the batches of SELECT mig_backfill();"),
        ],
        Act::Do {
            checked: BlockCheck::Wrong(message),
            ..
        } => vec![RuleHit::new(
            ERROR,
            "syntax",
            format!("in the block: {message}"),
        )],
        Act::Do {
            checked: BlockCheck::TooLong,
            ..
        } => vec![RuleHit::new(
            WARNING,
            "not-read",
            "the block is too long to be checked".into(),
        )],
        Act::Do { body, language, .. } if language == "plpgsql" => block(file, body),
        _ => Vec::new(),
    }
}

fn block(file: &File, body: &str) -> Vec<RuleHit> {
    let bare = without_strings(body);
    let has = |word: &str| words(&bare).any(|w| w == word);
    if ends_transactions(body) {
        return file
            .in_transaction
            .then(|| {
                RuleHit::new(
                    ERROR,
                    "not-in-a-transaction",
                    "the block ends transactions, which fails with 2D000 inside a transaction block".into(),
                )
            })
            .into_iter()
            .collect();
    }
    if has("loop") && (has("update") || has("delete") || has("insert")) {
        return vec![
            RuleHit::new(
                WARNING,
                "loop-without-commit",
                "all batches of the loop are one transaction: each row stays locked to its end, and VACUUM cannot remove dead rows until then".into(),
            )
            .safer("COMMIT; at the end of each batch (the block then has to be outside a transaction); or the batches of SELECT mig_backfill();"),
        ];
    }
    Vec::new()
}

fn ends_transactions(body: &str) -> bool {
    let bare = without_strings(body);
    words(&bare).any(|w| w == "commit" || w == "rollback")
}

/// Returns the text outside strings and comments, in lower case.
fn without_strings(body: &str) -> String {
    let mut bare = String::new();
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '\'' => rest[1..].find('\'').map(|n| n + 2),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|n| n + 2),
            _ => {
                bare.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        bare.push(' ');
        rest = skipped.map_or("", |n| &rest[n..]);
    }
    bare.make_ascii_lowercase();
    bare
}

fn words(bare: &str) -> impl Iterator<Item = &str> {
    bare.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// An enum value added in this transaction cannot be used in it (ALTER TYPE, manual).
pub fn new_values(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::AlterEnum { added: Some(value), .. } if file.in_transaction => vec![
            RuleHit::new(
                WARNING,
                "enum-value-in-a-transaction",
                format!("the value '{value}' cannot be used before the transaction has committed (55P04)"),
            )
            .safer(format!("COMMIT; -- then, before whatever uses the value:\n{};", s.text)),
        ],
        Act::AlterEnum { added: None, .. } => vec![RuleHit::new(
            WARNING,
            "enum-value-renamed",
            "running versions of the application go on to send the old value, and fail with 22P02".into(),
        )],
        Act::Update { .. } | Act::Insert { .. } if file.values => vec![RuleHit::new(
            INFO,
            "enum-value-in-a-transaction",
            "this transaction has added a value to an enum: using it here fails with 55P04".into(),
        )],
        _ => Vec::new(),
    }
}
