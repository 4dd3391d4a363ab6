//! Whoever owns a table attaches our trigger functions to it in whatever way SQL has. None of them crashes, and none loses a write in
//! silence.

mod known;

use crate::common::cluster::Cluster;
use crate::wait::{until, yes};
use postgres::Client;

const FUNCTIONS: [&str; 3] = ["mirror", "guard", "keep_columns"];
const TIMINGS: [&str; 3] = ["BEFORE", "AFTER", "INSTEAD OF"];
const LEVELS: [&str; 2] = ["ROW", "STATEMENT"];
const EVENTS: [&str; 7] = [
    "INSERT",
    "UPDATE",
    "UPDATE OF v",
    "DELETE",
    "TRUNCATE",
    "INSERT OR UPDATE OR DELETE",
    "INSERT OR UPDATE OR DELETE OR TRUNCATE",
];
const KINDS: [&str; 6] = [
    "",
    "FROM par",
    "NOT DEFERRABLE",
    "DEFERRABLE INITIALLY IMMEDIATE",
    "DEFERRABLE INITIALLY DEFERRED",
    "REFERENCING OLD TABLE AS gone NEW TABLE AS came",
];
const CONDITIONS: [&str; 2] = ["", "WHEN (pg_trigger_depth() >= 0)"];
const TABLES: [&str; 12] = [
    "t",
    "t_new",
    "cols",
    "other",
    "view",
    "parted",
    "part",
    "kin",
    "kid",
    "far",
    "unlogged",
    "temporary",
];
/// Arguments that are not what we give, as SQL text.
const ARGUMENTS: [&str; 13] = [
    "",
    "1",
    "'1', 'forward', 'more'",
    "'1', 'sideways'",
    "'+1', 'forward'",
    "' 1', 'forward'",
    "'2', 'forward'",
    "'1', 'reverse'",
    "'99999999999', 'forward'",
    "'-1', 'new'",
    "'', ''",
    "E'\\x01\\'\"', E'\\\\'",
    "'1', 'OLD'",
];

/// One way to attach a function.
struct Way<'a> {
    function: &'a str,
    timing: &'a str,
    level: &'a str,
    events: &'a str,
    kind: &'a str,
    condition: &'a str,
    arguments: &'a str,
}

impl Way<'_> {
    fn create(&self, name: &str, table: &str) -> String {
        let constraint = match self.kind {
            "" => "",
            k if k.starts_with("REFERENCING") => "",
            _ => "CONSTRAINT",
        };
        format!(
            "CREATE {constraint} TRIGGER \"{name}\" {} {} ON {table} {} FOR EACH {} {} EXECUTE FUNCTION mig.{}({})",
            self.timing,
            self.events,
            self.kind,
            self.level,
            self.condition,
            self.function,
            self.arguments
        )
    }
}

/// All ways that differ in how the trigger fires.
fn ways<'a>(function: &'a str, arguments: &'a str) -> Vec<Way<'a>> {
    let mut all = Vec::new();
    for (timing, level) in TIMINGS.iter().flat_map(|t| LEVELS.map(|l| (*t, l))) {
        for (events, kind) in EVENTS.iter().flat_map(|e| KINDS.map(|k| (*e, k))) {
            // A condition is looked at wherever there is one.
            let some = if kind.is_empty() { 2 } else { 1 };
            all.extend(CONDITIONS.iter().take(some).map(|condition| Way {
                function,
                timing,
                level,
                events,
                kind,
                condition,
                arguments,
            }));
        }
    }
    all
}

/// What the application does to a table.
fn writes(table: &str) -> Vec<String> {
    let mut all = vec![
        format!("INSERT INTO {table} (id, v) VALUES (1000, 'new')"),
        format!("UPDATE {table} SET v = 'changed' WHERE id IN (1, 2)"),
        format!("UPDATE {table} SET v = 'none' WHERE id = 77"),
        format!("UPDATE {table} SET id = id + 2000 WHERE id = 3"),
        format!("DELETE FROM {table} WHERE id = 4"),
    ];
    if table != "view" {
        all.push(format!("TRUNCATE {table}"));
    }
    if table.starts_with('t') {
        all.push("DELETE FROM par WHERE id = 6".into());
    }
    all
}

/// Names of ours for a function, and what stands under them.
fn standing(client: &mut Client, function: &str) -> Vec<(String, String, String)> {
    let sql = "SELECT t.tgname::text, t.tgrelid::regclass::text, \
         (SELECT string_agg(quote_literal(a), ', ') FROM string_to_table(rtrim(encode(t.tgargs, 'escape'), E'\\\\000'), E'\\\\000') a) \
         FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid WHERE f.proname = $1 AND f.pronamespace = 'mig'::regnamespace ORDER BY 1";
    let rows = client.query(sql, &[&function]).unwrap();
    rows.iter()
        .map(|r| (r.get(0), r.get(1), r.get(2)))
        .collect()
}

/// Attaches one trigger, in the place of the one of its name where there is one, and fires all of its events.
fn attempt(client: &mut Client, way: &Way, name: &str, table: &str, seen: &mut Seen) {
    let drop = format!("DROP TRIGGER IF EXISTS \"{name}\" ON {table}");
    let made = vec![
        "SET LOCAL client_min_messages = warning".to_owned(),
        drop,
        way.create(name, table),
    ];
    let told: Option<Vec<String>> = client
        .query_one(
            "SELECT attempt($1, $2, $3)",
            &[&made, &writes(table), &seen.compared.contains(&table)],
        )
        .unwrap_or_else(|e| panic!("{}: {e:?}", made[2]))
        .get(0);
    seen.attempts += 1;
    for one in told.iter().flatten() {
        seen.fired += 1;
        let refused = ["39P01", "42501", "55000"].contains(&&one[..5]);
        seen.refused += usize::from(refused);
        // PostgreSQL's own: a table that others refer to, or that cannot be truncated.
        let theirs = [
            "0A000: cannot truncate",
            "23514: new row for relation \"part\"",
            "42809: \"t\" is not a table",
        ];
        assert!(
            one == "passed" || refused || theirs.iter().any(|t| one.starts_with(t)),
            "{}\n{told:#?}",
            made[2]
        );
    }
}

/// What has been tried.
#[derive(Default)]
struct Seen {
    /// Tables whose writes reach the other side.
    compared: &'static [&'static str],
    attempts: usize,
    fired: usize,
    refused: usize,
}

/// In one phase: each function, fired in each way, on each table, under a name of ours and another; then with other arguments.
fn attach_all(client: &mut Client, tables: &[&str], compared: &'static [&'static str]) {
    let started: String = started(client);
    let mut seen = Seen {
        compared,
        ..Seen::default()
    };
    for function in FUNCTIONS {
        let mut ours = standing(client, function);
        ours.push((
            format!("odd_{function}"),
            String::new(),
            "'1', 'forward'".into(),
        ));
        for (name, table, arguments) in &ours {
            let some = [table.as_str(), "other"];
            let tables = if table.is_empty() { tables } else { &some };
            for way in ways(function, arguments) {
                for table in tables {
                    attempt(client, &way, name, table, &mut seen);
                }
            }
        }
        let huge = format!("'{}', 'forward'", "9".repeat(100_000));
        let mut arguments = Vec::from(ARGUMENTS);
        arguments.push(&huge);
        for (name, table, _) in &ours {
            for arguments in &arguments {
                for way in ways(function, arguments) {
                    if way.kind.is_empty() && way.condition.is_empty() && !table.is_empty() {
                        attempt(client, &way, name, table, &mut seen);
                    }
                }
            }
        }
    }
    println!(
        "{} attempts, {} events, {} refused",
        seen.attempts, seen.fired, seen.refused
    );
    assert!(seen.fired > 1000 && seen.refused > 500);
    assert_eq!(
        started,
        self::started(client),
        "the server has not restarted"
    );
}

fn started(client: &mut Client) -> String {
    let sql = "SELECT pg_postmaster_start_time()::text || pg_backend_pid()";
    client.query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn no_way_to_attach_our_functions_crashes_or_loses_a_write() {
    let cluster = Cluster::start("it_odd", "max_connections = 100");
    let mut client = cluster.database("odd");
    client
        .batch_execute(include_str!("odd_triggers.sql"))
        .unwrap();
    client
        .batch_execute("CREATE TEMP TABLE temporary (id int PRIMARY KEY, v text, p int); INSERT INTO temporary SELECT * FROM other")
        .unwrap();
    for m in ["m", "c"] {
        for step in ["create", "dual_write"] {
            client
                .batch_execute(&format!("SELECT mig_{step}('{m}')"))
                .unwrap();
        }
        client
            .batch_execute(&format!("SELECT mig_backfill('{m}')"))
            .unwrap();
        assert!(yes(&mut client, &format!("SELECT mig_wait('{m}')")));
    }
    attach_all(&mut client, &TABLES, &["t", "cols"]);
    until("the locks", || {
        client.batch_execute("SELECT mig_switch('m')").is_ok()
    });
    attach_all(&mut client, &["t", "t_new", "other"], &["t", "t_new"]);
    client.batch_execute("SELECT mig_stop('m')").unwrap();
    attach_all(&mut client, &["t", "t_new", "other"], &[]);
    client
        .batch_execute("SELECT mig_archive('m', compat_views => true)")
        .unwrap();
    attach_all(&mut client, &["t", "other", "view"], &[]);
    assert!(yes(
        &mut client,
        "SELECT NOT EXISTS (SELECT FROM mig.drift)"
    ));
}
