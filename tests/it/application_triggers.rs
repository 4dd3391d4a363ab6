//! Triggers of the application: each fires once for each change of the application, on the side that was written, and none for what a
//! mirror, a batch or the way back writes. What fires is compared with a database without pg_mig.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;
use std::io::Write as _;

const SCHEMA: &str = include_str!("application_triggers.sql");
/// Moved tables, and what both sides must agree on: `audit` and `aside` stay.
const MOVED: [&str; 5] = ["p", "c", "g", "s", "kept"];

/// Statements of the application. `@x` stands for table `x` of the side that is written, `#n` for the nth id of this run.
const STATEMENTS: &[&str] = &[
    "INSERT INTO @p(id, t) VALUES (#1, 'a'), (#2, 'b'), (#3, 'c'), (#4, 'veto'), (#5, 'shift')",
    "INSERT INTO @c(id, p_id, t) VALUES (#1, #1, 'a'), (#2, #1, 'b'), (#3, #2, 'c'), (#4, #3, 'd')",
    "INSERT INTO @g(id, c_id, t) SELECT #1 + n, CASE WHEN n < 3 THEN #1 ELSE #3 END, 'g' FROM generate_series(0, 5) n",
    "INSERT INTO @s(id, p_id, t) VALUES (#1, #1, 'a'), (#2, #2, 'b'), (#3, #3, 'c')",
    "INSERT INTO @kept(id, t) VALUES (#1, 'a'), (#2, 'b')",
    "INSERT INTO @p(id, t) VALUES (#1, 'upsert'), (#6, 'new') ON CONFLICT (id) DO UPDATE SET t = excluded.t",
    "UPDATE @p SET t = t || '+' WHERE id IN (#1, #2)",
    "UPDATE @c SET t = t || '+' WHERE p_id = #1",
    "UPDATE @kept SET t = t || '+' WHERE id = #1",
    "UPDATE @p SET id = id + 100 WHERE id = #2",
    "MERGE INTO @s AS m USING (VALUES (#1), (#9)) AS v(id) ON m.id = v.id WHEN MATCHED THEN UPDATE SET t = 'merged' \
     WHEN NOT MATCHED THEN INSERT (id, t) VALUES (v.id, 'merged')",
    "BEGIN; UPDATE @s SET t = 'one' WHERE id = #1; SAVEPOINT a; UPDATE @s SET t = 'two' WHERE id = #2; ROLLBACK TO a; COMMIT",
    "BEGIN; SAVEPOINT a; DELETE FROM @p WHERE id = #3; ROLLBACK TO a; UPDATE @p SET t = 'alive' WHERE id = #3; COMMIT",
    "WITH d AS (DELETE FROM @g WHERE id = #1 RETURNING c_id) UPDATE @c SET t = 'lost one' WHERE id IN (SELECT c_id FROM d)",
    "DO $$ BEGIN DELETE FROM @p WHERE id = #1; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN UPDATE @p SET t = 'still' WHERE id = #1; END $$",
    "DELETE FROM @p WHERE id IN (#1, #3)",
    "DELETE FROM @c WHERE id = #3",
    "DELETE FROM @s WHERE id = #9",
    "TRUNCATE @kept",
    "INSERT INTO @seen(id, t) VALUES (#1, 'seen'), (#2, 'seen')",
    "UPDATE @seen SET t = t || '!'",
    "DELETE FROM @seen WHERE id = #2",
];

struct Application {
    client: Client,
    runs: u32,
}

impl Application {
    fn new(cluster: &Cluster, database: &str) -> Self {
        let client = cluster.connect(database);
        Self { client, runs: 0 }
    }

    /// Runs all statements on one side. Returns what fired, with the names of old tables.
    fn run(&mut self, suffix: &str) -> Vec<String> {
        self.client.batch_execute("DELETE FROM audit").unwrap();
        self.runs += 1;
        for statement in STATEMENTS {
            let sql = self.on_side(statement, suffix);
            for part in sql.split("; ").filter(|_| sql.starts_with("BEGIN")) {
                self.client.batch_execute(part).expect(part);
            }
            if !sql.starts_with("BEGIN") {
                self.client.batch_execute(&sql).expect(&sql);
            }
        }
        let copy = self.on_side("COPY @kept(id, t) FROM stdin", suffix);
        let lines = self.on_side("#7\tx\n#8\ty\n", suffix);
        let mut rows = self.client.copy_in(&copy).unwrap();
        rows.write_all(lines.as_bytes()).unwrap();
        rows.finish().unwrap();
        self.fired()
    }

    fn fired(&mut self) -> Vec<String> {
        let rows = self
            .client
            .query(
                "SELECT replace(tbl, '_new', '') || ' ' || what FROM audit ORDER BY 1",
                &[],
            )
            .unwrap();
        rows.iter().map(|r| r.get(0)).collect()
    }

    fn on_side(&self, statement: &str, suffix: &str) -> String {
        let mut sql = statement.to_owned();
        for table in ["seen", "kept", "p", "c", "g", "s"] {
            sql = sql.replace(&format!("@{table}"), &format!("{table}{suffix}"));
        }
        (1..10).fold(sql, |sql, n| {
            sql.replace(&format!("#{n}"), &(self.runs * 1000 + n).to_string())
        })
    }
}

fn differences(client: &mut Client) -> i64 {
    let each = |t: &&str| {
        format!(
            "(SELECT count(*) FROM ((TABLE {t} EXCEPT ALL TABLE {t}_new) UNION ALL (TABLE {t}_new EXCEPT ALL TABLE {t})) d)"
        )
    };
    let all: Vec<String> = MOVED.iter().map(each).collect();
    client
        .query_one(&format!("SELECT {}", all.join(" + ")), &[])
        .unwrap()
        .get(0)
}

/// The application on one database, beside the same on a database without pg_mig.
struct Comparison {
    moving: Application,
    plain: Application,
}

impl Comparison {
    fn start(cluster: &Cluster) -> Self {
        let mut both = ["moving", "plain"].map(|database| {
            let mut admin = cluster.connect("postgres");
            admin
                .batch_execute(&format!("CREATE DATABASE {database}"))
                .unwrap();
            let mut application = Application::new(cluster, database);
            application.client.batch_execute(SCHEMA).unwrap();
            application
        });
        both[0]
            .client
            .batch_execute("CREATE EXTENSION pg_mig")
            .unwrap();
        let [moving, plain] = both;
        Self { moving, plain }
    }

    /// Runs the application on one side of the migration, and on the plain tables.
    fn compare(&mut self, phase: &str, suffix: &str) {
        let expected = self.plain.run("");
        assert!(expected.len() > 100, "{expected:?}");
        let fired = self.moving.run(suffix);
        let missing: Vec<_> = subtract(&expected, &fired);
        let extra: Vec<_> = subtract(&fired, &expected);
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{phase}{suffix}: missing {missing:#?}, extra {extra:#?}"
        );
    }

    fn compare_both(&mut self, phase: &str) {
        for suffix in ["", "_new"] {
            self.compare(phase, suffix);
            assert_eq!(differences(&mut self.moving.client), 0, "{phase}{suffix}");
        }
    }

    /// Calls a function of pg_mig. No trigger fires for what it and its job write.
    fn step(&mut self, call: &str) {
        let client = &mut self.moving.client;
        client.batch_execute("DELETE FROM audit").unwrap();
        client.batch_execute(call).expect(call);
        if yes(
            client,
            "SELECT EXISTS (SELECT FROM mig.job WHERE state = 'running')",
        ) {
            backfilled(client);
        }
        assert_eq!(self.moving.fired(), Vec::<String>::new(), "{call}");
    }
}

/// What `all` has more of than `others`; both are sorted.
fn subtract(all: &[String], others: &[String]) -> Vec<String> {
    let mut left = others.to_vec();
    let mut found = Vec::new();
    for one in all {
        match left.iter().position(|o| o == one) {
            Some(n) => drop(left.swap_remove(n)),
            None => found.push(one.clone()),
        }
    }
    found
}

const NEW_VIEW: &str = "CREATE VIEW seen_new AS SELECT id, t FROM kept_new; \
    CREATE TRIGGER through INSTEAD OF INSERT OR UPDATE OR DELETE ON seen_new FOR EACH ROW EXECUTE FUNCTION through('kept_new')";
const DEFINE: &str = "SELECT mig_define('m'); \
    SELECT mig_add_table('m', t, t || '_new') FROM unnest(ARRAY['p', 'c', 'g', 's', 'kept']) t;";

#[test]
fn each_trigger_fires_once_on_the_side_that_was_written_in_every_phase() {
    let cluster = Cluster::start("it_app_triggers", "");
    let mut both = Comparison::start(&cluster);
    both.compare("before", "");
    both.moving.client.batch_execute(DEFINE).unwrap();
    both.step("SELECT mig_create('m'); SELECT mig_dual_write('m')");
    both.step(NEW_VIEW);
    both.compare("dual_write", "");
    both.step("SELECT mig_backfill('m')");
    both.compare("backfilled", "");
    assert_eq!(differences(&mut both.moving.client), 0);
    both.step("SELECT mig_switch('m')");
    both.compare_both("switched");
    both.step("SELECT mig_rollback('m')");
    both.compare("backfilled again", "");
    both.step("SELECT mig_switch('m')");
    both.step("SELECT mig_stop('m')");
    // Written by name, the old table refuses.
    let client = &mut both.moving.client;
    client.batch_execute("CREATE OR REPLACE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.p_new SET children = children + 1 WHERE id = NEW.p_id; RETURN NULL; END $$").unwrap();
    both.compare("stopped", "_new");
    both.step("SELECT mig_rollback('m')");
    assert_eq!(differences(&mut both.moving.client), 0);
    both.compare_both("switched again");
    both.step("SELECT mig_assert('m')");
    both.step("SELECT mig_rollback('m', 'created')");
    assert!(yes(
        &mut both.moving.client,
        "SELECT count(*) = 0 FROM p_new"
    ));
}

#[test]
fn triggers_that_are_always_on_fire_for_the_application_alone() {
    let cluster = Cluster::start("it_always_triggers", "");
    let mut both = Comparison::start(&cluster);
    for application in [&mut both.moving, &mut both.plain] {
        application.client.batch_execute("ALTER TABLE kept ENABLE ALWAYS TRIGGER a_row; ALTER TABLE kept ENABLE ALWAYS TRIGGER z_statement; ALTER TABLE kept ENABLE REPLICA TRIGGER b_row").unwrap();
    }
    both.moving.client.batch_execute(DEFINE).unwrap();
    both.step("SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')");
    both.step("SELECT mig_switch('m')");
    for application in [&mut both.moving, &mut both.plain] {
        application
            .client
            .batch_execute("SET session_replication_role = replica")
            .unwrap();
    }
    // Foreign keys do nothing in this mode, on any table: only the table without keys is written.
    for suffix in ["", "_new"] {
        let mut fired = Vec::new();
        for (application, suffix) in [(&mut both.moving, suffix), (&mut both.plain, "")] {
            application.runs += 1;
            application
                .client
                .batch_execute("DELETE FROM audit")
                .unwrap();
            for statement in STATEMENTS.iter().filter(|s| s.contains("@kept")) {
                let sql = application.on_side(statement, suffix);
                application.client.batch_execute(&sql).unwrap();
            }
            fired.push(application.fired());
        }
        assert!(!fired[1].is_empty());
        assert_eq!(fired[0], fired[1], "replica{suffix}");
        assert_eq!(differences(&mut both.moving.client), 0);
    }
}

#[test]
fn a_timestamp_that_a_trigger_sets_comes_back_as_it_went() {
    let cluster = Cluster::start("it_touch", "");
    let mut client = cluster.connect("postgres");
    for (n, clock) in ["now()", "clock_timestamp()"].iter().enumerate() {
        client
            .batch_execute(&format!(
                "CREATE EXTENSION IF NOT EXISTS pg_mig; CREATE TABLE art{n}(id int PRIMARY KEY, title text, who text, updated_at timestamptz DEFAULT now()); \
                 CREATE FUNCTION touch{n}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := {clock}; NEW.who := current_user; RETURN NEW; END'; \
                 CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON art{n} FOR EACH ROW EXECUTE FUNCTION touch{n}(); \
                 INSERT INTO art{n} SELECT g, 't' FROM generate_series(1, 3) g; \
                 SELECT mig_define('m{n}'); SELECT mig_add_table('m{n}', 'art{n}', 'art{n}_new'); SELECT mig_create('m{n}')"
            ))
            .unwrap();
        for call in ["mig_dual_write", "mig_backfill", "mig_switch", "mig_stop"] {
            client
                .batch_execute(&format!("SELECT {call}('m{n}')"))
                .unwrap();
            if call == "mig_backfill" {
                assert!(yes(&mut client, &format!("SELECT mig_wait('m{n}')")));
            }
        }
        client.batch_execute(&format!("UPDATE art{n}_new SET title = 'b' WHERE id = 1; INSERT INTO art{n}_new VALUES (9, 'new')")).unwrap();
        client
            .batch_execute(&format!("SELECT mig_rollback('m{n}')"))
            .unwrap();
        assert!(yes(&mut client, &format!("SELECT mig_wait('m{n}')")));
        client.batch_execute(&format!("UPDATE art{n}_new SET title = 'c' WHERE id = 2; UPDATE art{n} SET title = 'd' WHERE id = 3")).unwrap();
        assert!(yes(
            &mut client,
            &format!(
                "SELECT NOT EXISTS (TABLE art{n} EXCEPT ALL TABLE art{n}_new) AND NOT EXISTS (TABLE art{n}_new EXCEPT ALL TABLE art{n})"
            )
        ));
        client
            .batch_execute(&format!("SELECT mig_assert('m{n}')"))
            .unwrap();
    }
}

#[test]
fn preflight_says_which_triggers_follow_and_why_the_others_do_not() {
    let cluster = Cluster::start("it_trigger_preflight", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE log(id int PRIMARY KEY); CREATE TABLE other(id int PRIMARY KEY); \
             CREATE TABLE t(id int PRIMARY KEY, a text, b text, gone text); \
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NEW; END'; \
             CREATE FUNCTION by_name() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.a := lower(NEW.a); RETURN NEW; END'; \
             CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER follows BEFORE UPDATE OF a ON t FOR EACH ROW WHEN (old.a IS DISTINCT FROM new.a AND new.a <> 'a.a') EXECUTE FUNCTION f(); \
             CREATE TRIGGER reads_gone BEFORE UPDATE ON t FOR EACH ROW WHEN (new.gone IS NULL) EXECUTE FUNCTION closed(); \
             CREATE TRIGGER by_name BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION by_name(); \
             CREATE CONSTRAINT TRIGGER two AFTER INSERT ON t FROM other FOR EACH ROW EXECUTE FUNCTION closed(); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't_new', columns => '{\"a\": null, \"A b\": \"a\", \"gone\": null}'); \
             SELECT mig_add_table('m', 'log', 'log_new')",
        )
        .unwrap();
    let found: Vec<String> = client
        .query("SELECT severity || ': ' || detail FROM mig_preflight('m') WHERE check_name = 'triggers' ORDER BY detail", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(
        found,
        [
            "warning: Function \"public\".\"f\" of trigger \"follows\" names \"public\".\"log\" in its text, and goes on using the old table when the application has moved.",
            "warning: Trigger \"by_name\" is not carried over: its function or an argument names column \"a\", which the target does not have under this name.",
            "info: Trigger \"follows\" is carried over: it fires once for each write of the application, on the side that was written, and for no write of pg_mig.",
            "warning: Trigger \"reads_gone\" is not carried over: it names column \"gone\", which the target does not have unchanged.",
            "warning: Trigger \"two\" is not carried over: it is a constraint trigger FROM \"public\".\"other\".",
        ]
    );
    let planned =
        "SELECT count(*) = 1 FROM mig_plan('m') WHERE action ~ 'CREATE TRIGGER \"follows\"'";
    assert!(yes(&mut client, planned));
    client.batch_execute("SELECT mig_create('m')").unwrap();
    let made: String = client
        .query_one("SELECT string_agg(pg_get_triggerdef(oid), '; ') FROM pg_trigger WHERE tgrelid = 't_new'::regclass AND NOT tgisinternal", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        made,
        "CREATE TRIGGER follows BEFORE UPDATE OF \"A b\" ON public.t_new FOR EACH ROW WHEN (((old.\"A b\" IS DISTINCT FROM new.\"A b\") AND (new.\"A b\" <> 'a.a'::text))) EXECUTE FUNCTION f()"
    );
    // The owner may not make it.
    client
        .batch_execute(
            "CREATE ROLE owns; GRANT CREATE ON SCHEMA public TO owns; CREATE TABLE u(id int PRIMARY KEY); ALTER TABLE u OWNER TO owns; \
             CREATE TRIGGER closed BEFORE UPDATE ON u FOR EACH ROW EXECUTE FUNCTION closed(); REVOKE EXECUTE ON FUNCTION closed() FROM PUBLIC; \
             SELECT mig_define('u'); SELECT mig_add_table('u', 'u', 'u_new')",
        )
        .unwrap();
    let (code, detail, hint) = refused(&mut client, "SELECT mig_create('u')");
    assert_eq!(code, "55000");
    assert!(detail.contains("may not call function"), "{detail}");
    assert_eq!(
        hint,
        "GRANT EXECUTE ON FUNCTION \"public\".\"closed\"() TO \"owns\";"
    );
}
