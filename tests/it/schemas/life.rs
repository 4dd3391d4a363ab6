//! The whole life of one migration of all tables, there and back, beside an application.

use super::catalog::Table;
use super::compare::{self, Compared};
use super::facts;
use super::judge::Judge;
use super::stage::{Shape, Side, Stage};
use super::writers::{Crew, Tally};
use crate::common::cluster::Cluster;
use crate::wait::step;
use postgres::Client;
use std::sync::Arc;
use std::time::Instant;

const WRITERS: u64 = 4;

pub struct Life<'a> {
    cluster: &'a Cluster,
    pub(super) client: Client,
    pub(super) stage: Arc<Stage>,
    judge: Judge,
    seed: u64,
    /// Transactions that writers do at each station.
    transactions: u64,
    pub(super) tally: Tally,
    pub(super) compared: Compared,
    pub(super) refused: Vec<String>,
    pub(super) told: Vec<String>,
}

impl<'a> Life<'a> {
    pub fn new(
        cluster: &'a Cluster,
        database: &str,
        tables: &[Table],
        shape: Shape,
        seed: u64,
        transactions: u64,
    ) -> Self {
        let mut client = cluster.connect(database);
        let (stage, refused) = Stage::set(&mut client, database, tables, shape);
        Self {
            cluster,
            client,
            judge: Judge::new(&stage.tables, stage.plain_targets()),
            stage: Arc::new(stage),
            seed,
            transactions,
            tally: Tally::default(),
            compared: Compared::default(),
            refused,
            told: Vec::new(),
        }
    }

    /// Calls a function of ours.
    fn call(&mut self, sql: &str) {
        let began = Instant::now();
        step(&mut self.client, sql);
        self.told_after(sql, began);
    }

    fn told_after(&mut self, what: &str, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        println!("  {seconds:8.2} s  {what}");
    }

    /// `both_live`: whether writes of either side reach the other at some time of it.
    fn crew(&mut self, mode: Side, both_live: bool) -> Crew {
        self.seed += 1;
        self.judge.both_live = both_live;
        Crew::start(
            self.cluster,
            &self.stage,
            &self.judge,
            mode,
            self.seed,
            WRITERS,
        )
    }

    /// Ends a crew after it has done its part.
    fn end(&mut self, crew: Crew) {
        crew.wait_for(self.transactions);
        let tally = crew.stop();
        if !tally.errors.ours.is_empty() {
            println!(
                "  OURS: {:#?}",
                tally.errors.ours.iter().take(3).collect::<Vec<_>>()
            );
        }
        self.tally.add(&tally);
    }

    /// A schema may be large, and the machine busy: this is for a job that hangs.
    fn wait_for_job(&mut self) {
        let ends = self
            .client
            .query_one("SELECT mig_wait(timeout => '1 h')", &[]);
        assert!(ends.expect("it waits").get::<_, bool>(0), "the job ends");
    }

    fn backfill(&mut self) {
        let began = Instant::now();
        step(&mut self.client, "SELECT mig_backfill()");
        self.wait_for_job();
        self.told_after("the backfill, to its last index and key", began);
    }

    fn compare(&mut self, when: &str) {
        let found = compare::rows(&mut self.client, &self.stage);
        self.judge_sides(when, found);
    }

    fn judge_sides(&mut self, when: &str, found: Compared) {
        assert!(found.problems.is_empty(), "{when}: {:#?}", found.problems);
        self.compared.add(found);
    }

    /// At rest: rows, notes, and what our own check says.
    fn compare_at_rest(&mut self, when: &str, (old, new): (bool, bool)) {
        if old && new {
            self.compare(when);
            step(&mut self.client, "SELECT mig_assert()");
        }
        let problems = compare::notes(&mut self.client, &self.stage, old, new);
        assert!(problems.is_empty(), "{when}: {problems:#?}");
    }

    pub fn live(&mut self) {
        let crew = self.crew(Side::Old, false);
        self.end(crew);
        self.judge.without_us = self.tally.errors.seen.clone();
        self.tally = Tally::default();
        for add in self.stage.adds() {
            let added = self.client.batch_execute(&add);
            added.expect("it was added before");
        }
        let findings = "SELECT severity || ' ' || check_name || coalesce(' ' || relation::text, '') || ': ' || detail FROM mig_preflight() WHERE severity <> 'info' ORDER BY 1";
        let findings = self.client.query(findings, &[]).expect("preflight runs");
        self.told = findings.iter().map(|r| r.get(0)).collect();
        let triggers = self
            .told
            .iter()
            .filter(|f| f.starts_with("warning triggers"));
        self.judge.about_triggers = triggers.cloned().collect();
        self.call("SELECT mig_create()");
        let crew = self.crew(Side::Old, false);
        self.call("SELECT mig_dual_write()");
        self.backfill();
        self.compare("backfilled, beside writers");
        self.end(crew);
        self.compare_at_rest("backfilled", (true, true));
        if !self.stage.is_scoped {
            let untold = facts::untold(&mut self.client, &self.stage, &self.told);
            assert!(untold.is_empty(), "preflight says nothing of: {untold:#?}");
        }
        self.both_sides();
        self.back_and_forth();
        self.stopped();
    }

    fn both_sides(&mut self) {
        let crew = self.crew(Side::Old, true);
        self.call("SELECT mig_switch()");
        self.end(crew);
        let crew = self.crew(Side::Both, true);
        crew.wait_for(self.transactions / 2);
        self.compare("switched, beside writers");
        self.end(crew);
        self.compare_at_rest("switched", (true, true));
    }

    fn back_and_forth(&mut self) {
        let crew = self.crew(Side::Old, true);
        self.call("SELECT mig_rollback('others')");
        self.compare("back in backfilled, beside writers");
        self.call("SELECT mig_rollback('others', 'created')");
        self.call("SELECT mig_dual_write()");
        self.backfill();
        self.end(crew);
        self.compare_at_rest("backfilled again", (true, true));
        self.both_sides();
    }

    /// The keys of tables that stay are on the old tables alone: from the stop on the application may delete rows that such a key holds, and the
    /// way back would name them as rows that cannot be copied.
    fn empty_what_stays(&mut self) {
        let moves = |oid| self.stage.tables.iter().any(|t| t.oid == oid);
        for t in &self.stage.staying {
            if t.foreign_keys.iter().any(|k| moves(k.parent)) {
                step(&mut self.client, &format!("DELETE FROM {}", t.sql()));
            }
        }
    }

    fn stopped(&mut self) {
        let crew = self.crew(Side::New, true);
        self.empty_what_stays();
        self.call("SELECT mig_stop()");
        self.end(crew);
        self.compare_at_rest("stopped", (false, true));
        let crew = self.crew(Side::New, true);
        let began = Instant::now();
        step(&mut self.client, "SELECT mig_rollback('others')");
        self.wait_for_job();
        self.told_after("the way back from stopped", began);
        self.end(crew);
        self.compare_at_rest("back in switched", (true, true));
        let crew = self.crew(Side::Both, true);
        self.end(crew);
        self.compare_at_rest("switched, after the way back", (true, true));
        self.call("SELECT mig_stop()");
        self.call("SELECT mig_configure('others', '{\"archive_after_days\": 0}')");
        self.archive();
    }

    /// What reads old tables keeps them from being put away: a word of consent is needed where somebody's views do.
    fn archive(&mut self) {
        let archive = "SELECT mig_archive(compat_views => true)";
        let code = match self.client.batch_execute(archive) {
            Ok(()) => None,
            Err(e) => Some(
                e.code()
                    .map_or_else(|| e.to_string(), |c| c.code().to_owned()),
            ),
        };
        if let Some(code) = code {
            assert_eq!(code, "2BP01", "mig_archive");
            self.call("SELECT mig_archive(compat_views => true, force => true)");
        }
        let crew = self.crew(Side::New, false);
        crew.wait_for(self.transactions / 4);
        self.compare("archived, by the views");
        self.end(crew);
        self.compare("archived, by the views, at rest");
        self.compare_at_rest("archived", (false, true));
    }
}
