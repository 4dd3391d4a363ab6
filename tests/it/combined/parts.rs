//! One row made of parts in several tables: each pair of writes to two of its parts, in each order, at each level and with each end,
//! before and after the backfill and with both sides live. Each pair has a row of its own.

use super::count;
use crate::common::cluster::Cluster;
use crate::common::patience::PATIENCE;
use crate::wait::{backfilled, until, until_sql};
use postgres::Client;
use std::sync::mpsc;

/// A part may refer to the one that decides, or to none.
const MAIN: &str = "REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE";
const ANY: &str = "";

fn tables(key: &str) -> String {
    format!(
        "CREATE TABLE a (id int PRIMARY KEY, x text, y text NOT NULL); \
         CREATE TABLE b (id int PRIMARY KEY {key}, z text NOT NULL, w text); \
         CREATE TABLE c (id int PRIMARY KEY {key}, v text)"
    )
}

const DEFINE: &str = "SELECT mig_define('parts'); SELECT mig_add_table('parts', 'a', 't', combine => 'merge'); \
    SELECT mig_add_table('parts', 'b', 't', combine => 'merge'); SELECT mig_add_table('parts', 'c', 't', combine => 'merge'); \
    SELECT mig_create(); SELECT mig_dual_write()";

/// Keys of rows that differ.
const DIFFERENT: &str = "WITH o AS (SELECT id, x, y, z, w, v FROM a FULL JOIN b USING (id) FULL JOIN c USING (id)), n AS (SELECT id, x, y, z, w, v FROM t) \
    SELECT id, json_agg(row)::text AS rows FROM (SELECT id, 'old' AS side, o AS row FROM (TABLE o EXCEPT ALL TABLE n) o UNION ALL \
    SELECT id, 'new', n FROM (TABLE n EXCEPT ALL TABLE o) n) q GROUP BY id ORDER BY id";

/// A write, with `#` for the row's key.
type Write = (&'static str, &'static str);

const WITH_A: [Write; 3] = [
    (
        "update a",
        "UPDATE a SET x = 'changed', y = 'too' WHERE id = #",
    ),
    ("delete a", "DELETE FROM a WHERE id = #"),
    ("key of a", "UPDATE a SET id = # + 1 WHERE id = #"),
];
const WITHOUT_A: [Write; 1] = [("insert a", "INSERT INTO a VALUES (#, 'new', 'row')")];
const WITH_B: [Write; 3] = [
    (
        "update b",
        "UPDATE b SET z = 'changed', w = NULL WHERE id = #",
    ),
    ("delete b", "DELETE FROM b WHERE id = #"),
    (
        "other key of b",
        "DELETE FROM b WHERE id = #; INSERT INTO b VALUES (#, 'again', 'there')",
    ),
];
const WITHOUT_B: [Write; 1] = [("insert b", "INSERT INTO b VALUES (#, 'new', 'row')")];
const NEW_SIDE: [Write; 4] = [
    (
        "new side: a",
        "UPDATE t SET x = 'by new', y = 'also' WHERE id = #",
    ),
    (
        "new side: b",
        "UPDATE t SET z = 'by new', w = 'also' WHERE id = #",
    ),
    (
        "new side: no b",
        "UPDATE t SET z = NULL, w = NULL WHERE id = #",
    ),
    ("new side: delete", "DELETE FROM t WHERE id = #"),
];

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
const ENDS: [&str; 2] = ["COMMIT", "ROLLBACK"];

#[derive(Clone, Debug)]
struct Case {
    /// Which parts are there.
    a: bool,
    b: bool,
    first: Write,
    second: Write,
    level: &'static str,
    ends: [&'static str; 2],
}

/// All pairs of a write to one part and a write to another.
fn cases(any: bool, new_side: bool) -> Vec<Case> {
    let mut all = Vec::new();
    for (a, b) in [(true, true), (true, false), (false, true), (false, false)] {
        // Without its main part a row has no other.
        if !a && b && !any {
            continue;
        }
        let of_a: &[Write] = if a { &WITH_A } else { &WITHOUT_A };
        let of_b: &[Write] = if b { &WITH_B } else { &WITHOUT_B };
        let mut pairs: Vec<(Write, Write)> = Vec::new();
        for one in of_a {
            for other in of_b {
                pairs.push((*one, *other));
                pairs.push((*other, *one));
            }
        }
        if new_side {
            pairs.clear();
            for one in of_a.iter().chain(of_b) {
                for other in NEW_SIDE {
                    pairs.push((*one, other));
                    pairs.push((other, *one));
                }
            }
        }
        for (first, second) in pairs {
            for level in LEVELS {
                for one in ENDS {
                    for other in ENDS {
                        let ends = [one, other];
                        all.push(Case {
                            a,
                            b,
                            first,
                            second,
                            level,
                            ends,
                        });
                    }
                }
            }
        }
    }
    all
}

struct Arena {
    watch: Client,
    one: Client,
    other: mpsc::Sender<String>,
    answers: mpsc::Receiver<Result<(), postgres::Error>>,
    pid: i32,
}

impl Arena {
    fn new(cluster: &Cluster, database: &str) -> Self {
        let mut second = cluster.connect(database);
        let pid = second
            .query_one("SELECT pg_backend_pid()", &[])
            .unwrap()
            .get(0);
        let (other, asked) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for sql in asked {
                if answer.send(second.batch_execute(&sql)).is_err() {
                    return;
                }
            }
        });
        Self {
            watch: cluster.connect(database),
            one: cluster.connect(database),
            other,
            answers,
            pid,
        }
    }

    /// What an application has to expect of two writers of one row: to be told to try again, or that a key is not kept, or that a row
    /// without any part is left.
    fn expected(outcome: Result<(), postgres::Error>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(e) => {
                let code = e.code().map(|c| c.code().to_owned()).unwrap_or_default();
                assert!(
                    ["40001", "40P01", "23502", "23503", "23505"].contains(&code.as_str()),
                    "{e:?}"
                );
                false
            }
        }
    }

    fn play(&mut self, case: &Case, key: usize) {
        let of = |w: Write| w.1.replace('#', &key.to_string());
        let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1;", case.level);
        let one = self
            .one
            .batch_execute(&format!("{begin} {}", of(case.first)));
        let one = Self::expected(one);
        self.other
            .send(format!("{begin} {}", of(case.second)))
            .unwrap();
        let (watch, answers, pid) = (&mut self.watch, &self.answers, self.pid);
        let mut answer = None;
        until("the second write ends, or waits", || {
            answer = answers.try_recv().ok();
            answer.is_some()
                || watch
                    .query_one(
                        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1",
                        &[&pid],
                    )
                    .unwrap()
                    .get::<_, Option<bool>>(0)
                    .unwrap_or(false)
        });
        let end = if one { case.ends[0] } else { "ROLLBACK" };
        let _ = Self::expected(self.one.batch_execute(end));
        let answer = answer.unwrap_or_else(|| answers.recv_timeout(PATIENCE).unwrap());
        let end = if Self::expected(answer) {
            case.ends[1]
        } else {
            "ROLLBACK"
        };
        self.other.send(end.to_owned()).unwrap();
        let _ = Self::expected(self.answers.recv_timeout(PATIENCE).unwrap());
    }
}

/// Rows that a case begins with.
fn lay(client: &mut Client, cases: &[Case], from: usize) {
    let mut sql = String::new();
    for (n, case) in cases.iter().enumerate() {
        let key = from + 10 * n;
        if case.a {
            sql += &format!("INSERT INTO a VALUES ({key}, 'x', 'y');");
        }
        if case.b {
            sql += &format!("INSERT INTO b VALUES ({key}, 'z', 'w');");
        }
    }
    client.batch_execute(&sql).unwrap();
}

/// What differs, with the case that it comes from.
fn differing(client: &mut Client, cases: &[Case], from: usize) -> Vec<String> {
    let rows = client.query(DIFFERENT, &[]).unwrap();
    let told = rows.iter().map(|r| {
        let key: i32 = r.get(0);
        let n = (usize::try_from(key).unwrap_or(0).max(from) - from) / 10;
        format!("{key}: {:?}: {}", cases.get(n), r.get::<_, String>(1))
    });
    told.collect()
}

fn play_all(arena: &mut Arena, client: &mut Client, cases: &[Case], from: usize, checked: bool) {
    for (n, case) in cases.iter().enumerate() {
        let key = from + 10 * n;
        arena.play(case, key);
        if checked {
            assert_eq!(differing(client, cases, from), Vec::<String>::new());
        }
    }
}

fn matrix(cluster: &Cluster, mut client: Client, database: &str, key: &str) {
    client.batch_execute(&tables(key)).unwrap();
    let any = key == ANY;
    let (early, late) = (cases(any, false), cases(any, false));
    let both = cases(any, true);
    let (from_late, from_both) = (1_000_000, 2_000_000);
    lay(&mut client, &early, 10);
    lay(&mut client, &late, from_late);
    lay(&mut client, &both, from_both);
    client.batch_execute(DEFINE).unwrap();
    let mut arena = Arena::new(cluster, database);
    play_all(&mut arena, &mut client, &early, 10, false);
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    assert_eq!(differing(&mut client, &early, 10), Vec::<String>::new());
    play_all(&mut arena, &mut client, &late, from_late, true);
    client.batch_execute("SELECT mig_switch()").unwrap();
    play_all(&mut arena, &mut client, &both, from_both, true);
    client.batch_execute("SELECT mig_assert()").unwrap();
}

#[test]
fn two_parts_of_one_row_are_written_at_once_and_both_are_there() {
    let cluster = Cluster::start("it_combined_parts", "deadlock_timeout = 100ms");
    let [main, any] = ["main_part", "any_part"].map(|d| cluster.database(d));
    std::thread::scope(|scope| {
        scope.spawn(|| matrix(&cluster, main, "main_part", MAIN));
        matrix(&cluster, any, "any_part", ANY);
    });
}

/// Writes that are open while the backfill passes by: each leaves a row that a batch cannot have whole.
#[test]
fn a_backfill_that_meets_open_writes_of_any_part_ends_right() {
    let cluster = Cluster::start("it_combined_open", "deadlock_timeout = 1s");
    for (database, key) in [("main_part", MAIN), ("any_part", ANY)] {
        let mut client = cluster.database(database);
        client.batch_execute(&tables(key)).unwrap();
        client
            .batch_execute(
                "INSERT INTO a SELECT g, 'x' || g, 'y' || g FROM generate_series(1, 1200) g; \
                 INSERT INTO b SELECT g, 'z' || g, 'w' || g FROM generate_series(1, 1200, 2) g; \
                 INSERT INTO c SELECT g, 'v' || g FROM generate_series(1, 1200, 3) g",
            )
            .unwrap();
        if key == ANY {
            client
                .batch_execute("INSERT INTO b SELECT g, 'z', 'w' FROM generate_series(5001, 5300) g; INSERT INTO c SELECT g, 'v' FROM generate_series(5151, 5450) g")
                .unwrap();
        }
        client.batch_execute(DEFINE).unwrap();
        let writes = [
            "UPDATE a SET x = 'open' WHERE id = #",
            "UPDATE b SET z = 'open' WHERE id = #",
            "DELETE FROM b WHERE id = #",
            "UPDATE a SET y = 'open' WHERE id = #; UPDATE b SET w = 'open' WHERE id = #",
            "UPDATE c SET v = 'open' WHERE id = #; DELETE FROM a WHERE id = #",
            "INSERT INTO c VALUES (#, 'open') ON CONFLICT (id) DO UPDATE SET v = 'open'",
            "SELECT FROM a WHERE id = # FOR UPDATE",
            "SELECT FROM b WHERE id = # FOR UPDATE",
        ];
        let mut open: Vec<(Client, &str)> = Vec::new();
        for (n, write) in writes.iter().cycle().take(24).enumerate() {
            let mut session = cluster.connect(database);
            let key = 1 + 50 * n;
            session
                .batch_execute(&format!("BEGIN; {}", write.replace('#', &key.to_string())))
                .unwrap();
            open.push((session, ENDS[n % 2]));
        }
        client
            .batch_execute(
                "SELECT mig_configure('parts', '{\"batch_rows\": 90}'); SELECT mig_backfill()",
            )
            .unwrap();
        until_sql(&mut client, "SELECT bool_and(copied) FROM mig.mapping");
        assert!(count(&mut client, "SELECT count(*) FROM mig.leftover") > 0);
        for (session, end) in &mut open {
            session.batch_execute(end).unwrap();
        }
        backfilled(&mut client);
        assert_eq!(differing(&mut client, &[], 0), Vec::<String>::new());
        client.batch_execute("SELECT mig_assert()").unwrap();
    }
}

/// On the way back from `stopped`: a row that somebody holds when its turn comes, and that has lost one of its parts afterwards.
#[test]
fn a_part_that_goes_while_its_row_is_held_does_not_hold_up_the_way_back() {
    // Without workers it is driven by hand.
    let cluster = Cluster::start("it_combined_back", "max_worker_processes = 0");
    let mut client = cluster.database("back");
    client.batch_execute(&tables(MAIN)).unwrap();
    client
        .batch_execute("INSERT INTO a VALUES (1, 'x', 'y'), (2, 'x', 'y'); INSERT INTO b VALUES (1, 'z', 'w'), (2, 'z', 'w')")
        .unwrap();
    client.batch_execute(DEFINE).unwrap();
    let goes_on = |client: &mut Client, phase: &str| {
        until_sql(
            client,
            &format!(
                "SELECT mig_step() IS NOT NULL AND (SELECT phase = '{phase}' FROM mig.status)"
            ),
        );
    };
    client.batch_execute("SELECT mig_backfill()").unwrap();
    goes_on(&mut client, "backfilled");
    client
        .batch_execute("SELECT mig_switch(); SELECT mig_stop()")
        .unwrap();
    client
        .batch_execute("SELECT mig_rollback('parts', 'switched')")
        .unwrap();
    let mut app = cluster.connect("back");
    app.batch_execute("BEGIN; UPDATE t SET w = 'held' WHERE id = 1")
        .unwrap();
    until_sql(
        &mut client,
        "SELECT mig_step() IS NOT NULL AND (SELECT bool_and(copied AND pass = 'back') FROM mig.mapping)",
    );
    assert!(count(&mut client, "SELECT count(*) FROM mig.leftover") > 0);
    app.batch_execute("UPDATE t SET z = NULL, w = NULL WHERE id = 1; COMMIT")
        .unwrap();
    goes_on(&mut client, "switched");
    assert_eq!(differing(&mut client, &[], 0), Vec::<String>::new());
    assert_eq!(count(&mut client, "SELECT count(*) FROM b"), 1);
}
