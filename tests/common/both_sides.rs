//! An application in a rolling deploy: old instances write the old tables, new ones the new tables, on the same rows and
//! in all isolation levels.

use super::cluster::Cluster;
use super::load::{Load, Place};
use super::writers::Random;
use postgres::{Client, IsolationLevel};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PROJECT: &str = "00000000-0000-0000-0000-000000000001";
pub const LEVELS: [IsolationLevel; 3] = [
    IsolationLevel::ReadCommitted,
    IsolationLevel::RepeatableRead,
    IsolationLevel::Serializable,
];

/// Which names an instance of the application knows.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Old,
    New,
    /// One by one, also within a transaction.
    Both,
}

impl Side {
    /// The names of one side in place of the old ones, and the scope where rows are inserted (`#` for its column, `@` for
    /// its value).
    fn speak(self, sql: &str) -> String {
        const NAMES: [(&str, &str); 5] = [
            ("round_metadata", "project_rounds"),
            ("sign_ups", "project_sign_ups"),
            ("submissions", "project_submissions"),
            ("song_selection_votes", "project_votes"),
            ("email_reminders_sent", "project_email_reminders"),
        ];
        if self != Side::New {
            return sql.replace(['#', '@'], "");
        }
        let scoped = sql
            .replace('#', "project_id, ")
            .replace('@', &format!("'{PROJECT}', "));
        NAMES
            .iter()
            .fold(scoped, |s, (old, new)| s.replace(old, new))
    }
}

#[derive(Default, Debug)]
pub struct Tally {
    pub transactions: u64,
    /// By SQLSTATE; the whole text where it is none of the two that an application tries again.
    pub errors: BTreeMap<String, u64>,
    pub longest: Duration,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.transactions += other.transactions;
        self.longest = self.longest.max(other.longest);
        for (k, n) in other.errors {
            *self.errors.entry(k).or_default() += n;
        }
    }

    /// Whether nothing went wrong but what an application tries again: the same row from both sides at one moment.
    pub fn is_clean(&self) -> bool {
        self.errors.keys().all(|k| k == "40001" || k == "40P01")
    }
}

/// Six instances in the middle of a rolling deploy.
pub const ROLLING: [Side; 6] = [
    Side::Old,
    Side::New,
    Side::Both,
    Side::Old,
    Side::New,
    Side::Both,
];

/// Instances at work, until they are stopped.
pub struct Crew(Load<Tally>);

#[allow(dead_code)]
impl Crew {
    /// One instance for each of `sides`; `think` is the pause between two transactions.
    pub fn start(cluster: &Cluster, database: &str, sides: &[Side], think: Duration) -> Self {
        let of = sides.len() as u64;
        let instance = |(me, side): (usize, &Side)| {
            let (client, side) = (cluster.connect(database), *side);
            move |place: &Place| work(client, side, me as u64, of, think, place)
        };
        Self(Load::start(sides.iter().enumerate().map(instance)))
    }

    /// Until `more` transactions have come to a good end than now.
    pub fn wait_for(&self, more: u64) {
        self.0.wait_for(more);
    }

    /// Transactions that have come to a good end.
    pub fn done(&self) -> u64 {
        self.0.done()
    }

    pub fn stop(self) -> Tally {
        let mut all = Tally::default();
        for tally in self.0.stop() {
            all.add(tally);
        }
        all
    }
}

fn work(mut client: Client, side: Side, me: u64, of: u64, think: Duration, place: &Place) -> Tally {
    let (mut tally, mut random) = (Tally::default(), Random::new(me + 1));
    while !place.is_over() {
        let level = LEVELS[usize::try_from(random.below(3)).unwrap_or(0)];
        let began = Instant::now();
        match transaction(&mut client, level, side, me, of, &mut random) {
            Ok(()) => {
                tally.transactions += 1;
                place.count();
            }
            // The server went away (a crash test): that ends this instance, it is no error of a statement.
            Err(e)
                if client.is_closed()
                    || e.code() == Some(&postgres::error::SqlState::ADMIN_SHUTDOWN) =>
            {
                break;
            }
            Err(e) => {
                let state = e
                    .code()
                    .map_or_else(|| e.to_string(), |c| c.code().to_owned());
                let text = match state.as_str() {
                    "40001" | "40P01" => state,
                    // Without the detail, which has another key each time.
                    _ => e
                        .as_db_error()
                        .map_or(state, |d| format!("{} {}", d.code().code(), d.message())),
                };
                *tally.errors.entry(text).or_default() += 1;
            }
        }
        tally.longest = tally.longest.max(began.elapsed());
        std::thread::sleep(think);
    }
    tally
}

/// A write to any row of all: `me` of `of` keeps to its own rounds (by their number, whatever ids they have) where rows are deleted or change their keys, because an
/// application that does otherwise breaks its own foreign keys.
fn statement(me: u64, of: u64, random: &mut Random) -> String {
    let round = format!(
        "(SELECT id FROM round_metadata WHERE substr(slug, 7)::int % {of} = {me} ORDER BY id OFFSET {} LIMIT 1)",
        random.below(3)
    );
    let place = random.below(20);
    let mine = |table: &str| {
        format!(
            "(SELECT id FROM {table} WHERE round_id = {round} ORDER BY user_id OFFSET {} LIMIT 1)",
            place
        )
    };
    let any = 1 + random.below(60);
    match random.below(13) {
        0 => format!(
            "INSERT INTO sign_ups (#round_id, user_id, email) SELECT @r, gen_random_uuid(), 'new' FROM {round} x(r)"
        ),
        1 | 2 => format!(
            "UPDATE sign_ups SET youtube_link = '{}' WHERE id = {any}",
            random.below(1_000_000)
        ),
        3 => format!(
            "DELETE FROM sign_ups WHERE id = {} AND id > 100",
            mine("sign_ups")
        ),
        4 => format!(
            "INSERT INTO submissions (#round_id, user_id, soundcloud_url) SELECT @r, gen_random_uuid(), 'x' FROM {round} x(r)"
        ),
        5 => format!(
            "UPDATE submissions SET extra = jsonb_build_object('n', {}) WHERE id = {}",
            random.below(1000),
            mine("submissions")
        ),
        6 => format!(
            "UPDATE submissions SET id = gen_random_uuid() WHERE id = {}",
            mine("submissions")
        ),
        7 => format!("DELETE FROM submissions WHERE id = {}", mine("submissions")),
        8 => {
            format!(
                "INSERT INTO song_selection_votes (#submission_id, user_id, points) SELECT @s, '00000000-0000-0000-0000-00000000000{}', {} FROM {} x(s) WHERE s IS NOT NULL",
                random.below(9),
                random.below(6),
                mine("submissions"),
            ) + " ON CONFLICT DO NOTHING"
        }
        9 => format!(
            "INSERT INTO email_reminders_sent (#round_id, user_id) SELECT @r, gen_random_uuid() FROM {round} x(r)"
        ),
        10 => format!(
            "UPDATE round_metadata SET title = 'Title {}' WHERE id = {}",
            random.below(1000),
            1 + random.below(6)
        ),
        11 => format!(
            "UPDATE song_selection_votes SET points = {} WHERE submission_id = {}",
            random.below(6),
            mine("submissions")
        ),
        _ => format!(
            "DELETE FROM email_reminders_sent WHERE id = (SELECT id FROM email_reminders_sent WHERE round_id = {round} ORDER BY id LIMIT 1)"
        ),
    }
}

fn transaction(
    client: &mut Client,
    level: IsolationLevel,
    side: Side,
    me: u64,
    of: u64,
    random: &mut Random,
) -> Result<(), postgres::Error> {
    some_statements(client, level, random, |random| {
        let spoken = match (side, random.below(2)) {
            (Side::Both, 0) => Side::Old,
            (Side::Both, _) => Side::New,
            _ => side,
        };
        spoken.speak(&statement(me, of, random))
    })
}

/// One transaction of one to three statements, some under a savepoint that is rolled back.
pub fn some_statements(
    client: &mut Client,
    level: IsolationLevel,
    random: &mut Random,
    mut statement: impl FnMut(&mut Random) -> String,
) -> Result<(), postgres::Error> {
    let mut tx = client.build_transaction().isolation_level(level).start()?;
    for _ in 0..=random.below(3) {
        let sql = statement(random);
        if random.below(6) == 0 {
            let mut inner = tx.transaction()?;
            inner.batch_execute(&sql)?;
            inner.rollback()?;
        } else {
            tx.batch_execute(&sql)?;
        }
    }
    if random.below(10) == 0 {
        tx.rollback()
    } else {
        tx.commit()
    }
}
