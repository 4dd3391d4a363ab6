//! The options of a migration: their names, their allowed values, and how they are merged.

use crate::error::{Error, Result};
use crate::model::{did_you_mean, scan, units};
use serde_json::{Map, Value};

/// The type of an option's value.
#[derive(Clone, Copy)]
enum OptionType {
    Int {
        min: i64,
        max: i64,
    },
    Bool,
    /// For example `10 s`.
    Duration,
    /// For example `64 MB`.
    Size,
    Text,
}

const KNOWN: [(&str, OptionType); 13] = [
    (
        "batch_rows",
        OptionType::Int {
            min: 1,
            max: 1_000_000,
        },
    ),
    (
        "batch_target_ms",
        OptionType::Int {
            min: 1,
            max: 60_000,
        },
    ),
    (
        "delay_ms",
        OptionType::Int {
            min: 0,
            max: 3_600_000,
        },
    ),
    ("max_workers", OptionType::Int { min: 1, max: 64 }),
    ("max_replication_lag", OptionType::Duration),
    ("max_wal_rate", OptionType::Size),
    ("throttle_query", OptionType::Text),
    (
        "lock_timeout_ms",
        OptionType::Int {
            min: 1,
            max: 60_000,
        },
    ),
    ("defer_indexes", OptionType::Bool),
    ("keep_map", OptionType::Bool),
    ("take_names", OptionType::Bool),
    (
        "archive_after_days",
        OptionType::Int {
            min: 0,
            max: 36_500,
        },
    ),
    (
        "drop_after_days",
        OptionType::Int {
            min: 0,
            max: 36_500,
        },
    ),
];

/// Maximum number of words, numbers and signs in a query that runs before each batch.
const MOST_TOKENS: usize = 10_000;

/// Returns `stored` with `changes` applied. A null resets an option to its default.
pub fn merge(stored: &Value, changes: &Value) -> Result<Value> {
    let Value::Object(changes) = changes else {
        return Err(Error::BadOption {
            name: "options".into(),
            detail: "The options must be a JSON object.".into(),
            hint: Some(r#"Write, for example, '{"batch_rows": 500}'."#.into()),
        });
    };
    let mut merged: Map<String, Value> = stored.as_object().cloned().unwrap_or_default();
    for (name, value) in changes {
        check(name, value)?;
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    Ok(Value::Object(merged))
}

fn check(name: &str, value: &Value) -> Result<()> {
    let Some((_, kind)) = KNOWN.iter().find(|(known, _)| *known == name) else {
        return Err(unknown(name));
    };
    let wrong = |detail: String| {
        Err(Error::BadOption {
            name: name.to_owned(),
            detail,
            hint: None,
        })
    };
    match (kind, value) {
        (_, Value::Null) => Ok(()),
        (OptionType::Duration, Value::String(text)) if units::duration(text).is_some() => Ok(()),
        (OptionType::Duration, _) => wrong(format!(
            "The value {value} is no duration, like \"500 ms\", \"10 s\" or \"5 min\"."
        )),
        (OptionType::Size, Value::String(text)) if units::size(text).is_some() => Ok(()),
        (OptionType::Size, _) => wrong(format!(
            "The value {value} is no size, like \"512 kB\" or \"64 MB\"."
        )),
        (OptionType::Text, Value::String(text)) if !text.trim().is_empty() => {
            match scan::weight(text, false).too_much(MOST_TOKENS) {
                None => Ok(()),
                Some(why) => wrong(format!("Nobody can read the query: {why}.")),
            }
        }
        (OptionType::Text, _) => wrong(format!("The value {value} is no text.")),
        (OptionType::Bool, Value::Bool(_)) => Ok(()),
        (OptionType::Bool, _) => wrong(format!("The value {value} is not true or false.")),
        (OptionType::Int { min, max }, _) => match value.as_i64() {
            Some(n) if (*min..=*max).contains(&n) => Ok(()),
            _ => wrong(format!(
                "The value {value} is not a whole number from {min} to {max}."
            )),
        },
    }
}

fn unknown(name: &str) -> Error {
    let names = || KNOWN.iter().map(|(n, _)| *n);
    Error::BadOption {
        name: name.to_owned(),
        detail: "There is no such option.".into(),
        hint: Some(did_you_mean::hint(name, names(), '"', || {
            format!(
                "The options are {}.",
                names().collect::<Vec<_>>().join(", ")
            )
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_laid_over_and_null_resets() {
        let merged = merge(
            &json!({"batch_rows": 5, "delay_ms": 1}),
            &json!({"batch_rows": 7, "delay_ms": null}),
        );
        assert_eq!(merged.ok(), Some(json!({"batch_rows": 7})));
    }

    #[test]
    fn a_slip_names_the_nearest_option() {
        let Err(Error::BadOption { hint, .. }) = merge(&json!({}), &json!({"batch_row": 1})) else {
            unreachable!("an unknown option must be refused")
        };
        assert_eq!(hint.as_deref(), Some("Did you mean \"batch_rows\"?"));
    }

    #[test]
    fn ranges_and_types_are_kept() {
        for bad in [
            json!({"batch_rows": 0}),
            json!({"batch_rows": "many"}),
            json!({"defer_indexes": 1}),
            json!({"max_workers": 65}),
            json!({"throttle_query": true}),
            json!({"throttle_query": " "}),
            json!({"throttle_query": "+".repeat(10_001)}),
            json!({"max_replication_lag": 10}),
            json!({"max_replication_lag": "10 parsecs"}),
            json!({"max_wal_rate": "fast"}),
            json!([1]),
        ] {
            assert!(merge(&json!({}), &bad).is_err(), "{bad}");
        }
        let good = json!({"max_replication_lag": "10 s", "max_wal_rate": "64 MB", "throttle_query": "SELECT true"});
        assert!(merge(&json!({}), &good).is_ok());
    }
}
