//! Column changes: new columns that replace a column of the same table, or are computed from other columns.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::ddl_change::DdlChange;
use crate::model::text_enum::text_enum;
use serde::{Deserialize, Serialize};

/// A row of `mig.new_column`.
#[derive(Clone, Debug, Deserialize)]
pub struct NewColumn {
    pub id: i32,
    pub leader: i32,
    pub relation: u32,
    /// None if the table is gone.
    pub table: Option<QualifiedName>,
    pub owner: Option<u32>,
    /// The role that gave the expressions; None for what was defined before 0.8.0.
    pub author: Option<u32>,
    pub name: Ident,
    #[serde(rename = "type")]
    pub type_text: String,
    pub up: String,
    pub down: Option<String>,
    pub column_default: Option<String>,
    pub not_null: bool,
    pub replaces: Option<Ident>,
    /// The value may depend on session settings or on the time of day.
    pub mutable: bool,
    pub bound_blocks: Option<i64>,
    pub next_block: i64,
    pub filenode: Option<i64>,
    pub batch_blocks: Option<i64>,
    pub filled: bool,
    pub busy: Vec<i64>,
    pub late: Option<Vec<Dependent>>,
    /// The column names before the archive step; set once that step has renamed the old column.
    pub archived: Option<ArchivedNames>,
}

/// Column names before the archive step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchivedNames {
    pub old: Ident,
    /// None where the new column kept its name.
    pub new: Option<Ident>,
}

/// An index, key or check of the old column that the new column gets as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependent {
    pub change: DdlChange,
    /// Becomes a UNIQUE constraint at the switch; the value says whether it is deferrable.
    #[serde(default)]
    pub unique: Option<bool>,
    /// Such a constraint is checked at the end of the transaction.
    #[serde(default)]
    pub initially_deferred: bool,
    /// A CHECK that replaces NOT NULL until the switch.
    #[serde(default)]
    pub not_null: bool,
    #[serde(default)]
    pub comment: Option<String>,
}

/// New columns that are synchronized together: all those that replace one old column, or a single computed column.
#[derive(Clone, Debug)]
pub struct ColumnChange {
    /// The id of its first column, which holds the checkpoint.
    pub id: i32,
    pub relation: u32,
    pub table: Option<QualifiedName>,
    pub columns: Vec<NewColumn>,
    pub replaces: Option<ReplacedColumn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReplacedColumn {
    pub name: Ident,
    /// SQL expression that computes its value from the new columns.
    pub down: String,
}

text_enum! {
    /// What the column trigger does with a row: its second argument.
    pub enum SyncStage {
        /// The old column is authoritative; new columns that are null are filled whenever a row is written.
        Old = "old",
        /// The application writes both.
        Both = "both",
        /// The new columns are authoritative, and the old column follows.
        New = "new",
    }
}

impl ColumnChange {
    /// Groups columns, given in the order of their ids, by leader.
    pub fn group_columns(columns: Vec<NewColumn>) -> Vec<ColumnChange> {
        let mut all: Vec<ColumnChange> = Vec::new();
        for c in columns {
            match all.iter_mut().find(|r| r.id == c.leader) {
                Some(r) => {
                    if let (Some(replaced), Some(down)) = (&mut r.replaces, &c.down) {
                        replaced.down.clone_from(down);
                    }
                    r.columns.push(c);
                }
                None => all.push(ColumnChange {
                    id: c.leader,
                    relation: c.relation,
                    table: c.table.clone(),
                    replaces: c.replaces.clone().map(|name| ReplacedColumn {
                        name,
                        down: c.down.clone().unwrap_or_default(),
                    }),
                    columns: vec![c],
                }),
            }
        }
        all
    }

    pub fn leader(&self) -> &NewColumn {
        &self.columns[0]
    }

    /// Errors: 42P01 where the table is gone.
    pub fn table(&self) -> Result<&QualifiedName> {
        self.table.as_ref().ok_or_else(|| Error::unsuitable(
            format!("relation {}", self.relation),
            "gone".into(),
            format!("Forget the migration: SELECT mig_drop(migration, force => true) FROM (SELECT DISTINCT migration FROM mig.columns WHERE relation::oid = {}) gone;", self.relation),
        ))
    }

    /// Returns table and column names for messages.
    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        let table = self
            .table
            .as_ref()
            .map_or_else(|| self.relation.to_string(), QualifiedName::plain);
        match &self.replaces {
            Some(old) => format!("{table} ({} -> {})", old.name.as_str(), names.join(", ")),
            None => format!("{table} ({})", names.join(", ")),
        }
    }

    pub fn late(&self) -> impl Iterator<Item = (&NewColumn, &Dependent)> {
        self.columns
            .iter()
            .flat_map(|c| c.late.iter().flatten().map(move |l| (c, l)))
    }
}

/// Returns a name for the new column's index or constraint: the old name with the column name replaced.
pub fn exchange_name(name: &Ident, old: &Ident, new: &Ident) -> Ident {
    let (text, old) = (name.as_str(), old.as_str());
    if text.contains(old) {
        Ident::derive(&[&text.replacen(old, new.as_str(), 1)])
    } else {
        Ident::derive(&[text, new.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(id: i32, leader: i32, replaces: Option<&str>, down: Option<&str>) -> NewColumn {
        serde_json::from_value(serde_json::json!({
            "id": id, "leader": leader, "relation": 7, "table": {"schema": "public", "name": "t"}, "owner": 10,
            "name": format!("c{id}"), "type": "text", "up": "a", "down": down, "column_default": null, "not_null": false,
            "replaces": replaces, "mutable": false, "bound_blocks": null, "next_block": 0, "filenode": null, "batch_blocks": null,
            "filled": false, "busy": [], "late": null, "archived": null
        }))
        .unwrap()
    }

    #[test]
    fn columns_that_replace_one_belong_together() {
        let all = ColumnChange::group_columns(vec![
            column(1, 1, Some("full"), None),
            column(2, 2, None, None),
            column(3, 1, Some("full"), Some("c1 || c3")),
        ]);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].columns.len(), 2);
        assert_eq!(all[0].replaces.as_ref().unwrap().down, "c1 || c3");
        assert_eq!(all[0].describe(), "public.t (full -> c1, c3)");
    }

    #[test]
    fn indexes_are_named_after_the_new_column() {
        let name = |n: &str, new: &str| {
            exchange_name(&n.into(), &"meta".into(), &new.into())
                .as_str()
                .to_owned()
        };
        assert_eq!(name("t_meta_idx", "facts"), "t_facts_idx");
        assert_eq!(name("t_meta_idx", "meta_new"), "t_meta_new_idx");
        assert_eq!(name("by_x", "facts"), "by_x_facts");
    }
}
