//! Runs the cases of the matrix, each through the real functions, and compares both sides by hand.

use super::ids::Ids;
use super::matrix::{Case, Moment};
use super::session::{Reply, Session, waits_for_row};
use crate::common::cluster::Cluster;
use crate::wait::{backfilled, until_sql};
use postgres::Client;
use std::fmt;

/// One slice: `max_ms` is over before a second one could begin.
const STEP: &str = "SELECT mig_step(max_ms => 1)";

/// While the gate is closed a batch stands before the visit that it was told.
const CLOSE_GATE: &str = "SELECT pg_advisory_lock(42)";
const OPEN_GATE: &str = "SELECT pg_advisory_unlock(42)";

/// What a case came to that went wrong.
pub struct Failure {
    pub case: Case,
    pub differences: i64,
    /// Of the application, and of a batch that does what it must not do.
    pub errors: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            case,
            differences,
            errors,
        } = self;
        write!(f, "{case}: {differences} rows differ, errors: {errors:?}")
    }
}

/// One database with one migration, and the sessions that race in it.
pub struct Arena {
    pub control: Client,
    app: Application,
    batch: Session,
}

impl Arena {
    /// `key` is the declaration of the source's primary key.
    pub fn new(cluster: &Cluster, database: &str, key: &str, ids: &Ids) -> Self {
        let mut control = cluster.database(database);
        control
            .batch_execute(&ids.set_up(key))
            .expect("the arena stands");
        Self {
            app: Application {
                session: Session::open(cluster, database),
                ended: true,
                errors: Vec::new(),
            },
            batch: Session::open(cluster, database),
            control,
        }
    }

    /// New sessions: PostgreSQL keeps a plan for each foreign key that a session has ever checked, and walks through all of
    /// them when a table changes.
    pub fn reconnect(&mut self, cluster: &Cluster, database: &str) {
        self.control = cluster.connect(database);
        self.app.session = Session::open(cluster, database);
        self.batch = Session::open(cluster, database);
    }

    /// Runs one case through `mig_step`; what went wrong, if anything did.
    pub fn race(&mut self, case: &Case) -> Result<(), Failure> {
        self.control
            .batch_execute("CALL race_reset()")
            .expect("resets");
        self.app.begin(case);
        self.play(case);
        self.app.end(case);
        if self.batch.waits {
            self.batch.finish().expect("the batch runs");
        }
        self.batch.run("RESET race.stop_at").expect("resets");
        self.control
            .batch_execute("CALL race_rest()")
            .expect("the backfill ends");
        self.judge(case)
    }

    fn judge(&mut self, case: &Case) -> Result<(), Failure> {
        let query = "SELECT race_differences()";
        let differences: i64 = self.control.query_one(query, &[]).expect("compares").get(0);
        let errors = std::mem::take(&mut self.app.errors);
        if differences == 0 && errors.is_empty() {
            return Ok(());
        }
        Err(Failure {
            case: *case,
            differences,
            errors,
        })
    }

    /// Runs one case, of moment Visit, through a worker; with `killed` it is terminated where it stands, and a
    /// second one goes on.
    pub fn race_worker(&mut self, case: &Case, killed: bool) -> Result<(), Failure> {
        let Moment::Visit { n, ends } = case.moment else {
            panic!("a worker stands at a visit");
        };
        self.control
            .batch_execute("CALL race_reset()")
            .expect("resets");
        self.app.begin(case);
        let settings = format!(
            "ALTER ROLE postgres SET race.stop_at = {n}; {CLOSE_GATE}; SELECT mig_backfill()"
        );
        self.control.batch_execute(&settings).expect("starts");
        until_sql(
            &mut self.control,
            "SELECT cardinality(pg_blocking_pids(pid)) > 0 FROM mig.runners UNION ALL SELECT NULL LIMIT 1",
        );
        self.app.act(&mut self.control, case);
        if killed {
            self.control
                .batch_execute("SELECT pg_terminate_backend(pid) FROM mig.runners")
                .expect("terminates");
            until_sql(
                &mut self.control,
                "SELECT NOT EXISTS (SELECT FROM mig.runners)",
            );
        }
        if ends && !self.app.session.waits {
            self.app.end(case);
        }
        let open =
            format!("ALTER ROLE postgres RESET race.stop_at; {OPEN_GATE}; SELECT mig_backfill()");
        self.control.batch_execute(&open).expect("goes on");
        self.app.end(case);
        backfilled(&mut self.control);
        self.judge(case)
    }

    fn play(&mut self, case: &Case) {
        match case.moment {
            Moment::Before => {
                self.app.act(&mut self.control, case);
                self.app.end(case);
                self.slice();
            }
            Moment::Around => {
                self.app.act(&mut self.control, case);
                self.slice();
            }
            Moment::Visit { n, ends } => {
                self.stand_at(n);
                self.app.act(&mut self.control, case);
                if ends && !self.app.session.waits {
                    self.app.end(case);
                }
                self.go_on();
            }
            Moment::Uncommitted => self.in_transaction(case, "COMMIT"),
            Moment::RolledBack => self.in_transaction(case, "ROLLBACK"),
            Moment::After => {
                self.slice();
                self.app.act(&mut self.control, case);
            }
        }
    }

    /// The first slice. It may wait for a table's lock (TRUNCATE), never for a row.
    fn slice(&mut self) {
        let reply = self.batch.start(&mut self.control, STEP);
        self.batch_came_to(reply);
    }

    fn batch_came_to(&mut self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            reply.expect("the batch runs");
        } else if waits_for_row(&mut self.control, self.batch.pid) {
            self.app.errors.push("the batch waits for a row".into());
        }
    }

    fn in_transaction(&mut self, case: &Case, end: &str) {
        self.batch.run("BEGIN").expect("begins");
        self.slice();
        self.app.act(&mut self.control, case);
        self.batch.run(end).expect("ends");
    }

    /// Leaves the batch standing before its n-th visit of a row.
    fn stand_at(&mut self, n: u32) {
        let stop = format!("SET race.visits = 0; SET race.stop_at = {n}");
        self.batch.run(&stop).expect("sets");
        self.control
            .batch_execute(CLOSE_GATE)
            .expect("closes the gate");
        let reply = self.batch.start(&mut self.control, STEP);
        assert!(reply.is_none(), "the batch passed visit {n}: {reply:?}");
    }

    fn go_on(&mut self) {
        self.control
            .batch_execute(OPEN_GATE)
            .expect("opens the gate");
        let reply = self.batch.settle(&mut self.control);
        self.batch_came_to(reply);
    }
}

/// The application's session, with one transaction for each case.
struct Application {
    session: Session,
    ended: bool,
    errors: Vec<String>,
}

impl Application {
    /// Takes its snapshot at once: the worst case is one that is older than all that the batch does.
    fn begin(&mut self, case: &Case) {
        let begin = format!(
            "BEGIN ISOLATION LEVEL {}; SELECT count(*) FROM src",
            case.level
        );
        self.session.run(&begin).expect("begins");
        self.ended = false;
    }

    fn act(&mut self, control: &mut Client, case: &Case) {
        if let Some(reply) = self.session.start(control, case.operation.1) {
            self.note(reply);
        }
    }

    /// Ends the transaction, after a statement that was left waiting.
    fn end(&mut self, case: &Case) {
        if self.session.waits {
            let reply = self.session.finish();
            self.note(reply);
        }
        if !std::mem::replace(&mut self.ended, true) {
            let reply = self.session.run(case.end);
            self.note(reply);
        }
    }

    fn note(&mut self, reply: Reply) {
        self.errors.extend(reply.err());
    }
}
