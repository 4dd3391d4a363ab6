//! Plays one case in some tables, and says what each statement came to.

use super::cases::Case;
use crate::race::session::{Reply, Session};
use postgres::Client;
use std::fmt;

/// What a session's statements came to.
#[derive(Default, PartialEq)]
pub struct Trace(pub Vec<Answer>);

/// The keys that a statement was given, or its SQLSTATE; and whether it had to wait.
pub struct Answer {
    pub outcome: Result<Vec<String>, String>,
    pub waited: bool,
}

/// A session that waits for one whose transaction fails may be seen before the locks of that are gone, or after: it is not compared.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.outcome == other.outcome
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let waited = if self.waited { "waits, " } else { "" };
        match &self.outcome {
            Ok(keys) if keys.is_empty() => write!(f, "{waited}done"),
            Ok(keys) => write!(f, "{waited}{}", keys.join(" ")),
            Err(state) => write!(f, "{waited}{state}"),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let answers: Vec<_> = self.0.iter().map(Answer::to_string).collect();
        write!(f, "[{}]", answers.join("; "))
    }
}

impl Trace {
    /// The SQLSTATE that its transaction failed with, if it did.
    pub fn find_error(&self) -> Option<&str> {
        self.0
            .iter()
            .find_map(|a| a.outcome.as_ref().err().map(String::as_str))
    }
}

/// One session of a case.
struct Player<'a> {
    session: &'a mut Session,
    steps: std::vec::IntoIter<String>,
    /// Turns that came while it waited, too.
    owed: usize,
    waited: bool,
    trace: Trace,
}

/// Plays a case, session n in the schema n; what each session's statements came to.
pub fn play_case(
    sessions: &mut [Session],
    control: &mut Client,
    case: &Case,
    schemas: &[&str],
) -> Vec<Trace> {
    let mut players = begin_transactions(sessions, case, schemas);
    for &turn in &case.turns {
        players[turn].owed += 1;
        while take_turns(&mut players, control) {}
    }
    while players.iter().any(|p| p.session.waits || p.owed > 0) {
        take_turns(&mut players, control);
    }
    players.into_iter().map(|p| p.trace).collect()
}

/// All begin before anybody writes: the worst case is a snapshot that is older than all that the others do.
fn begin_transactions<'a>(
    sessions: &'a mut [Session],
    case: &Case,
    schemas: &[&str],
) -> Vec<Player<'a>> {
    let begun = sessions.iter_mut().take(case.scripts.len()).enumerate();
    let begun = begun.map(|(n, session)| {
        let (schema, level) = (schemas[n], case.levels[n]);
        let begin = format!("SET search_path = {schema}; BEGIN ISOLATION LEVEL {level}; SELECT 1");
        session.run(&begin).expect("begins");
        Player {
            session,
            steps: case.steps_of(n).into_iter(),
            owed: 0,
            waited: false,
            trace: Trace::default(),
        }
    });
    begun.collect()
}

/// Looks at each session once; whether one of them got on.
fn take_turns(players: &mut [Player], control: &mut Client) -> bool {
    let mut moved = false;
    for player in players {
        moved |= player.take_turn(control);
    }
    moved
}

impl Player<'_> {
    /// Whether it got on.
    fn take_turn(&mut self, control: &mut Client) -> bool {
        if self.session.waits {
            let reply = self.session.settle(control);
            return reply.is_some_and(|reply| self.note_reply(reply));
        }
        if self.owed == 0 {
            return false;
        }
        self.owed -= 1;
        let step = self.steps.next().expect("each turn has its step");
        match self.session.start(control, &step) {
            Some(reply) => self.note_reply(reply),
            None => {
                self.waited = true;
                true
            }
        }
    }

    /// True: it got on.
    fn note_reply(&mut self, reply: Reply) -> bool {
        self.trace.0.push(Answer {
            outcome: reply.map_err(|text| text.chars().take(5).collect()),
            waited: std::mem::take(&mut self.waited),
        });
        true
    }
}
