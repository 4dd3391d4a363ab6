//! The linter over statements that something happened to.

use super::installed;
use crate::common::writers::Random;

/// The statements of the golden session.
fn statements() -> Vec<&'static str> {
    let file = include_str!("../../pg_regress/sql/lint.sql");
    file.split_inclusive('\n')
        .filter(|l| !l.trim().is_empty())
        .collect()
}

fn below(random: &mut Random, n: usize) -> usize {
    usize::try_from(random.below(n as u64)).unwrap()
}

/// A text of some of them, with something wrong.
fn mutated(random: &mut Random, all: &[&str]) -> String {
    const SPLINTERS: [&str; 28] = [
        "'",
        "\"",
        "$$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\\",
        ";",
        "(",
        ")",
        "ü",
        "漢",
        "E'",
        "U&'\\",
        "BEGIN ATOMIC ",
        "END ",
        "CREATE RULE ",
        "::",
        "\n",
        "\\x\n",
        "1e400",
        "$1",
        "+-",
        "DO ",
        "0x",
        "99999999999999999999",
        "\u{301}",
    ];
    let mut text: Vec<char> = (0..=below(random, 4))
        .flat_map(|_| all[below(random, all.len())].chars())
        .collect();
    for _ in 0..=below(random, 4) {
        let at = below(random, text.len() + 1);
        let to = (at + below(random, 12)).min(text.len());
        match below(random, 4) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, SPLINTERS[below(random, SPLINTERS.len())].chars())),
            2 => {
                let part = text[at..to].repeat(1 + below(random, 30));
                drop(text.splice(at..at, part));
            }
            _ => text.truncate(to.max(1)),
        }
    }
    text.into_iter().collect()
}

/// `PG_MIG_FUZZ_ROUNDS` for more.
#[test]
fn mutated_sql_is_answered() {
    let (_cluster, mut client) = installed("it_input_fuzz");
    let rounds = std::env::var("PG_MIG_FUZZ_ROUNDS").ok();
    let rounds: usize = rounds.and_then(|r| r.parse().ok()).unwrap_or(3000);
    let all = statements();
    let mut random = Random::new(rounds as u64);
    client
        .batch_execute("CREATE TABLE tip (id int PRIMARY KEY, note varchar(20)); CREATE TABLE videos (id text, metadata text)")
        .unwrap();
    for round in 0..rounds {
        if round % 100 == 0 {
            let set = if random.below(2) == 0 { "on" } else { "off" };
            client
                .batch_execute(&format!("SET standard_conforming_strings = {set}"))
                .unwrap();
        }
        let text = mutated(&mut random, &all);
        // Nothing of it is run, so that nothing of it can be refused.
        if let Err(e) = client.query("SELECT * FROM mig_lint($1)", &[&text]) {
            panic!("round {round}: {e:?}\n{text}");
        }
    }
}
