//! A schema change that would block the application if it were made in one statement.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::TargetIndex;
use crate::model::text_enum::text_enum;
use serde::{Deserialize, Serialize};

/// The constraint or index to add.
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
        on_delete: FkAction,
        on_update: FkAction,
        #[serde(default)]
        traits: KeyTraits,
    },
    Index {
        name: Ident,
        /// None where a version before 0.8.0 stored the text of a statement: such text is no longer executed.
        #[serde(default)]
        index: Option<Box<TargetIndex>>,
    },
}

/// What a foreign key has besides its columns and actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTraits {
    pub match_full: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
    /// Columns of `ON DELETE SET NULL (…)`; empty for all.
    pub set_columns: Vec<Ident>,
    /// The key stays NOT VALID.
    pub not_valid: bool,
}

/// A foreign key's action on referencing rows when the referenced row is deleted or its key is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FkAction {
    #[serde(rename = "NO ACTION")]
    NoAction,
    #[serde(rename = "RESTRICT")]
    Restrict,
    #[serde(rename = "CASCADE")]
    Cascade,
    #[serde(rename = "SET NULL")]
    SetNull,
    #[serde(rename = "SET DEFAULT")]
    SetDefault,
}

impl FkAction {
    const ALL: [Self; 5] = [
        Self::NoAction,
        Self::Restrict,
        Self::Cascade,
        Self::SetNull,
        Self::SetDefault,
    ];

    pub fn sql(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }

    /// Reads `pg_constraint.confdeltype`.
    pub fn from_code(code: &str) -> Self {
        match code {
            "r" => Self::Restrict,
            "c" => Self::Cascade,
            "n" => Self::SetNull,
            "d" => Self::SetDefault,
            _ => Self::NoAction,
        }
    }

    /// Reads a user's spelling: any case, any white space.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
        let words = words.join(" ");
        Self::ALL.into_iter().find(|a| a.sql() == words)
    }
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

    /// The name of the constraint, index or column.
    pub fn name(&self) -> &Ident {
        match self {
            DdlChange::NotNull { column } => column,
            DdlChange::Check { name, .. }
            | DdlChange::ForeignKey { name, .. }
            | DdlChange::Index { name, .. } => name,
        }
    }

    /// Whether a constraint in this state is what is wanted; `valid` is pg_constraint.convalidated.
    pub fn accepts(&self, valid: bool) -> bool {
        match self {
            DdlChange::ForeignKey { traits, .. } => valid || traits.not_valid,
            _ => valid,
        }
    }

    /// Describes the change for messages.
    pub fn describe(&self) -> String {
        match self {
            DdlChange::NotNull { column } => format!("NOT NULL of column {}", column.as_str()),
            DdlChange::Check { name, .. } => format!("CHECK {}", name.as_str()),
            DdlChange::ForeignKey { name, .. } => format!("foreign key {}", name.as_str()),
            DdlChange::Index { name, .. } => format!("index {}", name.as_str()),
        }
    }
}

text_enum! {
    /// What a DDL job is at.
    pub enum DdlState {
        Running = "running",
        /// What is half made is being taken back, because of an error.
        Failing = "failing",
        /// What is half made is being taken back, because the caller cancelled the job.
        Cancelling = "cancelling",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

/// A job that makes one schema change.
#[derive(Clone, Debug, Deserialize)]
pub struct DdlJob {
    pub id: i64,
    /// The table's OID.
    pub relation: u32,
    /// Its current name; None if it is gone.
    pub table: Option<QualifiedName>,
    pub change: DdlChange,
    /// The role that started the job or resumed it last.
    pub role: u32,
    /// The caller's search_path.
    pub search_path: String,
    pub state: DdlState,
    pub pid: Option<i32>,
    pub error: Option<String>,
    /// Whether existing rows were scanned for violations before the constraint was added.
    pub looked: bool,
}

impl DdlJob {
    /// Returns a change that runs as part of another job: its names are schema-qualified, and existing rows are checked by
    /// VALIDATE.
    pub fn for_column_job(relation: u32, table: QualifiedName, change: DdlChange) -> Self {
        Self {
            id: 0,
            relation,
            table: Some(table),
            change,
            role: 0,
            search_path: "pg_catalog, pg_temp".into(),
            state: DdlState::Running,
            pid: None,
            error: None,
            looked: true,
        }
    }

    /// The constraint that the job adds. For NOT NULL it is a temporary CHECK of the extension's own, which is dropped again.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_users_write_them() {
        assert_eq!(FkAction::parse(" set  null"), Some(FkAction::SetNull));
        assert_eq!(FkAction::parse("cascade"), Some(FkAction::Cascade));
        assert_eq!(FkAction::parse("CASCADE; DROP TABLE x"), None);
    }

    #[test]
    fn a_change_is_kept_as_json() {
        let change = DdlChange::NotNull { column: "a".into() };
        let json = serde_json::to_value(&change).unwrap();
        assert_eq!(json, serde_json::json!({"kind": "not_null", "column": "a"}));
        assert_eq!(serde_json::from_value::<DdlChange>(json).unwrap(), change);
    }
}
