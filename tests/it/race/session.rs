//! A session that can be left waiting: its statement runs in a thread, and we look at it from outside.

use crate::common::cluster::Cluster;
use crate::common::patience::PATIENCE;
use postgres::{Client, SimpleQueryMessage};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The rows of a statement as text, or its SQLSTATE and message.
pub type Reply = Result<Vec<String>, String>;

pub struct Session {
    pub pid: i32,
    send: Sender<String>,
    replies: Receiver<Reply>,
    /// A statement is under way.
    pub waits: bool,
}

impl Session {
    pub fn open(cluster: &Cluster, database: &str) -> Self {
        let mut client = cluster.connect(database);
        let pid = client
            .query_one("SELECT pg_backend_pid()", &[])
            .expect("reads")
            .get(0);
        let (send, statements) = channel::<String>();
        let (answer, replies) = channel();
        std::thread::spawn(move || {
            for sql in statements {
                if answer.send(run(&mut client, &sql)).is_err() {
                    break;
                }
            }
        });
        Self {
            pid,
            send,
            replies,
            waits: false,
        }
    }

    /// Starts a statement and comes back when it is done (Some) or waits for another session (None).
    pub fn start(&mut self, control: &mut Client, sql: &str) -> Option<Reply> {
        assert!(!self.waits, "one statement at a time");
        self.send.send(sql.to_owned()).expect("the thread lives");
        self.waits = true;
        self.settle(control)
    }

    /// Looks again at a statement that was left waiting.
    pub fn settle(&mut self, control: &mut Client) -> Option<Reply> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(reply) = self.replies.recv_timeout(Duration::from_millis(1)) {
                self.waits = false;
                return Some(reply);
            }
            if is_blocked(control, self.pid) {
                return None;
            }
        }
        panic!("neither done nor blocked after {PATIENCE:?}");
    }

    /// The end of a statement that was left waiting.
    pub fn finish(&mut self) -> Reply {
        assert!(self.waits, "a statement is under way");
        self.waits = false;
        self.replies.recv_timeout(PATIENCE).expect("it ends")
    }

    /// A statement that nobody holds up.
    pub fn run(&mut self, sql: &str) -> Reply {
        self.send.send(sql.to_owned()).expect("the thread lives");
        self.replies.recv_timeout(PATIENCE).expect("it ends")
    }
}

fn run(client: &mut Client, sql: &str) -> Reply {
    match client.simple_query(sql) {
        Ok(messages) => Ok(messages
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                _ => None,
            })
            .collect()),
        Err(e) => Err(e.as_db_error().map_or_else(
            || e.to_string(),
            |d| format!("{} {}", d.code().code(), d.message()),
        )),
    }
}

/// Whether it waits for a row of somebody else, rather than for a table.
pub fn waits_for_row(control: &mut Client, pid: i32) -> bool {
    let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted AND locktype IN ('transactionid', 'tuple'))";
    control.query_one(query, &[&pid]).expect("reads").get(0)
}

fn is_blocked(control: &mut Client, pid: i32) -> bool {
    control
        .query_one("SELECT cardinality(pg_blocking_pids($1)) > 0", &[&pid])
        .expect("reads")
        .get(0)
}
