//! An application at work: several connections that insert, update, delete and re-key rows, half of them in
//! READ COMMITTED and half in REPEATABLE READ, each on rows of its own so that they cannot fail each other.

use super::cluster::Cluster;
use super::load::{Load, Place};
use postgres::{Client, IsolationLevel};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub transactions: u64,
    pub errors: Vec<String>,
    pub longest: Duration,
}

pub struct Writers(Load<Report>);

/// Pause between two transactions of one writer.
const THINK_MS: u64 = 4;

/// A small generator (xorshift, Marsaglia 2003): runs can be repeated by their seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[allow(dead_code)]
impl Writers {
    pub fn start(cluster: &Cluster, database: &str, count: u64) -> Self {
        let writer = |me: u64| {
            let client = cluster.connect(database);
            move |place: &Place| write(client, me, count, place)
        };
        Self(Load::start((0..count).map(writer)))
    }

    /// Until `more` transactions have come to a good end than now.
    pub fn wait_for(&self, more: u64) {
        self.0.wait_for(more);
    }

    /// Ends the writers after their current transaction; what they did, together.
    pub fn stop(self) -> Report {
        let mut all = Report::default();
        for one in self.0.stop() {
            all.transactions += one.transactions;
            all.errors.extend(one.errors);
            all.longest = all.longest.max(one.longest);
        }
        all
    }
}

fn write(mut client: Client, me: u64, of: u64, place: &Place) -> Report {
    let mut random = Random::new(me + 1);
    let mut report = Report::default();
    let level = if me.is_multiple_of(2) {
        IsolationLevel::ReadCommitted
    } else {
        IsolationLevel::RepeatableRead
    };
    while !place.is_over() {
        match transaction(&mut client, level, me, of, &mut random) {
            Ok(longest) => {
                // An application thinks between two requests; without this, six threads only measure the machine.
                std::thread::sleep(Duration::from_millis(THINK_MS));
                report.transactions += 1;
                place.count();
                report.longest = report.longest.max(longest);
            }
            // The server went away (a crash test): that ends this writer, it is no error of a statement.
            Err(e) if client.is_closed() || went_down(&e) => break,
            Err(e) => report.errors.push(e.as_db_error().map_or_else(
                || e.to_string(),
                |d| format!("{} {}", d.code().code(), d.message()),
            )),
        }
    }
    report
}

/// A backend that outlives its killed server for a moment says so before it goes (57P01).
fn went_down(e: &postgres::Error) -> bool {
    e.code() == Some(&postgres::error::SqlState::ADMIN_SHUTDOWN)
}

/// One to three statements; the longest of them. One transaction in ten rolls back.
fn transaction(
    client: &mut Client,
    level: IsolationLevel,
    me: u64,
    of: u64,
    random: &mut Random,
) -> Result<Duration, postgres::Error> {
    let mut tx = client.build_transaction().isolation_level(level).start()?;
    let mut longest = Duration::ZERO;
    for _ in 0..=random.below(3) {
        let sql = statement(me, of, random);
        let began = Instant::now();
        tx.batch_execute(&sql)?;
        longest = longest.max(began.elapsed());
    }
    let began = Instant::now();
    if random.below(10) == 0 {
        tx.rollback()?
    } else {
        tx.commit()?
    }
    Ok(longest.max(began.elapsed()))
}

/// A random write to rows that only writer `me` of `of` touches: those of its rounds.
fn statement(me: u64, of: u64, random: &mut Random) -> String {
    let round = format!(
        "(SELECT id FROM round_metadata WHERE id % {of} = {me} ORDER BY id OFFSET {} LIMIT 1)",
        random.below(20)
    );
    let sign_up = format!(
        "(SELECT id FROM sign_ups WHERE round_id = {round} ORDER BY user_id OFFSET {} LIMIT 1)",
        random.below(60)
    );
    let submission = format!(
        "(SELECT id FROM submissions WHERE round_id = {round} ORDER BY user_id OFFSET {} LIMIT 1)",
        random.below(60)
    );
    match random.below(12) {
        0 | 1 => format!(
            "INSERT INTO sign_ups (round_id, user_id, email) SELECT r, gen_random_uuid(), 'new@example.org' FROM {round} x(r)"
        ),
        2 => format!(
            "UPDATE sign_ups SET youtube_link = 'https://youtu.be/{0}' WHERE id = {sign_up}",
            random.below(1_000_000)
        ),
        3 => format!("DELETE FROM sign_ups WHERE id = {sign_up}"),
        4 => format!(
            "INSERT INTO submissions (round_id, user_id, soundcloud_url) SELECT r, gen_random_uuid(), 'x' FROM {round} x(r)"
        ),
        5 => format!(
            "UPDATE submissions SET extra = jsonb_build_object('n', {}) WHERE id = {submission}",
            random.below(1000)
        ),
        // A key change, which cascades to the votes.
        6 => format!("UPDATE submissions SET id = gen_random_uuid() WHERE id = {submission}"),
        7 => format!("DELETE FROM submissions WHERE id = {submission}"),
        8 => format!(
            "INSERT INTO song_selection_votes (submission_id, user_id, points) SELECT s, '00000000-0000-0000-0000-00000000000{}', {} FROM {submission} x(s) \
             WHERE s IS NOT NULL ON CONFLICT (submission_id, user_id) DO UPDATE SET points = excluded.points",
            random.below(9),
            random.below(6)
        ),
        9 => format!(
            "INSERT INTO email_reminders_sent (round_id, user_id) SELECT r, gen_random_uuid() FROM {round} x(r)"
        ),
        10 => format!(
            "UPDATE round_metadata SET title = 'Title {}' WHERE id = {round}",
            random.below(1000)
        ),
        _ => format!(
            "DELETE FROM email_reminders_sent WHERE id = (SELECT id FROM email_reminders_sent WHERE round_id = {round} ORDER BY id LIMIT 1)"
        ),
    }
}
