//! What the sessions do to parents and children, and in which order.

use crate::race::matrix::{LEVELS, Operation};
use std::fmt;

/// `#` is the number of the session. Rows: see family.sql.
pub const OPERATIONS: [Operation; 22] = [
    ("new child", "INSERT INTO c VALUES (1#, 1, 'new')"),
    ("child of two", "INSERT INTO d VALUES (1#, 1, 1, 'new')"),
    ("child moves", "UPDATE c SET p_id = 1 WHERE id = 3"),
    ("parent changes", "UPDATE p SET v = 'by#' WHERE id = 1"),
    ("parent goes", "DELETE FROM p WHERE id = 1"),
    ("other parent goes", "DELETE FROM q WHERE id = 1"),
    (
        "parent for update",
        "SELECT id FROM p WHERE id = 1 FOR UPDATE",
    ),
    (
        "parent for key share",
        "SELECT id FROM p WHERE id = 1 FOR KEY SHARE",
    ),
    // The first few are those of cases that are longer.
    (
        "new children",
        "INSERT INTO c VALUES (2#, 2, 'new'), (3#, 1, 'new')",
    ),
    ("the same child", "INSERT INTO c VALUES (10, 1, 'by#')"),
    ("orphan", "INSERT INTO c VALUES (1#, 8, 'new')"),
    (
        "upsert",
        "INSERT INTO c VALUES (1, 1, 'by#') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    ),
    ("child changes", "UPDATE c SET v = 'by#' WHERE id = 1"),
    (
        "child of two moves",
        "UPDATE d SET q_id = 2, p_id = 1 WHERE id = 1",
    ),
    ("child goes", "DELETE FROM c WHERE id = 1"),
    ("child of two goes", "DELETE FROM d WHERE id = 1"),
    ("parents change", "UPDATE p SET v = 'by#'"),
    (
        "other parent changes",
        "UPDATE q SET v = 'by#' WHERE id = 1",
    ),
    ("parent's key", "UPDATE p SET id = 9 WHERE id = 1"),
    ("other parent's key", "UPDATE q SET id = 9 WHERE id = 1"),
    ("parent that is needed", "DELETE FROM p WHERE id = 2"),
    (
        "other parent for update",
        "SELECT id FROM q WHERE id = 1 FOR UPDATE",
    ),
];

/// How many of them are in cases that are longer.
const FEW: usize = 8;

/// The level of each session.
type Levels = [&'static str; 3];

/// One level for all sessions, and an old transaction beside one that sees what is newest.
fn levels() -> [Levels; 4] {
    let [read_committed, repeatable_read, serializable] = LEVELS.map(|level| [level; 3]);
    let mixed = [LEVELS[0], LEVELS[2], LEVELS[0]];
    [read_committed, repeatable_read, serializable, mixed]
}

/// Sessions whose turns follow each other. Each has a transaction, and the last of its turns commits it.
pub struct Case {
    pub scripts: Vec<Vec<Operation>>,
    pub turns: Vec<usize>,
    pub levels: Levels,
}

impl Case {
    /// Whether sessions on two sides may deadlock where those on one do not (doc/lock-order.md): a lock that is no write is on one side only, and
    /// two that wait for a third one go on at the same moment, each with the row of its own side.
    pub fn may_cross_sides(&self) -> bool {
        let mut operations = self.scripts.iter().flatten();
        self.scripts.len() > 2 || operations.any(|o| o.1.starts_with("SELECT"))
    }

    /// What a session does at each of its turns.
    pub fn steps_of(&self, session: usize) -> Vec<String> {
        let number = (session + 1).to_string();
        let statements = self.scripts[session].iter();
        let mut steps: Vec<_> = statements.map(|o| o.1.replace('#', &number)).collect();
        steps.push("COMMIT".to_owned());
        steps
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = |script: &Vec<Operation>| script.iter().map(|o| o.0).collect::<Vec<_>>();
        let scripts: Vec<_> = self.scripts.iter().map(names).collect();
        write!(f, "{scripts:?}, turns {:?}, {:?}", self.turns, self.levels)
    }
}

/// What deadlocks are made of; every operation against every one; and of the few, two against one, and three sessions. One case of so many is
/// played, unless there is time for all: see `Ids::share`.
pub fn kinds() -> [(usize, Vec<Case>); 4] {
    let few = list_singles(&OPERATIONS[..FEW]);
    let every = list_singles(&OPERATIONS);
    let two_and_one = combine(&[&list_doubles(), &few], &turns_of_two_and_one());
    [
        (1, list_crossings()),
        (97, combine(&[&every, &every], &turns_of_pairs())),
        (401, two_and_one),
        (401, combine(&[&few, &few, &few], &turns_of_three())),
    ]
}

/// A child against its parents that go: where they are locked late, or not in the order of the application's keys, both wait for each other.
pub fn list_crossings() -> Vec<Case> {
    let [
        new_child,
        child_of_two,
        child_moves,
        _,
        parent_goes,
        other_goes,
        ..,
    ] = OPERATIONS.map(|o| vec![o]);
    let both_go = vec![other_goes[0], parent_goes[0]];
    let children = [new_child, child_of_two.clone(), child_moves];
    let parents = [parent_goes, other_goes];
    let overlap = [vec![0, 1, 0, 1], vec![0, 1, 1, 0]];
    let mut cases = combine(&[&children, &parents], &overlap);
    let between = [vec![0, 1, 0, 0, 1]];
    cases.extend(combine(&[&[both_go], &[child_of_two]], &between));
    cases
}

fn list_singles(operations: &[Operation]) -> Vec<Vec<Operation>> {
    operations.iter().map(|o| vec![*o]).collect()
}

fn list_doubles() -> Vec<Vec<Operation>> {
    let few = &OPERATIONS[..FEW];
    let doubles = few.iter().flat_map(|a| few.iter().map(|b| vec![*a, *b]));
    doubles.filter(|d| d[0].0 != d[1].0).collect()
}

/// Each choice of one script for each session, with all turns at all levels.
fn combine(scripts: &[&[Vec<Operation>]], turns: &[Vec<usize>]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut chosen = vec![Vec::new()];
    for one in scripts {
        let longer = |c: &Vec<Vec<Operation>>| {
            let with = |script: &Vec<Operation>| [&c[..], std::slice::from_ref(script)].concat();
            one.iter().map(with).collect::<Vec<_>>()
        };
        chosen = chosen.iter().flat_map(longer).collect();
    }
    for scripts in &chosen {
        for turns in turns {
            cases.extend(levels().map(|levels| Case {
                scripts: scripts.clone(),
                turns: turns.clone(),
                levels,
            }));
        }
    }
    cases
}

/// Both are open at once, and either may end first; or one ends before the other one, which is older, begins to write.
fn turns_of_pairs() -> Vec<Vec<usize>> {
    vec![vec![0, 1, 0, 1], vec![0, 1, 1, 0], vec![0, 0, 1, 1]]
}

/// The single statement before, between and after the two, with each end.
fn turns_of_two_and_one() -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for statement in 0..4 {
        for commit in statement..4 {
            let mut turns = vec![0, 0, 0];
            turns.insert(commit, 1);
            turns.insert(statement, 1);
            all.push(turns);
        }
    }
    all
}

/// All three are open at once, and end in each order.
fn turns_of_three() -> Vec<Vec<usize>> {
    let ends = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    ends.map(|ends| [[0, 1, 2], ends].concat()).to_vec()
}
