//! One change of a table that would block the application if it were made at once.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::TargetIndex;
use serde::{Deserialize, Serialize};

/// What shall hold, or be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DdlChange {
    NotNull {
        column: Ident,
    },
    Check {
        name: Ident,
        expression: String,
    },
    ForeignKey {
        name: Ident,
        columns: Vec<Ident>,
        references: QualifiedName,
        ref_columns: Vec<Ident>,
        on_delete: String,
        on_update: String,
    },
    Index {
        name: Ident,
        /// None in what versions before 0.8.0 kept as the text of a statement: no such text is run any more.
        #[serde(default)]
        index: Option<Box<TargetIndex>>,
    },
}

impl DdlChange {
    pub fn kind(&self) -> &'static str {
        match self {
            DdlChange::NotNull { .. } => "not_null",
            DdlChange::Check { .. } => "check",
            DdlChange::ForeignKey { .. } => "foreign_key",
            DdlChange::Index { .. } => "index",
        }
    }

    /// Of the constraint, the index or the column.
    pub fn name(&self) -> &Ident {
        match self {
            DdlChange::NotNull { column } => column,
            DdlChange::Check { name, .. }
            | DdlChange::ForeignKey { name, .. }
            | DdlChange::Index { name, .. } => name,
        }
    }

    /// What it makes, for messages.
    pub fn describe(&self) -> String {
        match self {
            DdlChange::NotNull { column } => format!("NOT NULL of column {}", column.as_str()),
            DdlChange::Check { name, .. } => format!("CHECK {}", name.as_str()),
            DdlChange::ForeignKey { name, .. } => format!("foreign key {}", name.as_str()),
            DdlChange::Index { name, .. } => format!("index {}", name.as_str()),
        }
    }
}

/// A job that makes a change.
#[derive(Clone, Debug, Deserialize)]
pub struct DdlJob {
    pub id: i64,
    /// The table, by number.
    pub relation: u32,
    /// Its name now; None if it is gone.
    pub table: Option<QualifiedName>,
    pub change: DdlChange,
    /// Who began it, or took it up again.
    pub role: u32,
    /// Where the caller looked for names.
    pub search_path: String,
    pub state: String,
    pub pid: Option<i32>,
    pub error: Option<String>,
    /// Whether the rows were looked at before the constraint went in.
    pub looked: bool,
}

impl DdlJob {
    /// A change that another job makes: names in it are whole, and its rows are looked at when it is validated.
    pub fn for_column_job(relation: u32, table: QualifiedName, change: DdlChange) -> Self {
        Self {
            id: 0,
            relation,
            table: Some(table),
            change,
            role: 0,
            search_path: "pg_catalog, pg_temp".into(),
            state: "running".into(),
            pid: None,
            error: None,
            looked: true,
        }
    }

    /// The constraint that the job adds; for NOT NULL a CHECK of ours that goes again.
    pub fn constraint(&self) -> Option<Ident> {
        match &self.change {
            DdlChange::NotNull { .. } => Some(Ident::new(format!("!mig_job_{}_not_null", self.id))),
            DdlChange::Check { name, .. } | DdlChange::ForeignKey { name, .. } => {
                Some(name.clone())
            }
            DdlChange::Index { .. } => None,
        }
    }
}

/// What to do about a row that a key refers to, as users write it.
pub const ACTIONS: [&str; 5] = [
    "NO ACTION",
    "RESTRICT",
    "CASCADE",
    "SET NULL",
    "SET DEFAULT",
];

/// One of `ACTIONS`, however it is written.
pub fn action(text: &str) -> Option<&'static str> {
    let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
    let text = words.join(" ");
    ACTIONS.into_iter().find(|a| *a == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_users_write_them() {
        assert_eq!(action(" set  null"), Some("SET NULL"));
        assert_eq!(action("cascade"), Some("CASCADE"));
        assert_eq!(action("CASCADE; DROP TABLE x"), None);
    }

    #[test]
    fn a_change_is_kept_as_json() {
        let change = DdlChange::NotNull { column: "a".into() };
        let json = serde_json::to_value(&change).unwrap();
        assert_eq!(json, serde_json::json!({"kind": "not_null", "column": "a"}));
        assert_eq!(serde_json::from_value::<DdlChange>(json).unwrap(), change);
    }
}
