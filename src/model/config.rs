//! A migration's whole definition as one document: the argument of `mig_define(jsonb)` and the result of `mig_config`.

use crate::error::{Error, Result};
use crate::model::did_you_mean;
use crate::model::spec::{Spec, TableArguments};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub migration: String,
    #[serde(default)]
    pub scope_table: Option<String>,
    #[serde(default)]
    pub scope_value: Option<String>,
    #[serde(default = "default_scope_column")]
    pub scope_column: String,
    #[serde(default = "empty")]
    pub options: Value,
    #[serde(default)]
    pub tables: Vec<ConfigTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ConfigColumn>,
}

/// The arguments of `mig_add_column`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigColumn {
    pub relation: String,
    pub column_name: String,
    #[serde(rename = "type")]
    pub type_text: String,
    pub up: String,
    #[serde(default)]
    pub down: Option<String>,
    #[serde(default)]
    pub column_default: Option<String>,
    #[serde(default)]
    pub not_null: bool,
    #[serde(default)]
    pub replaces: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigTable {
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub unique_keys: Option<Value>,
    #[serde(default)]
    pub columns: Option<Value>,
    #[serde(default)]
    pub refs: Option<Value>,
    #[serde(default)]
    pub target_key: Option<Value>,
    #[serde(default = "preserve")]
    pub id_mode: String,
    #[serde(default)]
    pub filter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<String>,
}

const KEYS: [&str; 7] = [
    "migration",
    "scope_table",
    "scope_value",
    "scope_column",
    "options",
    "tables",
    "columns",
];
const COLUMN_KEYS: [&str; 8] = [
    "relation",
    "column_name",
    "type",
    "up",
    "down",
    "column_default",
    "not_null",
    "replaces",
];
const TABLE_KEYS: [&str; 9] = [
    "source",
    "target",
    "unique_keys",
    "columns",
    "refs",
    "target_key",
    "id_mode",
    "filter",
    "combine",
];

pub fn default_scope_column() -> String {
    "project_id".into()
}

fn empty() -> Value {
    json!({})
}

fn preserve() -> String {
    "preserve".into()
}

/// Reads a document. An unknown key is refused, with the nearest known key in the hint.
pub fn read(document: &Value) -> Result<Config> {
    let Value::Object(map) = document else {
        return Err(malformed_document(
            "The document is not a JSON object.".into(),
        ));
    };
    require_known_keys(map, &KEYS, "the document")?;
    if let Some(Value::Array(tables)) = map.get("tables") {
        for table in tables.iter().filter_map(Value::as_object) {
            require_known_keys(table, &TABLE_KEYS, "a table")?;
        }
    }
    if let Some(Value::Array(columns)) = map.get("columns") {
        for column in columns.iter().filter_map(Value::as_object) {
            require_known_keys(column, &COLUMN_KEYS, "a column")?;
        }
    }
    serde_json::from_value(document.clone())
        .map_err(|e| malformed_document(format!("It does not fit: {e}.")))
}

fn require_known_keys(map: &Map<String, Value>, keys: &[&str], place: &str) -> Result<()> {
    let Some(unknown) = map.keys().find(|k| !keys.contains(&k.as_str())) else {
        return Ok(());
    };
    Err(Error::bad_option(
        unknown.clone(),
        format!("There is no such key in {place}."),
        Some(did_you_mean::hint(
            unknown,
            keys.iter().copied(),
            '"',
            || format!("The keys are {}.", keys.join(", ")),
        )),
    ))
}

pub fn malformed_document(detail: String) -> Error {
    Error::invalid(
        "invalid migration document".into(),
        detail,
        r#"Write it like '{"migration": "cover", "scope_table": "projects", "scope_value": "…", "tables": [{"source": "rounds", "target": "project_rounds"}]}'."#.into(),
    )
}

impl ConfigTable {
    pub fn arguments(&self) -> TableArguments {
        TableArguments {
            unique_keys: self.unique_keys.clone(),
            columns: self.columns.clone(),
            refs: self.refs.clone(),
            target_key: self.target_key.clone(),
            id_mode: self.id_mode.clone(),
            filter: self.filter.clone(),
            combine: self.combine.clone(),
        }
    }

    /// Returns the document of a stored mapping.
    pub fn from_spec(source: String, target: String, id_mode: String, spec: &Spec) -> Self {
        let some = |v: Value, empty: bool| (!empty).then_some(v);
        let columns: Map<String, Value> = spec
            .columns
            .iter()
            .map(|(n, e)| {
                (
                    n.as_str().to_owned(),
                    e.as_ref().map_or(Value::Null, |e| e.to_value()),
                )
            })
            .collect();
        let refs: Map<String, Value> = spec
            .refs
            .iter()
            .map(|(c, t)| (c.as_str().to_owned(), Value::String(t.clone())))
            .collect();
        Self {
            source,
            target,
            unique_keys: some(json!(spec.unique_keys), spec.unique_keys.is_empty()),
            columns: some(Value::Object(columns), spec.columns.is_empty()),
            refs: some(Value::Object(refs), spec.refs.is_empty()),
            target_key: spec.target_key.as_ref().map(|k| json!(k)),
            id_mode,
            filter: spec.filter.clone(),
            combine: spec.combine.map(|c| c.as_str().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::About;

    #[test]
    fn an_unknown_key_names_the_nearest_at_both_levels() {
        let hint = |doc: Value| match read(&doc) {
            Err(e) if e.about() == About::Option => e.hint().map(str::to_owned),
            _ => None,
        };
        assert_eq!(
            hint(json!({"migration": "m", "scop_table": "p"})).as_deref(),
            Some("Did you mean \"scope_table\"?")
        );
        assert_eq!(
            hint(json!({"migration": "m", "tables": [{"source": "a", "taget": "b"}]})).as_deref(),
            Some("Did you mean \"target\"?")
        );
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = read(&json!({"migration": "m", "tables": [{"source": "a", "target": "b"}]}))
            .expect("a config");
        assert_eq!(config.scope_column, "project_id");
        assert_eq!(config.tables[0].id_mode, "preserve");
        assert!(read(&json!({"migration": "m", "tables": "no"})).is_err());
    }
}
