//! Rows for all tables of a schema that is somebody else's: what a table wants is found out by trying.

use super::catalog::Table;
use super::rows::{Builder, Built, Names, Values, insert};
use crate::common::writers::Random;
use postgres::{Client, Error};
use std::collections::BTreeMap;

/// How often a row is drawn anew before its table counts as one that takes none.
const TRIES: u32 = 150;

/// The old tables, under their names.
pub struct OldNames<'a>(pub &'a [Table]);

impl Names for OldNames<'_> {
    fn name(&self, table: u32) -> String {
        let found = self.0.iter().find(|t| t.oid == table);
        found.map_or_else(|| format!("pg_class /* {table} */"), Table::sql)
    }
}

pub struct Filled {
    pub rows: u64,
    /// Tables without a row, and why.
    pub empty: Vec<String>,
}

pub struct Filler<'a> {
    client: &'a mut Client,
    tables: &'a [Table],
    random: Random,
    rows: BTreeMap<u32, u64>,
    /// A row of each table that was taken: the next ones are like it in what is hard to get right.
    models: BTreeMap<u32, Values>,
    why: BTreeMap<u32, String>,
}

enum Try {
    Taken,
    Refused,
    /// There is no row to refer to, or no value to be had.
    Impossible,
}

impl<'a> Filler<'a> {
    pub fn new(client: &'a mut Client, tables: &'a [Table], seed: u64) -> Self {
        Self {
            client,
            tables,
            random: Random::new(seed),
            rows: BTreeMap::new(),
            models: BTreeMap::new(),
            why: BTreeMap::new(),
        }
    }

    /// About `each` rows for every table.
    pub fn fill(mut self, each: u64) -> Filled {
        loop {
            let before = self.count();
            for t in self.tables {
                self.fill_table(t, each);
            }
            if self.count() == before && !self.break_circle() {
                break;
            }
        }
        let empty = self
            .tables
            .iter()
            .filter(|t| !self.rows.contains_key(&t.oid));
        let empty = empty.map(|t| format!("{}: {}", t.plain(), self.why[&t.oid]));
        Filled {
            rows: self.count(),
            empty: empty.collect(),
        }
    }

    fn count(&self) -> u64 {
        self.rows.values().sum()
    }

    fn fill_table(&mut self, table: &Table, each: u64) {
        let mut failures = 0;
        while self.rows.get(&table.oid).copied().unwrap_or(0) < each && failures < TRIES {
            match self.attempt(table, &Values::new()) {
                Ok(Try::Taken) => {}
                Ok(Try::Refused) => failures += 1,
                Ok(Try::Impossible) => return,
                Err(e) => panic!("{}: {e:?}", table.plain()),
            }
        }
    }

    /// One row, under a savepoint where there is a transaction.
    fn attempt(&mut self, table: &Table, given: &Values) -> Result<Try, Error> {
        let names = OldNames(self.tables);
        let mut given = given.clone();
        if let Some(model) = self.models.get(&table.oid)
            && self.random.below(4) > 0
        {
            let hard = |(place, value): &(&usize, &Option<String>)| {
                value.is_none() || !table.columns[**place].words.is_empty()
            };
            for (place, value) in model.iter().filter(hard) {
                given.entry(*place).or_insert_with(|| value.clone());
            }
        }
        let mut builder = Builder {
            client: self.client,
            names: &names,
            random: &mut self.random,
        };
        let values = match builder.row(table, &given)? {
            Built::Row(values) => values,
            Built::Wants(parent) => {
                let why = format!("it refers to {}, which has no row", names.name(parent));
                self.why.insert(table.oid, why);
                return Ok(Try::Impossible);
            }
            Built::Unknown(why) => {
                self.why.insert(table.oid, why);
                return Ok(Try::Impossible);
            }
        };
        let mut transaction = self.client.transaction()?;
        match transaction.execute(&insert(table, &table.sql(), &values, None), &[]) {
            // A trigger may put the row elsewhere, or nowhere.
            Ok(0) => {
                self.why
                    .insert(table.oid, "its triggers take no row".to_owned());
                Ok(Try::Refused)
            }
            Ok(_) => match transaction.commit() {
                Ok(()) => {
                    *self.rows.entry(table.oid).or_default() += 1;
                    self.models.insert(table.oid, values);
                    Ok(Try::Taken)
                }
                Err(e) => Ok(self.refused(table, &e)),
            },
            Err(e) => {
                drop(transaction);
                Ok(self.refused(table, &e))
            }
        }
    }

    fn refused(&mut self, table: &Table, e: &Error) -> Try {
        let told = e.as_db_error().map_or_else(
            || e.to_string(),
            |d| format!("{} {}", d.code().code(), d.message()),
        );
        self.why.insert(table.oid, told);
        Try::Refused
    }

    /// Tables that want each other's rows get the first ones with one key unchecked: the row that it names comes next.
    fn break_circle(&mut self) -> bool {
        let tables = self.tables;
        let is_stuck = |t: &&Table| !self.rows.contains_key(&t.oid);
        let stuck: Vec<&Table> = tables.iter().filter(is_stuck).collect();
        for table in stuck {
            for key in &table.foreign_keys {
                let Some(parent) = tables.iter().find(|t| t.oid == key.parent) else {
                    continue;
                };
                let places: Option<Vec<usize>> = key
                    .parent_columns
                    .iter()
                    .map(|c| parent.columns.iter().position(|p| p.name == *c))
                    .collect();
                let Some(places) = places.filter(|_| !self.rows.contains_key(&parent.oid)) else {
                    continue;
                };
                let drawn = places
                    .iter()
                    .map(|p| parent.columns[*p].kind.value(&mut self.random));
                let Some(drawn) = drawn.collect::<Option<Vec<String>>>() else {
                    continue;
                };
                let pair = |places: &[usize]| {
                    places
                        .iter()
                        .copied()
                        .zip(drawn.iter().cloned().map(Some))
                        .collect::<Values>()
                };
                if self.seed(table, &pair(&key.columns), parent, &pair(&places)) {
                    return true;
                }
            }
        }
        false
    }

    fn seed(
        &mut self,
        child: &Table,
        child_values: &Values,
        parent: &Table,
        parent_values: &Values,
    ) -> bool {
        let unchecked = |on: &str| format!("SET session_replication_role = {on}");
        let mut run = |sql: &str| self.client.batch_execute(sql).expect("a setting");
        if child.oid == parent.oid {
            let mut both = child_values.clone();
            both.extend(parent_values.clone());
            return matches!(self.attempt(child, &both), Ok(Try::Taken));
        }
        run(&unchecked("replica"));
        let first = self.attempt(child, child_values);
        self.client
            .batch_execute(&unchecked("origin"))
            .expect("a setting");
        if !matches!(first, Ok(Try::Taken)) {
            return false;
        }
        let second =
            (0..TRIES).any(|_| matches!(self.attempt(parent, parent_values), Ok(Try::Taken)));
        if !second {
            self.rows.remove(&child.oid);
            self.models.remove(&child.oid);
            let undo = format!(
                "SET session_replication_role = replica; DELETE FROM {}; SET session_replication_role = origin",
                child.sql()
            );
            self.client
                .batch_execute(&undo)
                .expect("an unchecked row goes");
        }
        second
    }
}
