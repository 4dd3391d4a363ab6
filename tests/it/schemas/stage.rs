//! What moves and where to: the setting of one run.

use super::catalog::Table;
use super::noted::{self, SCOPE};
use super::rows::Names;
use super::sql::{literal, quoted};
use postgres::Client;
use std::collections::BTreeSet;

/// Where the targets are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// In a schema of their own, under the same names, without a scope.
    Beside,
    /// In the same schema, with a prefix and a scope.
    Scoped,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Side {
    Old,
    New,
    Both,
}

/// What moves, and where to.
pub struct Stage {
    pub database: String,
    pub tables: Vec<Table>,
    /// The new name of each table.
    pub targets: Vec<String>,
    /// Tables that stay, by the name that SQL has for them.
    pub staying: Vec<Table>,
    pub is_scoped: bool,
    /// How new instances of the application find tables whose names they do not qualify, where the old ones say nothing.
    pub new_path: String,
    /// Tables whose changes are noted.
    pub noted: BTreeSet<u32>,
    /// Whether a statement changes rows of its table that it does not count: by cascades or triggers.
    pub with_side_effects: BTreeSet<u32>,
}

pub struct SideNames<'a>(pub &'a Stage, pub Side);

impl Names for SideNames<'_> {
    fn name(&self, table: u32) -> String {
        let Self(stage, side) = self;
        let Some(at) = stage.tables.iter().position(|t| t.oid == table) else {
            let stays = stage.staying.iter().find(|t| t.oid == table);
            return stays.map_or_else(|| "pg_class".to_owned(), Table::sql);
        };
        match side {
            Side::Old => stage.tables[at].sql(),
            _ => stage.targets[at].clone(),
        }
    }
}

impl Stage {
    /// Installs pg_mig and our triggers, and defines the migration, without its tables. Returns also which tables are refused, and why.
    pub fn set(
        client: &mut Client,
        database: &str,
        tables: &[Table],
        shape: Shape,
    ) -> (Self, Vec<String>) {
        let scope = match shape {
            Shape::Beside => String::new(),
            Shape::Scoped => format!(", 'noted.scope', '7', scope_column => {}", literal(SCOPE)),
        };
        let mut setup = format!(
            "CREATE EXTENSION pg_mig; {} SELECT mig_define('others'{scope});",
            noted::SETUP
        );
        for t in tables.iter().filter(|_| shape == Shape::Beside) {
            setup += &format!(
                "CREATE SCHEMA IF NOT EXISTS {};",
                quoted(&format!("fresh_{}", t.schema))
            );
        }
        client
            .batch_execute(&setup)
            .unwrap_or_else(|e| panic!("{e:?}"));
        let (moving, staying, refused) = divide(client, tables, shape);
        let noted: Vec<&Table> = moving
            .iter()
            .filter(|t| shape == Shape::Beside || t.has_triggers)
            .collect();
        for t in &noted {
            noted::watch(client, t);
        }
        let has_triggers = tables.iter().any(|t| t.has_triggers);
        let aside = |t: &&&Table| has_triggers || t.foreign_keys.iter().any(|k| k.cascades);
        let stage = Self {
            database: database.to_owned(),
            targets: moving.iter().map(|t| target(t, shape)).collect(),
            noted: noted.iter().map(|t| t.oid).collect(),
            with_side_effects: noted.iter().filter(aside).map(|t| t.oid).collect(),
            tables: moving,
            staying,
            is_scoped: shape == Shape::Scoped,
            new_path: match shape {
                Shape::Beside => "fresh_public, public".to_owned(),
                Shape::Scoped => "DEFAULT".to_owned(),
            },
        };
        (stage, refused)
    }

    /// The calls that add the tables to the migration.
    pub fn adds(&self) -> Vec<String> {
        let shape = if self.is_scoped {
            Shape::Scoped
        } else {
            Shape::Beside
        };
        self.tables.iter().map(|t| add_table(t, shape)).collect()
    }

    /// The new tables, `schema.name`.
    pub fn plain_targets(&self) -> BTreeSet<String> {
        let plain = |t: &String| {
            t.replace("\".\"", ".")
                .trim_matches('"')
                .replace("\"\"", "\"")
        };
        self.targets.iter().map(plain).collect()
    }
}

/// The name of the target for `mig_add_table`.
fn target(table: &Table, shape: Shape) -> String {
    let (schema, name) = match shape {
        Shape::Beside => (format!("fresh_{}", table.schema), table.name.clone()),
        Shape::Scoped => {
            let longest = table
                .name
                .char_indices()
                .map(|c| c.0)
                .take_while(|n| *n <= 58)
                .last();
            let name = &table.name[..longest
                .filter(|_| table.name.len() > 59)
                .unwrap_or(table.name.len())];
            (table.schema.clone(), format!("new_{name}"))
        }
    };
    format!("{}.{}", quoted(&schema), quoted(&name))
}

fn add_table(table: &Table, shape: Shape) -> String {
    format!(
        "SELECT mig_add_table('others', {}, {})",
        literal(&table.sql()),
        literal(&target(table, shape))
    )
}

/// Tables that can move, those that cannot, and why: by mig_add_table and mig_preflight, tried and taken back.
fn divide(
    client: &mut Client,
    tables: &[Table],
    shape: Shape,
) -> (Vec<Table>, Vec<Table>, Vec<String>) {
    let mut refused = Vec::new();
    let mut transaction = client.transaction().expect("it begins");
    for t in tables {
        let mut inner = transaction.transaction().expect("a savepoint");
        match inner.batch_execute(&add_table(t, shape)) {
            Ok(()) => inner.commit().expect("it is kept"),
            Err(e) => {
                let why = e.as_db_error().map_or_else(
                    || e.to_string(),
                    |d| format!("{} {}", d.message(), d.detail().unwrap_or_default()),
                );
                refused.push((t.oid, format!("{}: {why}", t.plain())));
            }
        }
    }
    let errors = "SELECT relation::oid, relation::text || ': ' || check_name || ' ' || detail FROM mig_preflight() WHERE severity = 'error' AND relation IS NOT NULL";
    let errors = transaction
        .query(errors, &[])
        .unwrap_or_else(|e| panic!("mig_preflight: {e:?}"));
    refused.extend(errors.iter().map(|r| (r.get(0), r.get(1))));
    transaction.rollback().expect("it is taken back");
    let moves = |t: &&Table| !refused.iter().any(|(oid, _)| *oid == t.oid);
    let moving = tables.iter().filter(moves).cloned().collect();
    let staying = tables.iter().filter(|t| !moves(t)).cloned().collect();
    (
        moving,
        staying,
        refused.into_iter().map(|(_, why)| why).collect(),
    )
}
