//! What comes, goes or is renamed on the tables of a migration, or on what they refer to, while it is under way: it goes on, or it is named; the
//! application's writes pass; and the ways back work.

mod ddl;

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, is_long, refused, yes};
use ddl::{CHANGES, Change, End};
use postgres::Client;

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 100);
CREATE FUNCTION norm(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.lower(v)';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';
CREATE COLLATION plain FROM \"C\";
CREATE TABLE projects(id int PRIMARY KEY);
INSERT INTO projects VALUES (7);
CREATE TABLE other(id int PRIMARY KEY, n text);
INSERT INTO other SELECT g, g FROM generate_series(1, 20) g;
CREATE TABLE par(id int PRIMARY KEY, v text);
INSERT INTO par SELECT g, g FROM generate_series(1, 20) g;
CREATE TABLE t(id serial PRIMARY KEY, p int CONSTRAINT t_par REFERENCES par, o int CONSTRAINT t_other REFERENCES other, m mood DEFAULT 'a',
  s short, v text COLLATE plain, n int NOT NULL DEFAULT 0, u int, CONSTRAINT t_v CHECK (norm(v) <> 'bad'));
CREATE INDEX t_norm ON t(norm(v));
CREATE INDEX t_n ON t(n) WHERE m = 'a';
INSERT INTO t(p, o, s, v, u) SELECT g, g, g, g, g FROM generate_series(1, 20) g;
CREATE TABLE stays(id int PRIMARY KEY, t int);
";

const OLD_SIDE: [&str; 6] = [
    "INSERT INTO par VALUES (100, 'x')",
    "INSERT INTO t(p, o, s, v) VALUES (100, 1, 'x', 'y')",
    "UPDATE t SET v = 'z' WHERE u = 1",
    "UPDATE t SET u = NULL WHERE u = 5",
    "DELETE FROM t WHERE u = 2",
    "UPDATE par SET v = 'q'",
];
const NEW_SIDE: [&str; 6] = [
    "INSERT INTO par_new(id, v, project_id) VALUES (101, 'x', 7)",
    "INSERT INTO t_new(project_id, p, o, s, v, w) VALUES (7, 101, 1, 'x', 'y', 'y')",
    "UPDATE t_new SET v = 'z', w = 'z' WHERE u = 3",
    "UPDATE t_new SET v = 'z', u = NULL, w = 'z' WHERE u = 6",
    "DELETE FROM t_new WHERE u = 4",
    "UPDATE par_new SET v = 'r'",
];

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Phase {
    Created,
    DualWrite,
    Backfilled,
    Switched,
}

const PHASES: [Phase; 4] = [
    Phase::Created,
    Phase::DualWrite,
    Phase::Backfilled,
    Phase::Switched,
];

/// One change in one phase, on tables in a schema of its own.
struct Case<'a> {
    client: &'a mut Client,
    change: &'a Change,
    at: Phase,
    /// The migration, and the schema.
    name: String,
}

impl Case<'_> {
    fn label(&self) -> String {
        format!("{} in {:?}", self.change.what, self.at)
    }

    fn run(&mut self, sql: &str) -> Result<(), String> {
        self.client.simple_query(sql).map(drop).map_err(|e| {
            let e = e.as_db_error().expect("the server refused it").clone();
            let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
            format!(
                "{} {} | {} | {}",
                e.code().code(),
                e.message(),
                text(e.detail()),
                text(e.hint())
            )
        })
    }

    fn call(&mut self, call: &str) -> Result<(), String> {
        let sql = format!("SELECT * FROM {call}('{}')", self.name);
        self.run(&sql).map_err(|e| format!("{call}: {e}"))
    }

    fn must(&mut self, call: &str) {
        let label = self.label();
        self.call(call).unwrap_or_else(|e| panic!("{label}: {e}"));
    }

    fn problem(&mut self) -> String {
        let sql = "SELECT coalesce(problem, '') FROM mig_status($1)";
        self.client
            .query_one(sql, &[&self.name])
            .expect("the status reads")
            .get(0)
    }

    fn begin(&mut self) {
        let m = &self.name;
        let sql = format!(
            "CREATE SCHEMA {m}; SET search_path = {m}, public; {SCHEMA} \
             SELECT mig_define('{m}', 'projects', '7'); SELECT mig_add_table('{m}', 'par', 'par_new'); \
             SELECT mig_add_table('{m}', 't', 't_new', columns => '{{\"w\": \"{m}.norm(v)\"}}')"
        );
        self.client
            .batch_execute(&sql)
            .expect("the tables are defined");
        for call in &self.steps_until_now() {
            self.must(call);
        }
    }

    fn steps_until_now(&self) -> Vec<&'static str> {
        match self.at {
            Phase::Created => vec!["mig_create"],
            Phase::DualWrite => vec!["mig_create", "mig_dual_write"],
            Phase::Backfilled => vec!["mig_create", "mig_dual_write", "mig_backfill", "mig_wait"],
            Phase::Switched => vec![
                "mig_create",
                "mig_dual_write",
                "mig_backfill",
                "mig_wait",
                "mig_switch",
            ],
        }
    }

    /// Whether a mirror may refuse a write, with the way out: what it needs is gone, or has another name.
    fn refuses(&self, error: &str) -> bool {
        let known = error.starts_with("42809") || error.starts_with("55000");
        self.change.end == End::Failed && known && error.contains("mig_detach")
    }

    fn write(&mut self) {
        let new: &[&str] = if self.at == Phase::Switched {
            &NEW_SIDE
        } else {
            &[]
        };
        for sql in OLD_SIDE.iter().chain(new) {
            let sql = self.change.adapt(sql);
            if let Err(e) = self.run(&sql) {
                assert!(self.refuses(&e), "{}: {sql}: {e}", self.label());
            }
        }
    }

    /// Every call gives an answer; what it refuses, it refuses by itself.
    fn ask(&mut self) {
        let old = self.change.adapt(" t ");
        let diff = format!("mig_diff('{}', '{}')", self.name, old.trim());
        for call in [
            "mig_check",
            "mig_preflight",
            "mig_plan",
            "mig_checklist",
            "mig_config",
            "mig_repair",
        ] {
            if let Err(e) = self.call(call) {
                assert!(e.contains(": 55000 "), "{}: {e}", self.label());
            }
        }
        if let Err(e) = self.run(&format!("SELECT * FROM {diff}")) {
            assert!(e.starts_with("55000"), "{}: {e}", self.label());
        }
    }

    fn forward(&mut self) -> Result<(), String> {
        let all = [
            "mig_dual_write",
            "mig_backfill",
            "mig_wait",
            "mig_switch",
            "mig_stop",
        ];
        let done = self.steps_until_now().len() - 1;
        all[done..].iter().try_for_each(|call| self.call(call))
    }

    /// All the way back: nothing of ours is left.
    fn back(&mut self) {
        let label = self.label();
        for to in ["created", "defined"] {
            let sql = format!("SELECT mig_rollback('{}', '{to}')", self.name);
            self.run(&sql)
                .unwrap_or_else(|e| panic!("{label}: back to {to}: {e}"));
            let running = format!(
                "SELECT EXISTS (SELECT FROM mig.job j JOIN mig.migration m ON m.id = j.migration WHERE m.name = '{}' AND j.state = 'running')",
                self.name
            );
            if yes(self.client, &running) {
                backfilled(self.client);
            }
        }
        let clean = format!(
            "SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgname ~ '^[!~]mig_') AND (SELECT phase FROM mig_status('{}')) = 'defined'",
            self.name
        );
        assert!(yes(self.client, &clean), "{label}");
        self.run(&format!("SELECT mig_drop('{}')", self.name))
            .expect("it is forgotten");
    }

    fn play(&mut self) {
        self.begin();
        let label = self.label();
        self.run(self.change.sql)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        self.write();
        let early = self.at < Phase::Backfilled;
        let named = self.problem();
        match self.change.end {
            End::GoesOn | End::Stops => assert_eq!(named, "", "{label}"),
            // Before the backfill the new table has no keys yet.
            End::TakenOver if early => {}
            End::TakenOver | End::Named => assert!(
                named.contains(" after mig_create, and "),
                "{label}: {named}"
            ),
            End::Failed => assert!(!named.is_empty(), "{label}"),
        }
        self.ask();
        let went = self.forward();
        match self.change.end {
            End::GoesOn => went.unwrap_or_else(|e| panic!("{label}: {e}")),
            End::TakenOver if early => went.unwrap_or_else(|e| panic!("{label}: {e}")),
            End::TakenOver | End::Named if self.at < Phase::Switched => {
                let refused = went.expect_err(&label);
                assert!(
                    refused.starts_with("mig_switch: 55000"),
                    "{label}: {refused}"
                );
            }
            End::TakenOver | End::Named => went.unwrap_or_else(|e| panic!("{label}: {e}")),
            End::Stops => {}
            End::Failed => {
                let refused = went.expect_err(&label);
                assert!(refused.contains(": 55000 "), "{label}: {refused}");
                self.must("mig_detach");
                // Nothing refuses a write any more.
                let renamed = self.change.adapt("INSERT INTO t(p, v) VALUES (1, 'late')");
                self.run(&renamed)
                    .unwrap_or_else(|e| panic!("{label}: {e}"));
            }
        }
        self.back();
    }
}

#[test]
fn what_changes_in_mid_run_goes_on_or_is_named() {
    let cluster = Cluster::start("it_mid_run", "");
    let mut client = cluster.connect("postgres");
    client.batch_execute("CREATE EXTENSION pg_mig").unwrap();
    for (n, change) in CHANGES.iter().enumerate() {
        for at in PHASES
            .into_iter()
            .enumerate()
            .filter(|(p, _)| is_long() || p % 4 == n % 4)
            .map(|(_, at)| at)
        {
            let name = format!("c{n}_{}", at as u8);
            let mut case = Case {
                client: &mut client,
                change,
                at,
                name,
            };
            case.play();
        }
    }
}

/// The names of a HINT and of a step are those that the user gave.
#[test]
fn the_new_table_that_gets_the_like_is_named_no_more() {
    let cluster = Cluster::start("it_mid_run_like", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE o(id int PRIMARY KEY); CREATE TABLE t(id int PRIMARY KEY, o int); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't_new', columns => '{\"o\": null, \"p\": \"o\"}')",
        )
        .unwrap();
    for call in ["mig_create", "mig_dual_write", "mig_backfill"] {
        client
            .batch_execute(&format!("SELECT {call}('m')"))
            .unwrap();
    }
    backfilled(&mut client);
    client
        .batch_execute("ALTER TABLE t ADD FOREIGN KEY (o) REFERENCES o; ALTER TABLE t ADD CHECK (o > 0); CREATE UNIQUE INDEX ON t(o)")
        .unwrap();
    assert_eq!(refused(&mut client, "SELECT mig_switch('m')").0, "55000");
    let named = "SELECT problem ~ 'foreign key t_o_fkey of public.t came' AND problem ~ 'check t_o_check' AND problem ~ 'unique index t_o_idx' FROM mig_status('m')";
    assert!(yes(&mut client, named));
    client
        .batch_execute("ALTER TABLE t_new ADD FOREIGN KEY (p) REFERENCES o; ALTER TABLE t_new ADD CHECK (p > 0); CREATE UNIQUE INDEX ON t_new(p)")
        .unwrap();
    assert!(yes(
        &mut client,
        "SELECT problem IS NULL FROM mig_status('m')"
    ));
    client
        .batch_execute("SELECT mig_assert('m'); SELECT mig_switch('m')")
        .unwrap();
}
