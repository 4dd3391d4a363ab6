//! Attacks of roles that have little, on those who have more: the installer, the owners of tables, superusers.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused, yes};
use postgres::Client;

fn code(client: &mut Client, sql: &str) -> String {
    match client.batch_execute(sql) {
        Ok(()) => "00000".into(),
        Err(e) => e
            .as_db_error()
            .map_or_else(|| e.to_string(), |d| d.code().code().to_owned()),
    }
}

fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client
        .query(sql, &[])
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|r| r.get(0)).collect()
}

/// An ordinary login that may make schemas in its database; in its own stands a trap for whatever our SQL could mean.
fn trapped(cluster: &Cluster, database: &str) -> Client {
    let mut admin = cluster.connect("postgres");
    admin
        .batch_execute(&format!("CREATE DATABASE {database}"))
        .unwrap();
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON DATABASE {database} TO att; ALTER DATABASE {database} SET search_path = att, pg_catalog"
        ))
        .unwrap();
    let mut att = cluster.connect_as(database, "att");
    att.batch_execute("SET search_path = pg_catalog; CREATE SCHEMA att")
        .unwrap();
    att.batch_execute(include_str!("attack.sql")).unwrap();
    let made: i64 = att
        .query_one("SELECT pg_temp.set_traps('att')", &[])
        .unwrap()
        .get(0);
    assert!(made > 5_000, "{made} traps");
    att
}

#[test]
fn whoever_installs_or_updates_becomes_nobody_else() {
    let cluster = Cluster::start("it_attack_install", "");
    cluster.offer("tests/upgrade/pg_mig--0.1.0.sql");
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE ROLE att LOGIN").unwrap();
    let mut att = trapped(&cluster, "fresh");
    att.batch_execute("SET search_path = att, pg_catalog; CREATE EXTENSION pg_mig WITH SCHEMA att; SET search_path = pg_catalog")
        .unwrap();
    let none: Vec<String> = Vec::new();
    assert_eq!(texts(&mut att, "SELECT pg_temp.strange()"), none);
    // With the traps on everybody's path the whole way is gone.
    att.batch_execute("CREATE TABLE att.a (id int PRIMARY KEY, v text); INSERT INTO att.a SELECT g, g FROM generate_series(1, 100) g")
        .unwrap();
    att.batch_execute("SET search_path = att, pg_catalog")
        .unwrap();
    for step in [
        "mig_define('m')",
        "mig_add_table('m', 'att.a', 'att.b')",
        "mig_preflight()",
        "mig_create()",
        "mig_dual_write()",
        "mig_backfill()",
        "mig_wait()",
        "mig_assert()",
        "mig_switch()",
        "mig_status()",
        "mig_stop()",
    ] {
        att.batch_execute(&format!("SELECT att.{step}"))
            .unwrap_or_else(|e| panic!("{step}: {e:?}"));
    }
    for view in texts(
        &mut admin_of(&cluster, "fresh"),
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'mig'::regnamespace AND c.relkind = 'v' AND c.relname !~ '^(m[0-9].*|visible|triggers|kinds)$'",
    ) {
        att.batch_execute(&format!("SELECT pg_catalog.count(*) FROM {view}"))
            .unwrap_or_else(|e| panic!("{view}: {e:?}"));
    }
    // From the first version on: that one's script is given, the updates are ours.
    let mut old = trapped(&cluster, "old");
    let mut there = admin_of(&cluster, "old");
    there
        .batch_execute("SET search_path = pg_catalog; CREATE SCHEMA calm AUTHORIZATION att")
        .unwrap();
    old.batch_execute("CREATE EXTENSION pg_mig WITH SCHEMA calm VERSION '0.1.0'")
        .unwrap();
    // Its objects come to stand among the traps, and the scripts run with them on the path.
    old.batch_execute("ALTER SCHEMA att RENAME TO gone; ALTER SCHEMA calm RENAME TO calm2")
        .unwrap();
    let path: Vec<String> = texts(
        &mut old,
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_mig'",
    );
    assert_eq!(path, ["calm2"]);
    old.batch_execute(include_str!("attack.sql")).unwrap();
    old.query_one("SELECT pg_temp.set_traps('calm2')", &[])
        .unwrap();
    old.batch_execute("SET search_path = calm2, pg_catalog; ALTER EXTENSION pg_mig UPDATE; SET search_path = pg_catalog")
        .unwrap();
    assert_eq!(texts(&mut old, "SELECT pg_temp.strange()"), none);
    // Nobody became anything.
    assert_eq!(
        texts(
            &mut admin,
            "SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1"
        ),
        ["postgres"]
    );
}

fn admin_of(cluster: &Cluster, database: &str) -> Client {
    let mut admin = cluster.connect(database);
    admin.batch_execute("SET search_path = pg_catalog").unwrap();
    admin
}

#[test]
fn what_stands_in_the_way_of_an_installation_is_not_taken_over() {
    let cluster = Cluster::start("it_attack_planted", "");
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE ROLE att LOGIN").unwrap();
    admin
        .batch_execute("CREATE DATABASE planted OWNER att")
        .unwrap();
    let mut att = cluster.connect_as("planted", "att");
    att.batch_execute("CREATE SCHEMA att").unwrap();
    for (plant, expected) in [
        ("CREATE SCHEMA mig", "42P06"),
        (
            "CREATE FUNCTION att.mig_version() RETURNS text LANGUAGE sql AS 'SELECT current_user::text'",
            "42723",
        ),
        (
            "CREATE FUNCTION att.mig_allow(regrole) RETURNS void LANGUAGE sql AS ''",
            "42723",
        ),
    ] {
        att.batch_execute(&format!("BEGIN; {plant}")).unwrap();
        assert_eq!(
            code(&mut att, "CREATE EXTENSION pg_mig WITH SCHEMA att"),
            expected,
            "{plant}"
        );
        att.batch_execute("ROLLBACK").unwrap();
    }
    att.batch_execute("CREATE EXTENSION pg_mig WITH SCHEMA att")
        .unwrap();
}

/// vic has tables and a migration; att is allowed to run migrations of his own; app has DML on vic's tables; owner has installed it.
const PARTIES: &str = "CREATE ROLE owner LOGIN; CREATE ROLE vic LOGIN; CREATE ROLE att LOGIN; CREATE ROLE app LOGIN; CREATE ROLE watch LOGIN; \
    GRANT pg_monitor TO watch";
const TABLES: &str = "CREATE SCHEMA v AUTHORIZATION vic; CREATE SCHEMA a AUTHORIZATION att; GRANT USAGE ON SCHEMA v TO app; \
    SET ROLE vic; CREATE TABLE v.t (id int PRIMARY KEY, ssn text); INSERT INTO v.t SELECT g, 'ssn ' || g FROM generate_series(1, 50) g; \
    INSERT INTO v.t VALUES (51, 'ssn 50'); GRANT SELECT (id), INSERT, UPDATE, DELETE ON v.t TO app; RESET ROLE; \
    SET ROLE att; CREATE TABLE a.t (id int PRIMARY KEY, v text); INSERT INTO a.t SELECT g, g FROM generate_series(1, 50) g; RESET ROLE";

fn parties(cluster: &Cluster) -> Client {
    let mut admin = cluster.connect("postgres");
    admin.batch_execute(PARTIES).unwrap();
    admin
        .batch_execute("CREATE DATABASE d OWNER owner")
        .unwrap();
    let mut client = cluster.connect("d");
    client.batch_execute(TABLES).unwrap();
    let mut owner = cluster.connect_as("d", "owner");
    owner
        .batch_execute("CREATE EXTENSION pg_mig; SELECT mig_allow('vic'); SELECT mig_allow('att')")
        .unwrap();
    let mut vic = cluster.connect_as("d", "vic");
    vic.batch_execute("SELECT mig_define('vics'); SELECT mig_add_table('vics', 'v.t', 'v.t2'); SELECT mig_create('vics'); SELECT mig_dual_write('vics')")
        .unwrap();
    client
}

#[test]
fn nobody_writes_the_state() {
    let cluster = Cluster::start("it_attack_state", "");
    let mut client = parties(&cluster);
    let rights = "SELECT r || ' may ' || p || ' ' || c.oid::regclass FROM pg_class c, unnest(ARRAY['vic', 'att', 'app']) r, \
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p \
        WHERE c.relnamespace = 'mig'::regnamespace AND c.relkind IN ('r', 'v', 'p') AND c.relowner = 10 AND has_table_privilege(r, c.oid, p) \
          AND NOT (c.relkind = 'v' AND p = 'SELECT') \
        UNION ALL SELECT r || ' may ' || p || ' ' || c.oid::regclass FROM pg_class c, unnest(ARRAY['vic', 'att', 'app']) r, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p \
        WHERE c.relnamespace = 'mig'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege(r, c.oid, p) \
        UNION ALL SELECT r || ' may CREATE' FROM unnest(ARRAY['vic', 'att', 'app']) r WHERE has_schema_privilege(r, 'mig', 'CREATE')";
    assert_eq!(texts(&mut client, rights), Vec::<String>::new());
    for who in ["vic", "att", "app"] {
        let mut one = cluster.connect_as("d", who);
        for sql in [
            "CREATE TABLE mig.planted (id int)",
            "CREATE FUNCTION mig.expression_check() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE VIEW mig.m7_forward AS SELECT 1",
            "UPDATE mig.migration SET owner = 'postgres'",
            "DELETE FROM mig.migration",
            "SELECT nextval('mig.job_id_seq')",
            "CREATE TRIGGER t BEFORE INSERT ON mig.job FOR EACH ROW EXECUTE FUNCTION mig.mirror()",
        ] {
            assert_eq!(code(&mut one, sql), "42501", "{who}: {sql}");
        }
    }
    // Who owns the extension restores a dump, of what is his own.
    let mut owner = cluster.connect_as("d", "owner");
    for sql in [
        "UPDATE mig.migration SET owner = 'postgres'",
        "DELETE FROM mig.mapping",
        "INSERT INTO mig.migration (name, owner) VALUES ('forged', 'postgres')",
        "INSERT INTO mig.migration (name, owner) VALUES ('forged', 'vic')",
        "INSERT INTO mig.mapping (migration, ordinal, source, target_schema, target_name, spec) SELECT id, 9, 'v.t', 'v', 't3', '{}' FROM mig.migration",
        "INSERT INTO mig.step_log (migration, phase, what, owner) VALUES ('vics', 'defined', 'forged', 'vic')",
        "INSERT INTO mig.job (migration, driver, role) SELECT id, 'manual', 'postgres' FROM mig.migration",
        "INSERT INTO mig.change (relation, role, change, search_path) VALUES ('v.t', 'postgres', '{\"kind\": \"index\", \"name\": \"z\"}', '')",
        "WITH m AS (INSERT INTO mig.migration (name, owner) VALUES ('own', 'owner') RETURNING id) \
         INSERT INTO mig.new_column (migration, leader, relation, name, type, up) SELECT id, 1, 'v.t', 'x', 'text', '1' FROM m",
    ] {
        assert_eq!(code(&mut owner, sql), "42501", "{sql}");
    }
    // Another's migration is nobody's business but its owner's.
    let mut att = cluster.connect_as("d", "att");
    for call in [
        "mig_check('vics')",
        "mig_diff('vics', 'v.t')",
        "mig_repair('vics')",
        "mig_checklist('vics')",
        "mig_preflight('vics')",
        "mig_plan('vics')",
        "mig_rollback('vics')",
        "mig_detach('vics')",
        "mig_backfill('vics')",
        "mig_step('vics')",
        "mig_configure('vics', '{\"throttle_query\": \"SELECT true\"}')",
        "mig_drop('vics')",
        "mig_switch('vics')",
        "mig_cancel('vics')",
        "mig_set_not_null('v.t', 'ssn')",
        "mig_add_table('vics', 'a.t', 'a.t2')",
        "mig_create_index('CREATE INDEX i ON v.t (ssn)')",
        "mig_add_check('v.t', 'c', 'true')",
    ] {
        assert_eq!(code(&mut att, &format!("SELECT {call}")), "42501", "{call}");
    }
    assert_eq!(code(&mut att, "SELECT mig_config('vics')"), "42704");
    assert!(yes(&mut client, "SELECT count(*) = 1 FROM mig.migration"));
}

#[test]
fn each_sees_what_is_his() {
    let cluster = Cluster::start("it_attack_views", "");
    let mut client = parties(&cluster);
    let mut vic = cluster.connect_as("d", "vic");
    let job: i64 = vic
        .query_one(
            "SELECT mig_create_index('CREATE UNIQUE INDEX one_ssn ON v.t (ssn)')",
            &[],
        )
        .unwrap()
        .get(0);
    let (code_of, ..) = refused(&mut vic, &format!("SELECT mig_wait({job})"));
    assert_eq!(code_of, "55000");
    assert!(yes(&mut vic, "SELECT error ~ 'ssn 50' FROM mig.jobs"));
    client
        .batch_execute("INSERT INTO mig.row_error (mapping, key, sqlstate, message) SELECT id, '{secret}', '23505', 'ssn 50' FROM mig.mapping")
        .unwrap();
    assert!(yes(&mut vic, "SELECT count(*) = 1 FROM mig.errors"));
    // Where a policy hides rows, it hides their keys.
    let mut watch = cluster.connect_as("d", "watch");
    assert!(yes(
        &mut watch,
        "SELECT count(*) = 1 AND bool_and(error !~ 'ssn 50') FROM mig.jobs"
    ));
    assert!(yes(&mut watch, "SELECT count(*) = 1 FROM mig_status()"));
    assert!(yes(&mut watch, "SELECT count(*) = 0 FROM mig.errors"));
    client
        .batch_execute("GRANT SELECT ON v.t TO watch")
        .unwrap();
    assert!(yes(&mut watch, "SELECT error ~ 'ssn 50' FROM mig.jobs"));
    assert!(yes(&mut watch, "SELECT count(*) = 1 FROM mig.errors"));
    client
        .batch_execute("ALTER TABLE v.t ENABLE ROW LEVEL SECURITY")
        .unwrap();
    assert!(yes(&mut watch, "SELECT error !~ 'ssn 50' FROM mig.jobs"));
    assert!(yes(&mut watch, "SELECT count(*) = 0 FROM mig.errors"));
    // Others see nothing, also with a condition that tells what it is asked about.
    for who in ["att", "app"] {
        let mut one = cluster.connect_as("d", who);
        one.batch_execute("CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN RAISE EXCEPTION 'told %', $1; END$$")
            .unwrap();
        for view in texts(
            &mut client,
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind = 'v' \
             AND c.relnamespace = 'mig'::regnamespace AND c.relname NOT IN ('visible', 'triggers', 'kinds', 'activity', 'blockers')",
        ) {
            assert!(
                yes(&mut one, &format!("SELECT count(*) = 0 FROM {view}")),
                "{who} {view}"
            );
            assert_eq!(
                code(
                    &mut one,
                    &format!("SELECT FROM {view} x WHERE pg_temp.tell(x::text)")
                ),
                "00000",
                "{who} {view}"
            );
        }
        assert_eq!(code(&mut one, &format!("SELECT mig_wait({job})")), "42704");
        assert_ne!(code(&mut one, "SELECT mig_wait('vics')"), "00000");
        assert!(yes(&mut one, "SELECT count(*) = 0 FROM mig_status()"));
        assert!(yes(&mut one, "SELECT mig_reads('vics') = 'old'"));
    }
}

/// A function that says IMMUTABLE, and leaves a trigger behind that fires at the end of whoever's transaction it is.
const BAIT: &str = "CREATE TABLE a.seen (who name); CREATE TABLE a.bait (id int); \
    CREATE FUNCTION a.look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO a.seen VALUES (current_user); RETURN NULL; END$$; \
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON a.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION a.look(); \
    CREATE FUNCTION a.bite() RETURNS void LANGUAGE plpgsql AS $$BEGIN \
      INSERT INTO a.seen VALUES (current_user); INSERT INTO a.bait VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END$$; \
    CREATE FUNCTION a.f(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM a.bite(); RETURN upper($1); END$$; \
    CREATE FUNCTION a.brake() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM a.bite(); RETURN false; END$$; \
    GRANT USAGE ON SCHEMA a TO app; GRANT INSERT ON a.t, a.bait, a.seen TO app";

#[test]
fn an_expression_runs_as_its_owner_whoever_calls() {
    let cluster = Cluster::start("it_attack_lent", "");
    let mut client = parties(&cluster);
    let mut att = cluster.connect_as("d", "att");
    att.batch_execute(BAIT).unwrap();
    client
        .batch_execute("ALTER DATABASE d SET mig.throttle_query = 'SELECT a.brake()'")
        .unwrap();
    let mut client = cluster.connect("d");
    att.batch_execute(
        "SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', columns => '{\"w\": \"a.f(v)\"}', filter => 'a.f(v) IS NOT NULL'); \
         SELECT mig_configure('m', '{\"throttle_query\": \"SELECT a.brake()\"}')",
    )
    .unwrap();
    for step in [
        "mig_preflight('m')",
        "mig_plan('m')",
        "mig_ddl('m')",
        "mig_create('m')",
        "mig_dual_write('m')",
        "mig_check('m')",
        "mig_diff('m', 'a.t')",
        "mig_repair('m')",
        "mig_checklist('m')",
        "mig_step('m', 1)",
        "mig_backfill('m', 'worker')",
        "mig_wait('m')",
        "mig_check('m')",
        "mig_diff('m', 'a.t')",
        "mig_repair('m')",
        "mig_repair('m', dry_run => false)",
        "mig_checklist('m')",
        "mig_add_check('a.t', 'fine', 'a.f(v) IS NOT NULL')",
        "mig_wait((SELECT max(id) FROM mig.jobs))",
        "mig_create_index('CREATE INDEX by_f ON a.t (a.f(v))')",
        "mig_wait((SELECT max(id) FROM mig.jobs))",
    ] {
        client
            .batch_execute(&format!("SELECT {step}"))
            .unwrap_or_else(|e| panic!("{step}: {e:?}"));
        assert_eq!(
            texts(
                &mut client,
                "SELECT DISTINCT who::text FROM a.seen WHERE who <> 'att'"
            ),
            Vec::<String>::new(),
            "after {step}"
        );
    }
    client
        .batch_execute("SELECT mig_rollback('m', 'defined'); SELECT mig_drop('m')")
        .unwrap();
    // Columns in place.
    att.batch_execute(
        "SELECT mig_define('c'); SELECT mig_add_column('c', 'a.t', 'w', 'text', 'a.f(v)')",
    )
    .unwrap();
    for step in [
        "mig_preflight('c')",
        "mig_create('c')",
        "mig_dual_write('c')",
        "mig_backfill('c', 'worker')",
        "mig_wait('c')",
        "mig_check('c')",
        "mig_checklist('c')",
        "mig_switch('c')",
    ] {
        client
            .batch_execute(&format!("SELECT {step}"))
            .unwrap_or_else(|e| panic!("{step}: {e:?}"));
        assert_eq!(
            texts(
                &mut client,
                "SELECT DISTINCT who::text FROM a.seen WHERE who <> 'att'"
            ),
            Vec::<String>::new(),
            "after {step}"
        );
    }
    // The trap is a trap: it was stepped on, and where the owner himself calls it goes off at the end.
    assert!(yes(&mut client, "SELECT count(*) > 0 FROM a.seen"));
    att.batch_execute("TRUNCATE a.seen; SELECT a.f('x')")
        .unwrap();
    assert!(yes(&mut client, "SELECT count(*) = 2 FROM a.seen"));
}

/// Every function, by a role that is no superuser: the owner of the extension, and one that he allowed.
#[test]
fn every_function_works_for_those_whom_it_is_for() {
    let cluster = Cluster::start("it_attack_plain", "track_functions = all");
    let mut client = parties(&cluster);
    client
        .batch_execute(
            "GRANT CREATE ON DATABASE d TO vic; SET ROLE vic; GRANT USAGE ON SCHEMA v TO owner",
        )
        .unwrap();
    client.batch_execute("RESET ROLE").unwrap();
    for (who, schema) in [("owner", "o"), ("vic", "w")] {
        let mut one = cluster.connect_as("d", who);
        client.batch_execute("SELECT pg_stat_reset()").unwrap();
        one.batch_execute(&format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema}, public; CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2); \
             CREATE TABLE t (id int PRIMARY KEY, v text, p int); INSERT INTO t SELECT g, g, 1 + g % 2 FROM generate_series(1, 200) g; \
             CREATE TABLE u (id int PRIMARY KEY, v text)"
        ))
        .unwrap();
        for call in [
            "SELECT mig_version()",
            "SELECT mig_define('m')",
            "SELECT mig_add_table('m', 't', 't2')",
            "SELECT mig_configure('m', '{\"delay_ms\": 0}')",
            "SELECT mig_preflight('m')",
            "SELECT mig_plan('m')",
            "SELECT mig_ddl('m')",
            "SELECT mig_config('m')",
            "SELECT mig_create('m')",
            "SELECT mig_dual_write('m')",
            "SELECT mig_detach('m')",
            "SELECT mig_rollback('m', 'created')",
            "SELECT mig_dual_write('m')",
            "SELECT mig_backfill('m', 'manual')",
            "SELECT mig_pause('m')",
            "SELECT mig_resume('m')",
            "SELECT mig_step('m')",
            "CALL mig_run('m')",
            "SELECT mig_cancel('m')",
            "SELECT mig_backfill('m')",
            "SELECT mig_wait('m')",
            "SELECT mig_check('m')",
            "SELECT mig_assert('m')",
            "SELECT mig_check_start('m')",
            "SELECT mig_wait('m')",
            "SELECT mig_diff('m', 't')",
            "SELECT mig_repair('m', dry_run => false)",
            "SELECT mig_checklist('m')",
            "SELECT mig_status()",
            "SELECT mig_reads('m')",
            "SELECT mig_map('m', 't', '1')",
            "SELECT mig_switch('m')",
            "SELECT mig_stop('m')",
            "SELECT mig_archive('m', force => true)",
            "SELECT mig_drop('m', archives => true, force => true)",
            "SELECT mig_define('{\"migration\": \"c\"}'::jsonb)",
            "SELECT mig_add_column('c', 'u', 'w', 'text', 'v')",
            "SELECT mig_create('c')",
            "SELECT mig_dual_write('c')",
            "SELECT mig_rollback('c', 'defined')",
            "SELECT mig_drop('c')",
            "SELECT * FROM mig_lint('ALTER TABLE t2 ADD x int')",
            "SELECT mig_wait(mig_set_not_null('t2', 'v'))",
            "SELECT mig_wait(mig_add_check('t2', 'short', 'length(v) < 9'))",
            "SELECT mig_wait(mig_add_foreign_key('t2', 'to_p', '{p}', 'p', '{id}'))",
            "SELECT mig_wait(mig_create_index('CREATE INDEX by_v ON t2 (v)'))",
            "SELECT mig_cancel((SELECT max(id) FROM mig.jobs))",
        ] {
            // A job begins when its transaction commits.
            let call = match call.strip_prefix("SELECT mig_wait(mig_") {
                Some(rest) => {
                    one.batch_execute(&format!("SELECT mig_{}", rest.strip_suffix(')').unwrap()))
                        .unwrap_or_else(|e| panic!("{who}: {rest}: {e:?}"));
                    "SELECT mig_wait((SELECT max(id) FROM mig.jobs))"
                }
                None => call,
            };
            crate::wait::until(call, || match one.batch_execute(call) {
                Ok(()) => true,
                Err(e) if e.code().is_some_and(|c| c.code() == "55P03") => false,
                Err(e) => panic!("{who}: {call}: {e:?}"),
            });
        }
        if who == "vic" {
            let (code, detail, hint) = refused(&mut one, "SELECT mig_allow('app')");
            assert_eq!(code, "42501");
            assert!(
                detail.contains("vic") && hint.contains("owner"),
                "{detail} {hint}"
            );
        } else {
            one.batch_execute("SELECT mig_allow('att')").unwrap();
        }
        drop(one);
        // The last call's counts come with the end of its session.
        let missed = "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
            JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig' WHERE p.prorettype <> 'trigger'::regtype \
              AND NOT EXISTS (SELECT FROM pg_stat_user_functions f WHERE f.funcid = p.oid AND f.calls > 0) \
              AND p.proname NOT IN ('step_of', 'cron_drives', 'mig_allow', 'mig_status') ORDER BY 1";
        let mut left = Vec::new();
        crate::wait::until(&format!("{who} to have called everything"), || {
            let now = texts(&mut client, missed);
            if now != left {
                println!("{who} has not called {now:?}");
            }
            left = now;
            left.is_empty()
        });
    }
    backfilled_is_used(&mut client);
}

/// Jobs without a driver of cron's: the two functions that pg_cron's command calls answer everybody whom they are for.
fn backfilled_is_used(client: &mut Client) {
    client
        .batch_execute("SET ROLE vic; SELECT mig.cron_drives(1), mig.step_of(1, 1); RESET ROLE; SET ROLE vic; SELECT mig_backfill('vics'); RESET ROLE")
        .unwrap();
    backfilled(client);
}
