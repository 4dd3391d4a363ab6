//! A script of PostgreSQL's regression tests, cut into units: statements that stand alone, and whole transaction blocks. Mirrors are there while
//! rows are written and read, and gone while tables are made, changed, described or dropped.

use crate::lexer::{Statement, statements};
use crate::phase::Phase;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Rows are written or read.
    Rows,
    /// Definitions, and what prints them.
    Definitions,
    /// Settings: as it was before.
    Neutral,
}

struct Unit {
    text: String,
    kind: Kind,
}

/// Marks the lines that are not the script's.
const MARK: &str = "conformance";
/// Some errors are printed with their context whatever is set.
const MIRROR_CONTEXT: &str = "CONTEXT:  mirror of ";
const UNIT: &str = "conformance unit: ";

const ROWS: [&str; 22] = [
    "insert",
    "update",
    "delete",
    "select",
    "with",
    "values",
    "copy",
    "\\copy",
    "merge",
    "execute",
    "fetch",
    "move",
    "close",
    "declare",
    "table",
    "truncate",
    "lock",
    "savepoint",
    "release",
    "rollback",
    "call",
    "do",
];
const NEUTRAL: [&str; 12] = [
    "set",
    "reset",
    "show",
    "\\set",
    "\\pset",
    "\\echo",
    "\\getenv",
    "prepare",
    "deallocate",
    "analyze",
    "vacuum",
    "\\unset",
];
/// What psql says of our statements where a script has it say more.
const TAGS: [&str; 4] = ["DO", "CALL", "SET", "RESET"];
const DEFINES: [&str; 3] = ["create ", "alter ", "drop "];

/// Returns the script with statements that bring its tables into the phase, before rows are written, and remove the migration, before tables
/// are changed.
/// With keys if that is asked for: see keys.sql.
pub fn in_phase(name: &str, text: &str, phase: Phase, is_keyed: bool) -> String {
    // What an error says has to be the same. That a mirror was at work is no secret.
    let mut out = "\\set SHOW_CONTEXT never\n".to_owned();
    let (mut attached, mut role) = (false, String::new());
    for unit in units(text) {
        let wanted = match unit.kind {
            Kind::Rows => true,
            Kind::Definitions => false,
            Kind::Neutral => attached,
        };
        if wanted != attached && phase != Phase::Plain {
            let calls = if wanted {
                phase.enter(name)
            } else {
                vec![Phase::leave(name)]
            };
            out += &as_superuser(&calls, &role);
        }
        attached = wanted;
        let first = unit
            .text
            .lines()
            .find(|l| !l.trim().is_empty() && !l.starts_with("--"));
        out += &format!(
            "\\echo {UNIT}{}\n{}",
            key(first.unwrap_or_default()),
            unit.text
        );
        role = role_after(&unit.text).unwrap_or(role);
        let creates = unit.text.to_lowercase().contains("create table");
        if is_keyed && creates && unit.kind == Kind::Definitions {
            out += &as_superuser(
                &["DO $$ BEGIN PERFORM conformance.add_keys(); END $$;".to_owned()],
                &role,
            );
        }
    }
    if attached && phase != Phase::Plain {
        out += &as_superuser(&[Phase::leave(name)], &role);
    }
    out
}

fn as_superuser(calls: &[String], role: &str) -> String {
    let calls: String = calls
        .iter()
        .map(|call| format!("{call} -- {MARK}\n"))
        .collect();
    if role.is_empty() {
        return calls;
    }
    format!("RESET SESSION AUTHORIZATION; RESET ROLE; -- {MARK}\n{calls}{role} -- {MARK}\n")
}

/// The statement by which the script has become another role; empty if it is itself again.
fn role_after(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).rev();
    lines.map(str::to_owned).find_map(|line| {
        let lower = line.to_lowercase();
        let is = |words: &[&str]| words.iter().any(|w| lower.starts_with(w));
        if is(&["reset role", "reset session authorization"]) {
            return Some(String::new());
        }
        is(&["set role", "set session authorization"]).then_some(line)
    })
}

/// By what a unit is called in `allowed.txt`: the beginning of its first line. A colon ends what may differ there.
fn key(line: &str) -> String {
    let words: String = line.replace([':', '\'', '"', '`', '\\'], "");
    let one: Vec<&str> = words.split_whitespace().collect();
    one.join(" ")
        .chars()
        .take(70)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn units(text: &str) -> Vec<Unit> {
    let (mut units, mut block): (Vec<Unit>, Option<Unit>) = (Vec::new(), None);
    for statement in statements(text) {
        let kind = kind(&statement);
        let open = match block.take() {
            None if statement.begins_block() => Unit {
                text: statement.text.clone(),
                kind: Kind::Rows,
            },
            None => {
                units.push(Unit {
                    text: statement.text,
                    kind,
                });
                continue;
            }
            Some(mut open) => {
                open.text += &statement.text;
                if kind == Kind::Definitions && !statement.ends_block() {
                    open.kind = kind;
                }
                open
            }
        };
        if statement.ends_block() {
            units.push(open);
        } else {
            block = Some(open);
        }
    }
    units.extend(block);
    units
}

fn kind(statement: &Statement) -> Kind {
    let (word, lower) = (statement.word(), statement.text.to_lowercase());
    if word.is_empty() || NEUTRAL.contains(&word.as_str()) {
        return Kind::Neutral;
    }
    let hides_definitions = matches!(word.as_str(), "do" | "select" | "with")
        && DEFINES.iter().any(|d| lower.contains(d));
    if ROWS.contains(&word.as_str()) && !hides_definitions {
        return Kind::Rows;
    }
    Kind::Definitions
}

/// What psql prints for each unit. A second unit with the same beginning has `#2` after it.
pub fn parts(output: &str) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let (mut name, mut text, mut is_ours) = (String::new(), String::new(), false);
    for line in output.lines() {
        if let Some(next) = line.strip_prefix(UNIT) {
            insert_part(&mut parts, &name, &mut text);
            next.clone_into(&mut name);
        }
        is_ours = line.contains(MARK) || is_ours && TAGS.contains(&line);
        if !is_ours && !line.starts_with(MIRROR_CONTEXT) {
            text += line;
            text.push('\n');
        }
    }
    insert_part(&mut parts, &name, &mut text);
    parts
}

fn insert_part(parts: &mut BTreeMap<String, String>, name: &str, text: &mut String) {
    let mut key = name.to_owned();
    let mut times = 1;
    while parts.contains_key(&key) {
        times += 1;
        key = format!("{name} #{times}");
    }
    parts.insert(key, std::mem::take(text));
}
