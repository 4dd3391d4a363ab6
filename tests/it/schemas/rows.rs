//! Rows for one table: what its foreign keys, checks and types want, drawn at random.

use super::catalog::{ForeignKey, Table};
use super::sql::{literal, quoted};
use crate::common::writers::Random;
use postgres::{Client, Error};
use std::collections::{BTreeMap, BTreeSet};

/// Where tables are found by this name: the old tables, or the new ones.
pub trait Names {
    fn name(&self, table: u32) -> String;
}

/// The text of each value, by the place of its column; none is NULL.
pub type Values = BTreeMap<usize, Option<String>>;

pub enum Built {
    Row(Values),
    /// A row of this table has to be there first.
    Wants(u32),
    /// A column whose type this program has no values for.
    Unknown(String),
}

pub struct Builder<'a, N> {
    pub client: &'a mut Client,
    pub names: &'a N,
    pub random: &'a mut Random,
}

impl<N: Names> Builder<'_, N> {
    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    /// A new row; `given` is in it.
    pub fn row(&mut self, table: &Table, given: &Values) -> Result<Built, Error> {
        let mut values = given.clone();
        // Checks that want one of many columns are met by rows of few values only.
        let nulls = [25, 60, 90][usize::try_from(self.random.below(3)).unwrap_or(0)];
        for key in &table.foreign_keys {
            if let Some(wanted) = self.refer(table, key, &mut values, nulls)? {
                return Ok(Built::Wants(wanted));
            }
        }
        for (place, column) in table.columns.iter().enumerate() {
            if column.computed || values.contains_key(&place) {
                continue;
            }
            let is_key = table.key.contains(&place);
            if column.has_default && (is_key || self.random.below(3) > 0) {
                continue;
            }
            if !column.not_null && self.random.below(100) < nulls {
                values.insert(place, None);
                continue;
            }
            match self.value(table, place) {
                Some(value) => values.insert(place, Some(value)),
                None if column.has_default => None,
                None if !column.not_null => values.insert(place, None),
                None => {
                    let why = format!("column {} of type {}", column.name, column.declared);
                    return Ok(Built::Unknown(why));
                }
            };
        }
        Ok(Built::Row(values))
    }

    fn value(&mut self, table: &Table, place: usize) -> Option<String> {
        let column = &table.columns[place];
        let words = column.words.len() as u64;
        if words > 0 && !self.chance(3) {
            let n = usize::try_from(self.random.below(words)).ok()?;
            return column.words.get(n).cloned();
        }
        column.kind.value(self.random)
    }

    /// Lets a foreign key refer to a row that is there, and to nothing in `nulls` of a hundred rows, where it may. The table that has no
    /// row to refer to, where there has to be one.
    fn refer(
        &mut self,
        table: &Table,
        key: &ForeignKey,
        values: &mut Values,
        nulls: u64,
    ) -> Result<Option<u32>, Error> {
        if key.columns.iter().any(|c| values.get(c) == Some(&None)) {
            return Ok(None);
        }
        let may_be_null = |c: &&usize| !table.columns[**c].not_null && !values.contains_key(c);
        let null = key.columns.iter().find(may_be_null).copied();
        if let Some(null) = null
            && self.random.below(100) < nulls
        {
            values.insert(null, None);
            return Ok(None);
        }
        if key.columns.iter().all(|c| values.contains_key(c)) {
            return Ok(None);
        }
        let parent = self.parent(key, values)?;
        let Some(parent) = parent else {
            let Some(null) = null else {
                return Ok(Some(key.parent));
            };
            values.insert(null, None);
            return Ok(None);
        };
        for (place, value) in key.columns.iter().zip(parent) {
            values.entry(*place).or_insert(value);
        }
        Ok(None)
    }

    /// The key of a row that agrees with what is decided already.
    fn parent(
        &mut self,
        key: &ForeignKey,
        values: &Values,
    ) -> Result<Option<Vec<Option<String>>>, Error> {
        let columns: Vec<String> = key.parent_columns.iter().map(|c| quoted(c)).collect();
        let decided = key.columns.iter().zip(&columns);
        let decided = decided.filter_map(|(c, name)| {
            let value = values.get(c)?.as_deref()?;
            Some(format!("{name}::text = {}", literal(value)))
        });
        let conditions: Vec<String> = columns
            .iter()
            .map(|c| format!("{c} IS NOT NULL"))
            .chain(decided)
            .collect();
        let texts: Vec<String> = columns.iter().map(|c| format!("{c}::text")).collect();
        let query = format!(
            "SELECT ARRAY[{}] FROM {} WHERE {} ORDER BY random() LIMIT 1",
            texts.join(", "),
            self.names.name(key.parent),
            conditions.join(" AND ")
        );
        let row = self.client.query_opt(&query, &[])?;
        Ok(row.map(|r| r.get(0)))
    }

    /// New values for one foreign key or for one to three columns; none of the primary key, but now and then all of it.
    pub fn change(&mut self, table: &Table) -> Result<Values, Error> {
        let mut values = Values::new();
        let of_keys: BTreeSet<usize> = table
            .foreign_keys
            .iter()
            .flat_map(|k| k.columns.clone())
            .collect();
        if !table.foreign_keys.is_empty() && self.chance(4) {
            let n = self.random.below(table.foreign_keys.len() as u64);
            let key = &table.foreign_keys[usize::try_from(n).unwrap_or(0)];
            if !key.columns.iter().any(|c| table.key.contains(c)) {
                self.refer(table, key, &mut values, 25)?;
            }
        }
        let moves_key = self.chance(25);
        let free: Vec<usize> = (0..table.columns.len())
            .filter(|p| !table.columns[*p].computed && !of_keys.contains(p))
            .filter(|p| moves_key || !table.key.contains(p))
            .collect();
        for _ in 0..=self.random.below(3) {
            let Some(place) =
                free.get(usize::try_from(self.random.below(free.len().max(1) as u64)).unwrap_or(0))
            else {
                break;
            };
            let null = !table.columns[*place].not_null && self.chance(4);
            let value = if null {
                None
            } else {
                self.value(table, *place)
            };
            if value.is_some() || !table.columns[*place].not_null {
                values.insert(*place, value);
            }
        }
        Ok(values)
    }

    /// The condition for up to `most` rows that are there.
    pub fn some_rows(&mut self, table: &Table, most: u64) -> Result<Option<String>, Error> {
        let key = table.key_sql();
        let texts: Vec<String> = key.iter().map(|c| format!("{c}::text")).collect();
        let query = format!(
            "SELECT ARRAY[{}] FROM {} ORDER BY random() LIMIT {most}",
            texts.join(", "),
            self.names.name(table.oid)
        );
        let rows = self.client.query(&query, &[])?;
        let each = rows.iter().map(|r| {
            let values: Vec<String> = r.get(0);
            let values = values.iter().zip(&table.key);
            let values: Vec<String> = values.map(|(v, k)| spelled(table, *k, Some(v))).collect();
            format!("({})", values.join(", "))
        });
        let each: Vec<String> = each.collect();
        let is_any = !each.is_empty();
        Ok(is_any.then(|| format!("({}) IN ({})", key.join(", "), each.join(", "))))
    }
}

fn spelled(table: &Table, place: usize, value: Option<&str>) -> String {
    let declared = &table.columns[place].declared;
    value.map_or("NULL".to_owned(), |v| format!("{}::{declared}", literal(v)))
}

/// `scope` is a column that only new tables have, and its value.
pub fn insert(table: &Table, name: &str, values: &Values, scope: Option<(&str, &str)>) -> String {
    let (mut columns, mut texts) = (Vec::new(), Vec::new());
    for (place, value) in values {
        columns.push(table.column_sql(*place));
        texts.push(spelled(table, *place, value.as_deref()));
    }
    if let Some((column, value)) = scope {
        columns.push(quoted(column));
        texts.push(literal(value));
    }
    if columns.is_empty() {
        return format!("INSERT INTO {name} DEFAULT VALUES");
    }
    format!(
        "INSERT INTO {name} ({}) VALUES ({})",
        columns.join(", "),
        texts.join(", ")
    )
}

pub fn assignments(table: &Table, values: &Values) -> String {
    let one = |(place, value): (&usize, &Option<String>)| {
        let value = spelled(table, *place, value.as_deref());
        format!("{} = {value}", table.column_sql(*place))
    };
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}
