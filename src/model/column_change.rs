//! Columns of one table that take the place of another one, or are computed from others.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::ddl_change::DdlChange;
use serde::{Deserialize, Serialize};

/// One row of `mig.new_column`.
#[derive(Clone, Debug, Deserialize)]
pub struct NewColumn {
    pub id: i32,
    pub leader: i32,
    pub relation: u32,
    /// None if the table is gone.
    pub table: Option<QualifiedName>,
    pub owner: Option<u32>,
    pub name: Ident,
    #[serde(rename = "type")]
    pub type_text: String,
    pub up: String,
    pub down: Option<String>,
    pub column_default: Option<String>,
    pub not_null: bool,
    pub replaces: Option<Ident>,
    /// The value may depend on settings of the session or on the time of day.
    pub mutable: bool,
    pub bound_blocks: Option<i64>,
    pub next_block: i64,
    pub filenode: Option<i64>,
    pub batch_blocks: Option<i64>,
    pub filled: bool,
    pub busy: Vec<i64>,
    pub late: Option<Vec<Dependent>>,
    /// The old column's name before the archive, where it has another one now.
    pub archived: Option<ArchivedNames>,
}

/// Names as they were before the archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchivedNames {
    pub old: Ident,
    /// None where the new column kept its name.
    pub new: Option<Ident>,
}

/// What the new column gets of what the old one has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependent {
    pub change: DdlChange,
    /// Becomes a UNIQUE constraint at the switch: deferrable or not.
    #[serde(default)]
    pub unique: Option<bool>,
    /// Stands for NOT NULL until the switch.
    #[serde(default)]
    pub not_null: bool,
    #[serde(default)]
    pub comment: Option<String>,
}

/// New columns that are kept in step together: those that replace one old column, or one that is computed.
#[derive(Clone, Debug)]
pub struct ColumnChange {
    /// That of its first column, which has the checkpoint.
    pub id: i32,
    pub relation: u32,
    pub table: Option<QualifiedName>,
    pub columns: Vec<NewColumn>,
    pub replaces: Option<ReplacedColumn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReplacedColumn {
    pub name: Ident,
    /// Its value, from the new ones.
    pub down: String,
}

/// What the trigger does with a row: its second argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStage {
    /// The old column is the truth: new ones that are null are filled in passing.
    Old,
    /// Both are written.
    Both,
    /// The new ones are the truth, and the old one follows.
    New,
}

impl SyncStage {
    pub fn as_str(self) -> &'static str {
        match self {
            SyncStage::Old => "old",
            SyncStage::Both => "both",
            SyncStage::New => "new",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [SyncStage::Old, SyncStage::Both, SyncStage::New]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

impl ColumnChange {
    /// Columns, in the order of their ids, put together.
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

    /// Errors with 42P01 where the table is gone.
    pub fn table(&self) -> Result<&QualifiedName> {
        self.table.as_ref().ok_or_else(|| Error::Unsuitable {
            relation: format!("relation {}", self.relation),
            kind: "gone".into(),
            hint: format!("Forget the migration: SELECT mig_drop(migration, force => true) FROM (SELECT DISTINCT migration FROM mig.columns WHERE relation::oid = {}) gone;", self.relation),
        })
    }

    /// For messages.
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

/// A name for the new column's index or constraint: the old one's with the columns' names exchanged.
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
