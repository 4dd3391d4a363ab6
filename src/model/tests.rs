//! Randomized tests of user input: nothing may panic, and what is read equals what was written. The random numbers are the same
//! in each run.

use super::fixture::Random;
use super::{config, did_you_mean, options, spec, units};
use crate::ident::{Ident, Literal, QualifiedName};
use serde_json::{Map, Value, json};

const PARTS: [&str; 24] = [
    "a",
    "B",
    "\"",
    "\"\"",
    ".",
    " ",
    "ü",
    "漢",
    "_",
    "$",
    "1",
    "'",
    "\\",
    "\n",
    "-",
    "kB",
    "ms",
    "9223372036854775807",
    "İ",
    "\u{0}",
    "\u{feff}",
    ";",
    "\u{301}",
    "🦀",
];

fn text(random: &mut Random) -> String {
    let length = random.next_below(12);
    (0..length)
        .map(|_| PARTS[random.next_below(PARTS.len())])
        .collect()
}

#[test]
fn a_name_is_read_as_it_was_written() {
    let mut random = Random::new(1);
    for _ in 0..50_000 {
        let (schema, name) = (text(&mut random), text(&mut random));
        let written = QualifiedName::new(&schema, &name);
        if !schema.is_empty() && !name.is_empty() {
            assert_eq!(
                QualifiedName::parse(&written.to_string(), "x"),
                Some(written.clone())
            );
            let plain = QualifiedName::parse(&written.plain(), "x");
            assert_eq!(plain, Some(written));
        }
        if let Some(read) = QualifiedName::parse(&schema, "x") {
            assert_eq!(QualifiedName::parse(&read.to_string(), "y"), Some(read));
        }
        let short = Ident::derive(&[&schema, &name, &schema.repeat(9)]);
        assert!(short.as_str().len() <= 63);
    }
}

#[test]
fn a_literal_has_no_end_inside() {
    let mut random = Random::new(2);
    for _ in 0..50_000 {
        let value = text(&mut random);
        let sql = format!("SELECT {};SELECT 2", Literal(&value));
        for escapes in [false, true] {
            let pieces = super::scan::Pieces::new(&sql, escapes);
            assert_eq!(pieces.count(), 2, "{sql:?}");
        }
    }
}

#[test]
fn amounts_are_refused_or_positive() {
    let mut random = Random::new(3);
    for _ in 0..50_000 {
        let value = text(&mut random);
        for amount in [units::duration(&value), units::size(&value)] {
            assert!(amount.is_none_or(|n| n > 0), "{value:?}");
        }
        did_you_mean::nearest(&value, PARTS);
    }
    for bytes in [i64::MIN, -1, 0, i64::MAX] {
        units::text_of_size(bytes);
    }
}

/// Returns a value of any kind, with known and unknown keys.
fn value(random: &mut Random, depth: usize) -> Value {
    const KEYS: [&str; 12] = [
        "migration",
        "tables",
        "columns",
        "options",
        "source",
        "target",
        "unique_keys",
        "refs",
        "batch_rows",
        "max_wal_rate",
        "up",
        "down",
    ];
    match random.next_below(if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.next_below(2) == 0),
        2 => json!([i64::MIN, -1, 0, 1, i64::MAX][random.next_below(5)]),
        3 => json!([1e300, -0.5, 1.0][random.next_below(3)]),
        4 => json!(text(random)),
        5 => (0..random.next_below(4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => {
            let mut map = Map::new();
            for _ in 0..random.next_below(5) {
                let key = match random.next_below(5) {
                    0 => text(random),
                    _ => KEYS[random.next_below(KEYS.len())].to_owned(),
                };
                map.insert(key, value(random, depth - 1));
            }
            Value::Object(map)
        }
    }
}

#[test]
fn a_document_is_read_or_refused() {
    let mut random = Random::new(4);
    let source = super::fixture::rounds_shape();
    for _ in 0..50_000 {
        let document = value(&mut random, 4);
        if let Ok(read) = config::read(&document) {
            for table in &read.tables {
                let _ = spec::read(&table.arguments(), &source);
            }
        }
        let _ = options::merge(&json!({"batch_rows": 5}), &document);
        let arguments = spec::TableArguments {
            unique_keys: Some(value(&mut random, 2)),
            columns: Some(value(&mut random, 2)),
            refs: Some(value(&mut random, 2)),
            target_key: Some(value(&mut random, 2)),
            id_mode: "preserve".into(),
            ..spec::TableArguments::default()
        };
        let _ = spec::read(&arguments, &source);
    }
}
