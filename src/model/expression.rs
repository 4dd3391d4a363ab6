//! A column expression as the user wrote it.

use crate::error::{Error, Result};
use crate::ident::Ident;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// SQL over the source row.
    pub up: String,
    /// SQL over the target row, for the reverse direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// The type that PostgreSQL infers for `up`; set when the mapping is added.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_text: Option<String>,
    /// The source columns that `up` reads, and the column that `down` restores; set when the mapping is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Ident>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<Ident>,
    /// The value, where it is the same for all rows; set when the mapping is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
}

impl Expression {
    pub fn new(up: &str, down: Option<&str>) -> Self {
        Self {
            up: up.to_owned(),
            down: down.map(str::to_owned),
            type_text: None,
            reads: Vec::new(),
            gives: None,
            constant: None,
        }
    }

    /// Reads `"expr"`, `{"up": "expr", "down": "expr"}` or null.
    pub fn read(column: &str, value: &Value) -> Result<Option<Self>> {
        let wrong = |detail: String| {
            Error::bad_expression(
                column.to_owned(),
                None,
                detail,
                "Write an expression over the source row, an object with \"up\" and \"down\", or null.".into(),
            )
        };
        match value {
            Value::Null => Ok(None),
            Value::String(up) => Ok(Some(Self::new(up, None))),
            Value::Object(map) => {
                if let Some(key) = map.keys().find(|k| !["up", "down"].contains(&k.as_str())) {
                    return Err(wrong(format!(
                        "The key \"{key}\" is unknown; there are \"up\" and \"down\"."
                    )));
                }
                let up = map.get("up").and_then(Value::as_str);
                let up =
                    up.ok_or_else(|| wrong("The key \"up\" is missing, or no text.".into()))?;
                let down = match map.get("down") {
                    None | Some(Value::Null) => None,
                    Some(Value::String(down)) => Some(down.as_str()),
                    Some(other) => {
                        return Err(wrong(format!("The key \"down\" is {other}, no text.")));
                    }
                };
                Ok(Some(Self::new(up, down)))
            }
            other => Err(wrong(format!("The value is {other}."))),
        }
    }

    /// Returns the form that `mig_config` shows.
    pub fn to_value(&self) -> Value {
        match &self.down {
            None => Value::String(self.up.clone()),
            Some(down) => serde_json::json!({"up": self.up, "down": down}),
        }
    }
}
