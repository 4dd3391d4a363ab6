//! Sessions of an application that knows nothing of us: random transactions on all tables, on one side or on both.

use super::catalog::Table;
use super::judge::{Errors, Judge};
use super::noted::SCOPE;
use super::rows::{Builder, Built, Names as _, Values, assignments, insert};
use super::sql::literal;
use super::stage::{Side, SideNames, Stage};
use crate::common::cluster::Cluster;
use crate::common::load::{Load, Place};
use crate::common::writers::Random;
use postgres::{Client, Error};
use std::sync::Arc;

#[derive(Default, Debug, Clone)]
pub struct Tally {
    pub transactions: u64,
    pub statements: u64,
    pub changes: u64,
    pub errors: Errors,
    /// Statements after which the notes were counted, and those where the numbers differ.
    pub counted: u64,
    pub miscounted: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.transactions += other.transactions;
        self.statements += other.statements;
        self.changes += other.changes;
        self.counted += other.counted;
        self.errors.add(&other.errors);
        self.miscounted.extend(other.miscounted.iter().cloned());
    }
}

pub struct Crew(Load<Tally>);

impl Crew {
    pub fn start(
        cluster: &Cluster,
        stage: &Arc<Stage>,
        judge: &Judge,
        mode: Side,
        seed: u64,
        size: u64,
    ) -> Self {
        let one = |n: u64| {
            let mut client = cluster.connect(&stage.database);
            let pid = client
                .query_one("SELECT pg_backend_pid()", &[])
                .expect("a number")
                .get(0);
            judge.pids.lock().expect("no writer panics").insert(pid);
            let writer = Writer {
                stage: Arc::clone(stage),
                judge: judge.clone(),
                mode,
                random: Random::new(seed * 1000 + n),
                tally: Tally::default(),
            };
            move |place: &Place| writer.work(client, place)
        };
        Self(Load::start((0..size).map(one)))
    }

    pub fn wait_for(&self, more: u64) {
        self.0.wait_for(more);
    }

    pub fn stop(self) -> Tally {
        let mut all = Tally::default();
        for t in self.0.stop() {
            all.add(&t);
        }
        all
    }
}

struct Writer {
    stage: Arc<Stage>,
    judge: Judge,
    mode: Side,
    random: Random,
    tally: Tally,
}

impl Writer {
    fn work(mut self, mut client: Client, place: &Place) -> Tally {
        while !place.is_over() {
            let (mut side, mut last) = (self.mode, String::new());
            if let Err(e) = self.transaction(&mut client, &mut side, &mut last) {
                self.judge.judge(&e, side, &last, &mut self.tally.errors);
                client.batch_execute("ROLLBACK").expect("it rolls back");
            }
            place.count();
        }
        self.tally
    }

    fn transaction(
        &mut self,
        client: &mut Client,
        side: &mut Side,
        last: &mut String,
    ) -> Result<(), Error> {
        let level = [
            "READ COMMITTED",
            "READ COMMITTED",
            "REPEATABLE READ",
            "REPEATABLE READ",
            "SERIALIZABLE",
        ];
        let level = level[usize::try_from(self.random.below(5)).unwrap_or(0)];
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}"))?;
        for _ in 0..=self.random.below(3) {
            *side = match (self.mode, self.random.below(2)) {
                (Side::Both, 0) => Side::Old,
                (Side::Both, _) => Side::New,
                (one, _) => one,
            };
            let n = self.random.below(self.stage.tables.len() as u64);
            let stage = Arc::clone(&self.stage);
            let table = &stage.tables[usize::try_from(n).unwrap_or(0)];
            let Some(sql) = self.statement(client, table, *side)? else {
                continue;
            };
            last.clone_from(&sql);
            let path = match *side {
                Side::New => &self.stage.new_path,
                _ => "DEFAULT",
            };
            client.batch_execute(&format!("SET LOCAL search_path = {path}"))?;
            self.run(client, table, &sql)?;
        }
        *last = format!("the end of the transaction after {last}");
        let end = if self.random.below(10) == 0 {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        client.batch_execute(end)?;
        self.tally.transactions += 1;
        Ok(())
    }

    /// Runs a statement and counts the notes that it leaves.
    fn run(&mut self, client: &mut Client, table: &Table, sql: &str) -> Result<(), Error> {
        let noted = format!(
            "SELECT count(*) FROM noted.change WHERE by_transaction = pg_current_xact_id() AND relation = {}",
            literal(&table.plain())
        );
        let counts = self.stage.noted.contains(&table.oid) && self.random.below(3) == 0;
        let notes = |client: &mut Client| -> Result<i64, Error> {
            Ok(if counts {
                client.query_one(&noted, &[])?.get(0)
            } else {
                0
            })
        };
        let before = notes(client)?;
        let changed = client.execute(sql, &[])?;
        let after = notes(client)?;
        self.tally.statements += 1;
        self.tally.changes += changed;
        if counts {
            self.tally.counted += 1;
            let (changed, new) = (i64::try_from(changed).unwrap_or(0), after - before);
            let may_be_more = self.stage.with_side_effects.contains(&table.oid);
            if new < changed || new > changed && !may_be_more {
                self.tally
                    .miscounted
                    .push(format!("{new} notes of {changed} changes: {sql}"));
            }
        }
        Ok(())
    }

    fn statement(
        &mut self,
        client: &mut Client,
        table: &Table,
        side: Side,
    ) -> Result<Option<String>, Error> {
        let names = SideNames(&self.stage, side);
        let name = names.name(table.oid);
        let scope = (self.stage.is_scoped && side == Side::New).then_some((SCOPE, "7"));
        let what = self.random.below(14);
        let mut builder = Builder {
            client,
            names: &names,
            random: &mut self.random,
        };
        Ok(match what {
            0..=4 => match builder.row(table, &Values::new())? {
                Built::Row(values) => {
                    let upsert = if what == 0 {
                        " ON CONFLICT DO NOTHING"
                    } else {
                        ""
                    };
                    Some(insert(table, &name, &values, scope) + upsert)
                }
                _ => None,
            },
            5..=11 => {
                let values = builder.change(table)?;
                let rows = builder.some_rows(table, if what == 5 { 4 } else { 1 })?;
                let rows = rows.filter(|_| !values.is_empty());
                rows.map(|rows| {
                    format!(
                        "UPDATE {name} SET {} WHERE {rows}",
                        assignments(table, &values)
                    )
                })
            }
            _ => {
                let rows = builder.some_rows(table, 1)?;
                rows.map(|rows| {
                    format!("DELETE FROM {name} WHERE {rows} AND (SELECT count(*) FROM {name}) > 5")
                })
            }
        })
    }
}
