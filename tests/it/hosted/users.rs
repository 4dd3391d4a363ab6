//! People who use the application while it moves: each transaction is one of `authenticated`, with a user of its own.

use crate::common::cluster::Bouncer;
use crate::common::load::{Load, Place};
use crate::common::writers::Random;
use postgres::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Old,
    /// By turns.
    Both,
    New,
}

#[derive(Debug, Default)]
pub struct Report {
    pub transactions: u64,
    pub errors: Vec<String>,
}

pub struct Users {
    side: Arc<AtomicU8>,
    count: u64,
    load: Load<Report>,
}

impl Users {
    pub fn start(bouncer: &Bouncer, database: &str, count: u64) -> Self {
        let side = Arc::new(AtomicU8::new(Side::Old as u8));
        let one = |me: u64| {
            let (client, side) = (bouncer.connect(database), Arc::clone(&side));
            move |place: &Place| work(client, me, count, place, &side)
        };
        Self {
            load: Load::start((0..count).map(one)),
            side,
            count,
        }
    }

    /// From now on they write this side; whoever began before has ended when it returns.
    pub fn write(&self, side: Side) {
        self.side.store(side as u8, Ordering::SeqCst);
        self.load.wait_for_each();
    }

    /// Until everybody has done something more, on the average.
    pub fn some_more(&self) {
        self.load.wait_for(10 * self.count);
    }

    pub fn stop(self) -> Report {
        let mut all = Report::default();
        for one in self.load.stop() {
            all.transactions += one.transactions;
            all.errors.extend(one.errors);
        }
        all
    }
}

fn work(mut client: Client, me: u64, of: u64, place: &Place, side: &AtomicU8) -> Report {
    let (mut report, mut random) = (Report::default(), Random::new(me + 1));
    while !place.is_over() {
        let new = match side.load(Ordering::SeqCst) {
            0 => false,
            1 => random.below(2) == 0,
            _ => true,
        };
        // Users of one instance are nobody else's.
        let user = format!("md5('user{}')::uuid", 1 + me + of * random.below(200 / of));
        let sql = spoken(&statements(&user, &mut random), new);
        match client.simple_query(&sql) {
            Ok(_) => report.transactions += 1,
            Err(e) => {
                let _ = client.simple_query("ROLLBACK");
                report.errors.push(format!("{e:?}"));
            }
        }
        place.count();
    }
    report
}

/// As PostgREST does it: a transaction, the role, the claims, and then what the user wants.
fn statements(user: &str, random: &mut Random) -> String {
    let round = 1 + random.below(20);
    let what = match random.below(6) {
        0 => format!(
            "INSERT INTO sign_ups (#round_id, user_id, email) SELECT @{round}, {user}, 'new' ON CONFLICT DO NOTHING"
        ),
        1 => format!(
            "UPDATE sign_ups SET email = 'e{}' WHERE user_id = {user} AND round_id = {round}",
            random.below(1000)
        ),
        2 => format!(
            "INSERT INTO submissions (#round_id, user_id, url) SELECT @{round}, {user}, 'https://x' ON CONFLICT DO NOTHING"
        ),
        3 => format!(
            "UPDATE submissions SET url = 'https://x/{}' WHERE user_id = {user}",
            random.below(1000)
        ),
        4 => format!("DELETE FROM submissions WHERE user_id = {user} AND round_id = {round}"),
        _ => format!(
            "INSERT INTO song_selection_votes (#submission_id, user_id, points) SELECT @id, {user}, {} FROM submissions WHERE user_id = {user} ON CONFLICT DO NOTHING",
            random.below(6)
        ),
    };
    format!(
        "BEGIN; SET LOCAL ROLE authenticated; SELECT set_config('request.jwt.claim.sub', {user}::text, true); {what}; COMMIT"
    )
}

/// In the names of one side; a row of the new one says which project it belongs to.
fn spoken(sql: &str, new: bool) -> String {
    if !new {
        return sql.replace(['#', '@'], "");
    }
    let scoped = sql
        .replace('#', "project_id, ")
        .replace('@', "'00000000-0000-0000-0000-000000000001', ");
    let names = [
        ("sign_ups", "project_sign_ups"),
        ("submissions", "project_submissions"),
        ("song_selection_votes", "project_votes"),
    ];
    names
        .iter()
        .fold(scoped, |s, (old, new)| s.replace(old, new))
}
