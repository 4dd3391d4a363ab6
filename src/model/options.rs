//! The options of a migration: their names, their allowed values, and how they are merged.

use crate::error::{Error, Result};
use crate::model::{did_you_mean, scan, units};
use serde_json::{Map, Value};

/// An option that is a whole number. Where it has a server setting (`mig.` and its name), the setting has the same range and default.
pub struct IntOption {
    pub name: &'static str,
    pub min: i32,
    pub max: i32,
    pub default: i32,
}

/// An option that is true or false.
pub struct BoolOption {
    pub name: &'static str,
    pub default: bool,
}

/// A thousand rows are copied in a few tens of milliseconds on any machine: a safe first value.
pub const BATCH_ROWS: IntOption = IntOption::new("batch_rows", [1, 1_000_000], 1000);
/// Where a batch locks rows, it is for one batch at most; a tenth of a second is below what a user notices.
pub const BATCH_TARGET_MS: IntOption = IntOption::new("batch_target_ms", [1, 60_000], 100);
/// No pause by default; to be raised on servers with little I/O to spare.
pub const DELAY_MS: IntOption = IntOption::new("delay_ms", [0, 3_600_000], 0);
/// One: a server has few worker slots, and the others usually have other uses.
pub const MAX_WORKERS: IntOption = IntOption::new("max_workers", [1, 64], 1);
/// Half of the default deadlock_timeout: pg_mig gives up before any transaction becomes the victim of a deadlock check.
pub const LOCK_TIMEOUT_MS: IntOption = IntOption::new("lock_timeout_ms", [1, 60_000], 500);
/// Days that the old tables stay in phase `stopped` before they may be archived.
pub const ARCHIVE_AFTER_DAYS: IntOption = IntOption::new("archive_after_days", [0, 36_500], 30);
/// Days that archives are kept before they may be dropped.
pub const DROP_AFTER_DAYS: IntOption = IntOption::new("drop_after_days", [0, 36_500], 90);
/// Building indexes after the copy is two to three times faster than keeping them up during it.
pub const DEFER_INDEXES: BoolOption = BoolOption::new("defer_indexes", true);
/// When the migration is dropped, the id map is kept in a table of its own.
pub const KEEP_MAP: BoolOption = BoolOption::new("keep_map", false);
/// At the archive step, a new column takes the name of the column that it replaces.
pub const TAKE_NAMES: BoolOption = BoolOption::new("take_names", false);
pub const MAX_REPLICATION_LAG: &str = "max_replication_lag";
pub const MAX_WAL_RATE: &str = "max_wal_rate";
pub const THROTTLE_QUERY: &str = "throttle_query";
/// What names in functions of the application mean.
pub const SEARCH_PATH: &str = "search_path";

impl IntOption {
    const fn new(name: &'static str, [min, max]: [i32; 2], default: i32) -> Self {
        Self {
            name,
            min,
            max,
            default,
        }
    }
}

impl BoolOption {
    const fn new(name: &'static str, default: bool) -> Self {
        Self { name, default }
    }
}

/// An option and the type of its values.
enum OptionType {
    Int(IntOption),
    Bool(BoolOption),
    /// For example `10 s`.
    Duration(&'static str),
    /// For example `64 MB`.
    Size(&'static str),
    Query(&'static str),
    /// Names of schemas.
    SearchPath(&'static str),
}

impl OptionType {
    fn name(&self) -> &'static str {
        match self {
            Self::Int(o) => o.name,
            Self::Bool(o) => o.name,
            Self::Duration(name)
            | Self::Size(name)
            | Self::Query(name)
            | Self::SearchPath(name) => name,
        }
    }
}

const ALL: [OptionType; 14] = [
    OptionType::Int(BATCH_ROWS),
    OptionType::Int(BATCH_TARGET_MS),
    OptionType::Int(DELAY_MS),
    OptionType::Int(MAX_WORKERS),
    OptionType::Duration(MAX_REPLICATION_LAG),
    OptionType::Size(MAX_WAL_RATE),
    OptionType::Query(THROTTLE_QUERY),
    OptionType::SearchPath(SEARCH_PATH),
    OptionType::Int(LOCK_TIMEOUT_MS),
    OptionType::Bool(DEFER_INDEXES),
    OptionType::Bool(KEEP_MAP),
    OptionType::Bool(TAKE_NAMES),
    OptionType::Int(ARCHIVE_AFTER_DAYS),
    OptionType::Int(DROP_AFTER_DAYS),
];

/// Maximum number of words, numbers and signs in a query that runs before each batch.
const MOST_TOKENS: usize = 10_000;

/// Returns `stored` with `changes` applied. A null resets an option to its default.
pub fn merge(stored: &Value, changes: &Value) -> Result<Value> {
    let Value::Object(changes) = changes else {
        return Err(Error::bad_option(
            "options".into(),
            "The options must be a JSON object.".into(),
            Some(r#"Write, for example, '{"batch_rows": 500}'."#.into()),
        ));
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
    let Some(option) = ALL.iter().find(|o| o.name() == name) else {
        return Err(unknown(name));
    };
    let wrong = |detail: String| Err(Error::bad_option(name.to_owned(), detail, None));
    match (option, value) {
        (_, Value::Null) => Ok(()),
        (OptionType::Duration(_), Value::String(text)) if units::duration(text).is_some() => Ok(()),
        (OptionType::Duration(_), _) => wrong(format!(
            "The value {value} is no duration, like \"500 ms\", \"10 s\" or \"5 min\"."
        )),
        (OptionType::Size(_), Value::String(text)) if units::size(text).is_some() => Ok(()),
        (OptionType::Size(_), _) => wrong(format!(
            "The value {value} is no size, like \"512 kB\" or \"64 MB\"."
        )),
        (OptionType::SearchPath(_), Value::String(_)) => Ok(()),
        (OptionType::Query(_), Value::String(text)) if !text.trim().is_empty() => {
            match scan::weight(text, false).too_much(MOST_TOKENS) {
                None => Ok(()),
                Some(why) => wrong(format!("Nobody can read the query: {why}.")),
            }
        }
        (OptionType::Query(_) | OptionType::SearchPath(_), _) => {
            wrong(format!("The value {value} is no text."))
        }
        (OptionType::Bool(_), Value::Bool(_)) => Ok(()),
        (OptionType::Bool(_), _) => wrong(format!("The value {value} is not true or false.")),
        (OptionType::Int(IntOption { min, max, .. }), _) => match value.as_i64() {
            Some(n) if (i64::from(*min)..=i64::from(*max)).contains(&n) => Ok(()),
            _ => wrong(format!(
                "The value {value} is not a whole number from {min} to {max}."
            )),
        },
    }
}

fn unknown(name: &str) -> Error {
    let names = || ALL.iter().map(OptionType::name);
    Error::bad_option(
        name.to_owned(),
        "There is no such option.".into(),
        Some(did_you_mean::hint(name, names(), '"', || {
            format!(
                "The options are {}.",
                names().collect::<Vec<_>>().join(", ")
            )
        })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what stands in parentheses behind the option's name.
    fn find_description(text: &str, name: &str) -> Option<String> {
        let (_, rest) = text.split_once(&format!("{name} ("))?;
        rest.split_once(')').map(|(inside, _)| inside.to_owned())
    }

    #[test]
    fn the_comment_and_the_manual_name_every_option() {
        let manual = include_str!("../../README.md");
        let sql = include_str!("../../sql/install/40_comments.sql");
        let comment = sql
            .lines()
            .find(|l| l.contains("mig_configure(text, jsonb)"));
        for option in &ALL {
            assert!(manual.contains(&format!("`{}`", option.name())));
            let inside = comment.and_then(|c| find_description(c, option.name()));
            let default = match option {
                OptionType::Int(o) => o.default.to_string(),
                OptionType::Bool(o) => o.default.to_string(),
                _ => String::new(),
            };
            assert!(
                inside.is_some_and(|inside| inside.contains(&default)),
                "{}",
                option.name()
            );
        }
    }
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
        let Err(error) = merge(&json!({}), &json!({"batch_row": 1})) else {
            unreachable!("an unknown option must be refused")
        };
        assert_eq!(error.hint(), Some("Did you mean \"batch_rows\"?"));
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
            json!({"search_path": ["app"]}),
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
