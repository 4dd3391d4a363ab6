//! A spec of PostgreSQL's isolation tester, and what the tester prints for it.

use crate::phase::Phase;
use std::collections::BTreeMap;

/// Returns the spec with setup blocks that bring its tables into the phase, and a teardown that compares both sides. None if the spec has no
/// sessions.
pub fn in_phase(name: &str, text: &str, phase: Phase) -> Option<String> {
    if phase == Phase::Plain {
        return Some(text.to_owned());
    }
    let sessions = line_that_begins(text, "session")?;
    let teardown = line_that_begins(&text[..sessions], "teardown").unwrap_or(sessions);
    let blocks = phase.enter(name).into_iter();
    let setup: String = blocks.map(|s| format!("setup {{ {s} }}\n")).collect();
    let finish = Phase::leave(name);
    let (before, after) = (&text[..teardown], &text[teardown..]);
    let rest = if teardown == sessions {
        format!("teardown {{ {finish} }}\n{after}")
    } else {
        let (word, block) = after.split_once('{')?;
        format!("{word}{{ {finish} {block}")
    };
    Some(format!("{before}{setup}{rest}"))
}

fn line_that_begins(text: &str, word: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(word) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// What the tester prints for each permutation, by the names of its steps.
pub fn permutations(output: &str) -> BTreeMap<String, String> {
    let parts = output.split("starting permutation: ").skip(1);
    let one = |part: &str| {
        let (steps, rest) = part.split_once('\n').unwrap_or((part, ""));
        (steps.to_owned(), rest.trim_end().to_owned())
    };
    parts.map(one).collect()
}
