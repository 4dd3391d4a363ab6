//! A column expression as the user gives it.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// SQL over the source row.
    pub up: String,
    /// SQL over the target row, for the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Its type as PostgreSQL sees it; filled in when the mapping is added.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_text: Option<String>,
}

impl Expression {
    /// `"expr"`, `{"up": "expr", "down": "expr"}`, or null.
    pub fn read(column: &str, value: &Value) -> Result<Option<Self>> {
        let wrong = |detail: String| {
            Error::BadExpression {
            column: column.to_owned(),
            detail,
            hint: "Write an expression over the source row, an object with \"up\" and \"down\", or null.".into(),
        }
        };
        match value {
            Value::Null => Ok(None),
            Value::String(up) => Ok(Some(Self {
                up: up.clone(),
                down: None,
                type_text: None,
            })),
            Value::Object(map) => {
                if let Some(key) = map.keys().find(|k| !["up", "down"].contains(&k.as_str())) {
                    return Err(wrong(format!(
                        "The key \"{key}\" is unknown; there are \"up\" and \"down\"."
                    )));
                }
                let up = map.get("up").and_then(Value::as_str);
                let up =
                    up.ok_or_else(|| wrong("The key \"up\" is missing, or no text.".into()))?;
                let down = map.get("down").and_then(Value::as_str).map(str::to_owned);
                Ok(Some(Self {
                    up: up.to_owned(),
                    down,
                    type_text: None,
                }))
            }
            other => Err(wrong(format!("The value is {other}."))),
        }
    }

    /// What `mig_config` gives back.
    pub fn to_value(&self) -> Value {
        match &self.down {
            None => Value::String(self.up.clone()),
            Some(down) => serde_json::json!({"up": self.up, "down": down}),
        }
    }
}
