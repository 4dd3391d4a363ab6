//! What the user asked for: one mapping, as given to `mig_add_table` and stored in `mig.mapping`.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::shape::Shape;
use crate::model::text_enum::text_enum;
use crate::model::{did_you_mean, expression::Expression};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How several sources are combined in one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each row of each source becomes a row of its own; a constant column tells the sources apart.
    Union,
    /// Rows with the same key become one row; each source gives its own columns.
    Merge,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique keys of the target, without the scope, which is added in front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_keys: Vec<Vec<Ident>>,
    /// Target column → expression; None leaves out the source column of that name. In the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<(Ident, Option<Expression>)>,
    /// Source column → the source table that it refers to without a declared foreign key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<(Ident, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_key: Option<Vec<Ident>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How the target is shared with other sources; None where the keys decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,
    /// Columns (and "filter") whose expression is not immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutable: Vec<String>,
}

impl Spec {
    /// Whether each column of the source keeps its name and its values.
    pub fn keeps_all(&self, source: &Shape) -> bool {
        let mut columns = self.columns.iter();
        columns.all(|(name, _)| source.column(name).is_none())
    }

    /// Whether it holds expressions, which can call functions.
    pub fn has_expressions(&self) -> bool {
        self.filter.is_some() || self.columns.iter().any(|(_, text)| text.is_some())
    }
}

impl Combine {
    pub fn as_str(self) -> &'static str {
        match self {
            Combine::Union => "union",
            Combine::Merge => "merge",
        }
    }
}

text_enum! {
    /// What becomes of the keys of a table's rows.
    #[derive(Default)]
    pub enum IdMode {
        /// The target's rows have the keys of the source's.
        #[default]
        Preserve = "preserve",
        /// The target draws new keys, and a map has the pairs.
        Remap = "remap",
    }
}

/// The raw arguments of `mig_add_table` that have to be parsed.
#[derive(Clone, Debug, Default)]
pub struct TableArguments {
    pub unique_keys: Option<Value>,
    pub columns: Option<Value>,
    pub refs: Option<Value>,
    pub target_key: Option<Value>,
    pub id_mode: String,
    pub filter: Option<String>,
    pub combine: Option<String>,
}

/// Reads the arguments and checks them against the source's shape. Expressions are not parsed here: PostgreSQL does that.
pub fn read(args: &TableArguments, source: &Shape) -> Result<Spec> {
    let columns = read_columns(args.columns.as_ref(), source)?;
    let spec = Spec {
        unique_keys: match &args.unique_keys {
            None | Some(Value::Null) => Vec::new(),
            Some(v) => serde_json::from_value(v.clone()).map_err(|_| {
                malformed_argument("unique_keys", v, r#"[["user_id", "round_id"]]"#)
            })?,
        },
        columns,
        refs: read_refs(args.refs.as_ref(), source)?,
        target_key: match &args.target_key {
            None | Some(Value::Null) => None,
            Some(v) => Some(
                serde_json::from_value(v.clone())
                    .map_err(|_| malformed_argument("target_key", v, r#"["project_id", "id"]"#))?,
            ),
        },
        filter: args.filter.clone(),
        combine: args.combine.as_deref().map(read_combine).transpose()?,
        mutable: Vec::new(),
    };
    if spec.unique_keys.iter().any(Vec::is_empty)
        || spec.target_key.as_ref().is_some_and(Vec::is_empty)
    {
        return Err(malformed_argument(
            "unique_keys",
            &Value::Array(vec![]),
            r#"[["user_id", "round_id"]]"#,
        ));
    }
    Ok(spec)
}

fn read_combine(text: &str) -> Result<Combine> {
    match text {
        "union" => Ok(Combine::Union),
        "merge" => Ok(Combine::Merge),
        other => Err(Error::invalid(
            format!("invalid way to combine \"{other}\""),
            "Several sources of one target are combined by union or by merge.".into(),
            did_you_mean::hint(other, ["union", "merge"], '\'', || {
                "Leave combine out where the keys tell: a key that refers to the other source's key is a merge.".into()
            }),
        )),
    }
}

fn read_columns(value: Option<&Value>, source: &Shape) -> Result<Vec<(Ident, Option<Expression>)>> {
    let Some(map) = object(
        "columns",
        value,
        r#"{"title": "upper(name)", "notes": null}"#,
    )?
    else {
        return Ok(Vec::new());
    };
    let mut columns = Vec::new();
    for (name, value) in map {
        let ident = Ident::new(name);
        let expression = Expression::read(name, value)?;
        // A null leaves out a source column, so the column must exist.
        if expression.is_none() {
            known_column(source, &ident)?;
        }
        columns.push((ident, expression));
    }
    Ok(columns)
}

fn read_refs(value: Option<&Value>, source: &Shape) -> Result<Vec<(Ident, String)>> {
    let example = r#"{"round_id": "round_metadata"}"#;
    let Some(map) = object("refs", value, example)? else {
        return Ok(Vec::new());
    };
    let mut refs = Vec::new();
    for (column, table) in map {
        let column = Ident::new(column);
        known_column(source, &column)?;
        let table = table
            .as_str()
            .ok_or_else(|| malformed_argument("refs", table, example))?;
        refs.push((column, table.to_owned()));
    }
    Ok(refs)
}

fn object<'a>(
    name: &str,
    value: Option<&'a Value>,
    example: &str,
) -> Result<Option<&'a serde_json::Map<String, Value>>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(other) => Err(malformed_argument(name, other, example)),
    }
}

/// Errors where `source` has no column `name`; the error names the nearest column.
pub fn known_column(source: &Shape, name: &Ident) -> Result<()> {
    if source.column(name).is_some() {
        return Ok(());
    }
    Err(Error::no_such_column(
        source.name.plain(),
        name.as_str().to_owned(),
        did_you_mean::nearest(name.as_str(), source.column_names()).map(str::to_owned),
    ))
}

fn malformed_argument(name: &str, value: &Value, example: &str) -> Error {
    Error::invalid(
        format!("invalid \"{name}\""),
        format!("The value is {value}."),
        format!("Write it like '{example}'."),
    )
}

/// Reads the id mode of `mig_add_table`.
pub fn read_id_mode(text: &str) -> Result<IdMode> {
    IdMode::parse(text).ok_or_else(|| {
        Error::invalid(
            format!("invalid id mode \"{text}\""),
            "The id modes are preserve and remap.".into(),
            did_you_mean::hint(text, IdMode::ALL.iter().map(|m| m.as_str()), '\'', || {
                "Leave id_mode out to keep the source's key values.".into()
            }),
        )
    })
}
