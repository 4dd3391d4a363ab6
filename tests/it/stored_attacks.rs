//! What somebody stored (a type, a function, a forged row, a setting of the database) runs with nobody else's rights, however much more
//! whoever comes by later may do.

use crate::common::cluster::Cluster;
use crate::common::patience::until;
use postgres::Client;

/// `inst` installs, `att` and `vic` may run migrations of their own tables, `app` writes, `stranger` has nothing.
const ROLES: &str = "CREATE ROLE inst LOGIN; CREATE ROLE att LOGIN; CREATE ROLE vic LOGIN; CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN";
const SCHEMAS: &str = "CREATE SCHEMA i AUTHORIZATION inst; CREATE SCHEMA a AUTHORIZATION att; CREATE SCHEMA v AUTHORIZATION vic; \
    GRANT USAGE ON SCHEMA a, v, i TO PUBLIC";

/// `a.evil(…)` makes its owner a superuser, if whoever runs it can.
const EVIL: &str = "CREATE FUNCTION a.evil() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE att SUPERUSER; END IF; RETURN true; END$$";

struct Stage {
    cluster: Cluster,
}

impl Stage {
    fn new(name: &'static str, settings: &str) -> Self {
        let cluster = Cluster::start(name, settings);
        let mut admin = cluster.connect("postgres");
        admin.batch_execute(ROLES).unwrap();
        admin.batch_execute("CREATE DATABASE d OWNER att").unwrap();
        admin
            .batch_execute("GRANT CREATE ON DATABASE d TO inst, vic; ALTER DATABASE d SET search_path = i, public; \
                ALTER DATABASE d SET client_min_messages = error")
            .unwrap();
        let stage = Self { cluster };
        stage.admin().batch_execute(SCHEMAS).unwrap();
        stage
    }

    fn installed(name: &'static str) -> Self {
        let stage = Self::new(name, "");
        stage
            .as_role("inst")
            .batch_execute(
                "CREATE EXTENSION pg_mig WITH SCHEMA i; SELECT mig_allow('att'), mig_allow('vic')",
            )
            .unwrap();
        stage
    }

    fn admin(&self) -> Client {
        self.cluster.connect("d")
    }

    fn as_role(&self, role: &str) -> Client {
        self.cluster.connect_as("d", role)
    }

    fn run(&self, role: &str, sql: &str) {
        self.as_role(role)
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{role}: {sql}: {e:?}"));
    }

    fn code(&self, role: &str, sql: &str) -> String {
        match self.as_role(role).batch_execute(sql) {
            Ok(()) => "00000".into(),
            Err(e) => {
                let db = e.as_db_error().unwrap_or_else(|| panic!("{sql}: {e}"));
                db.code().code().to_owned()
            }
        }
    }

    fn require_no_new_superuser(&self) {
        let who: String = self
            .admin()
            .query_one(
                "SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolsuper",
                &[],
            )
            .unwrap()
            .get(0);
        assert_eq!(who, "postgres");
    }

    fn triggers_of_ours(&self, table: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND tgname ~ 'mig_'";
        self.admin().query_one(sql, &[&table]).unwrap().get(0)
    }
}

/// The whole way to `phase`, of one table `a.t` or another.
fn migrated(table: &str, name: &str, phase: &str) -> String {
    let steps = [
        ("created", format!("mig_create('{name}')")),
        ("dual_write", format!("mig_dual_write('{name}')")),
        (
            "backfilled",
            format!("mig_backfill('{name}', 'manual'), mig_step('{name}', 60000)"),
        ),
        ("switched", format!("mig_switch('{name}')")),
        ("stopped", format!("mig_stop('{name}')")),
    ];
    let last = steps.iter().position(|s| s.0 == phase).unwrap();
    let all: Vec<String> = steps[..=last]
        .iter()
        .map(|s| format!("SELECT {};", s.1))
        .collect();
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, x int); INSERT INTO {table} SELECT g, g FROM generate_series(1, 20) g; \
         SELECT mig_define('{name}'); SELECT mig_add_table('{name}', '{table}', '{table}_new'); {}",
        all.concat()
    )
}

#[test]
fn a_look_into_the_map_runs_the_key_s_type_as_the_owner() {
    let stage = Stage::installed("it_stored_map");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.evil(int) RETURNS boolean LANGUAGE sql AS 'SELECT a.evil()'; CREATE DOMAIN a.dk AS int CHECK (a.evil(VALUE)); \
         CREATE SEQUENCE a.sq; CREATE TABLE a.t (id a.dk PRIMARY KEY DEFAULT nextval('a.sq')::int, x text); INSERT INTO a.t (x) VALUES ('x'); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', id_mode => 'remap', columns => '{\"id\": \"nextval(''a.sq'')\"}'); \
         SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m', 'manual'); SELECT mig_step('m', 60000); \
         CREATE TABLE a.k (id a.dk PRIMARY KEY); INSERT INTO a.k VALUES (1); SELECT mig_define('k'); SELECT mig_add_table('k', 'a.k', 'a.k2'); \
         SELECT mig_create('k'); SELECT mig_dual_write('k'); SELECT mig_backfill('k', 'manual'); SELECT mig_step('k', 60000)",
    );
    for call in ["mig_map('m', 'a.t', '1')", "mig_map('k', 'a.k', '1')"] {
        stage.run("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
        // Nor is anything told to who may not read the table.
        assert_eq!(stage.code("stranger", &format!("SELECT {call}")), "42501");
    }
    let mut att = stage.as_role("att");
    let found = att
        .query_one(
            "SELECT mig_map('k', 'a.k', '1') = '1', mig_map('k', 'a.k', '7') IS NULL",
            &[],
        )
        .unwrap();
    assert_eq!((found.get(0), found.get(1)), (Some(true), Some(true)));
}

/// A layout whose types and constants try to end our statement and to begin another.
fn forged(owner: &str, phase: &str) -> String {
    format!(
        "INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (900, 'forged', '{owner}', '{phase}'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, spec, layout, mirrors, copied) \
           OVERRIDING SYSTEM VALUE SELECT 900, 900, 1, source, target_schema, target_name, target, true, spec, layout || jsonb_build_object( \
             'scope', jsonb_build_object('column', 'c', 'type_text', 'int --', 'value', '1', 'table', NULL), \
             'kind', jsonb_build_object('column', 'k', 'type_text', 'text', 'table', NULL, 'value', \
               E'\\n) EXECUTE FUNCTION mig.mirror(); ALTER ROLE {owner} SUPERUSER; --')), ARRAY['x']::name[], true \
         FROM mig.mapping WHERE id = (SELECT min(id) FROM mig.mapping)"
    )
}

#[test]
fn a_forged_layout_ends_no_statement_of_ours() {
    let stage = Stage::installed("it_stored_layout");
    stage.run(
        "inst",
        "CREATE TABLE i.s (id int PRIMARY KEY, x int); CREATE TABLE i.t (id int PRIMARY KEY, x int); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'i.s', 'i.t'); SELECT mig_create('m'); ALTER TABLE i.t ADD c int, ADD k text",
    );
    stage.run("inst", &forged("inst", "backfilled"));
    for role in ["inst", "postgres"] {
        for call in [
            "mig_switch('forged', true)",
            "mig_check('forged')",
            "mig_diff('forged', 'i.s')",
            "mig_repair('forged', dry_run => false)",
            "mig_rollback('forged', 'created')",
        ] {
            assert_ne!(
                stage.code(role, &format!("SELECT {call}")),
                "00000",
                "{call}"
            );
            stage.require_no_new_superuser();
        }
    }
    // The same in the phases before: what is made there is made from other parts of the state.
    stage.run("inst", "UPDATE i.s SET x = x");
    for phase in ["defined", "created", "dual_write", "switched", "stopped"] {
        stage.run(
            "postgres",
            &format!("UPDATE mig.migration SET phase = '{phase}' WHERE id = 900"),
        );
        for call in [
            "mig_create",
            "mig_dual_write",
            "mig_stop",
            "mig_plan",
            "mig_ddl",
            "mig_preflight",
            "mig_archive",
            "mig_detach",
            "mig_rollback",
        ] {
            stage.code("postgres", &format!("SELECT {call}('forged')"));
            stage.require_no_new_superuser();
        }
    }
}

#[test]
fn what_was_forged_before_the_update_gains_nothing_after_it() {
    let stage = Stage::new("it_stored_update", "");
    stage.cluster.offer("tests/upgrade/pg_mig--0.1.0.sql");
    stage.run(
        "inst",
        "CREATE EXTENSION pg_mig WITH SCHEMA i VERSION '0.1.0'; SELECT mig_allow('att'); ALTER EXTENSION pg_mig UPDATE TO '0.7.0'",
    );
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE TABLE a.s (id int PRIMARY KEY, x int); CREATE TABLE a.q (id int PRIMARY KEY)",
    );
    // As an allowed role could: rows in another's name, a statement in a job of the superuser's.
    stage.run(
        "postgres",
        "SET ROLE att; \
         INSERT INTO mig.migration (id, name, owner, phase, options) OVERRIDING SYSTEM VALUE \
           VALUES (900, 'forged', 'postgres', 'dual_write', '{\"throttle_query\": \"SELECT a.evil()\"}'); RESET ROLE; \
         INSERT INTO mig.change (relation, role, change, search_path, state) VALUES ('a.s', 'postgres', \
           '{\"kind\": \"foreign_key\", \"name\": \"z\", \"columns\": [\"x\"], \"references\": {\"schema\": \"a\", \"name\": \"q\"}, \
             \"ref_columns\": [\"id\"], \"on_update\": \"NO ACTION\", \"on_delete\": \"CASCADE NOT VALID; ALTER ROLE att SUPERUSER; --\"}', 'public', 'running'); \
         INSERT INTO mig.job (migration, driver, role) VALUES (900, 'worker', 'postgres')",
    );
    stage.run("inst", "ALTER EXTENSION pg_mig UPDATE");
    let mut admin = stage.admin();
    let open: i64 = admin
        .query_one(
            "SELECT (SELECT count(*) FROM mig.job WHERE state IN ('running', 'paused')) + (SELECT count(*) FROM mig.change WHERE ended_at IS NULL) \
               + (SELECT count(*) FROM mig.migration WHERE options ? 'throttle_query')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(open, 0);
    for call in [
        "mig_backfill('forged', 'manual')",
        "mig_step('forged', 1000)",
    ] {
        assert_eq!(stage.code("att", &format!("SELECT {call}")), "42501");
        stage.code("postgres", &format!("SELECT {call}"));
    }
    stage.require_no_new_superuser();
}

#[test]
fn whoever_gets_a_table_gets_no_code_of_its_former_owner_s() {
    let stage = Stage::installed("it_stored_owner");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1::int'; \
         CREATE TABLE a.c (id int PRIMARY KEY, x text); GRANT INSERT ON a.c TO app; SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'a.f(x)', 'y::text', replaces => 'x'); SELECT mig_create('c'); SELECT mig_dual_write('c'); \
         CREATE TABLE a.t (id int PRIMARY KEY, x text); GRANT INSERT ON a.t TO app; SELECT mig_define('t'); \
         SELECT mig_add_table('t', 'a.t', 'a.t2', columns => '{\"y\": \"a.f(x)\", \"x\": null}'); SELECT mig_create('t'); SELECT mig_dual_write('t')",
    );
    // As long as the tables are their author's, all is well.
    stage.run(
        "app",
        "INSERT INTO a.c VALUES (1, '1'); INSERT INTO a.t VALUES (1, '1')",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.c OWNER TO postgres; ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.t2 OWNER TO postgres",
    );
    stage.run(
        "att",
        "CREATE OR REPLACE FUNCTION a.f(text) RETURNS int VOLATILE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN $1::int; END$$",
    );
    for table in ["a.c", "a.t"] {
        assert_eq!(
            stage.code("app", &format!("INSERT INTO {table} VALUES (2, '2')")),
            "42501",
            "{table}"
        );
        stage.require_no_new_superuser();
    }
    stage.run("postgres", "SELECT mig_detach('c'); SELECT mig_detach('t')");
    stage.run(
        "app",
        "INSERT INTO a.c VALUES (2, '2'); INSERT INTO a.t VALUES (2, '2')",
    );
}

#[test]
fn a_worker_is_its_job_s_role_whatever_the_database_says() {
    let stage = Stage::installed("it_stored_worker");
    stage.run(
        "att",
        "CREATE TABLE a.t (id int PRIMARY KEY, x int); INSERT INTO a.t SELECT g, g FROM generate_series(1, 50) g; \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2'); SELECT mig_create('m'); SELECT mig_dual_write('m'); \
         CREATE FUNCTION a.late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF session_user = 'postgres' THEN BEGIN EXECUTE 'SET ROLE none'; \
           EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; EXECUTE 'ALTER ROLE att SUPERUSER'; EXCEPTION WHEN insufficient_privilege THEN NULL; END; END IF; \
           RETURN NULL; END$$; \
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON a.t2 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION a.late()",
    );
    let mut admin = stage.admin();
    admin
        .batch_execute("BEGIN; SELECT mig_backfill('m')")
        .unwrap();
    // The worker connects after this.
    stage.run("att", "ALTER DATABASE d SET role = 'att'");
    admin.batch_execute("COMMIT").unwrap();
    let mut admin = stage.admin();
    admin.batch_execute("SET ROLE none").unwrap();
    until("the job ends", || {
        let open = "SELECT count(*) FROM mig.job WHERE state = 'running'";
        admin.query_one(open, &[]).unwrap().get::<_, i64>(0) == 0
    });
    stage.run("att", "ALTER DATABASE d RESET role");
    stage.require_no_new_superuser();
    // A superuser who only plays the owner lends him nothing either.
    let mut player = stage.admin();
    player
        .batch_execute("SET ROLE att; DELETE FROM a.t2 WHERE id < 5; SELECT mig_repair('m', dry_run => false); SELECT mig_check('m')")
        .unwrap();
    stage.require_no_new_superuser();
}

#[test]
fn nobody_stops_the_writes_of_a_table_that_is_not_his() {
    let stage = Stage::installed("it_stored_triggers");
    for (table, name, phase) in [
        ("a.t", "m", "dual_write"),
        ("a.b", "b", "backfilled"),
        ("a.s", "n", "stopped"),
    ] {
        stage.run("att", &migrated(table, name, phase));
    }
    stage.run(
        "att",
        "CREATE TABLE a.c (id int PRIMARY KEY, x text); SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'x::int', 'y::text', replaces => 'x'); SELECT mig_create('c'); SELECT mig_dual_write('c')",
    );
    let tables = ["a.t", "a.b", "a.s", "a.c"];
    for table in tables {
        stage.run("postgres", &format!("ALTER TABLE {table} OWNER TO vic"));
        stage.run(
            "vic",
            &format!(
                "DO $$DECLARE n name; BEGIN FOR n IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgname ~ 'mig_' LOOP \
                   EXECUTE format('DROP TRIGGER %I ON {table}', n); END LOOP; END$$"
            ),
        );
    }
    for call in [
        "mig_dual_write('m')",
        "mig_dual_write('b')",
        "mig_switch('b', true)",
        "mig_stop('n')",
        "mig_rollback('n')",
        "mig_dual_write('c')",
        "mig_switch('c', true)",
        "mig_detach('m')",
    ] {
        stage.code("att", &format!("SELECT {call}"));
        for table in tables {
            assert_eq!(stage.triggers_of_ours(table), 0, "{call}: {table}");
        }
    }
    stage.run(
        "vic",
        "INSERT INTO a.t VALUES (100, 1); INSERT INTO a.b VALUES (100, 1); INSERT INTO a.s VALUES (100, 1); INSERT INTO a.c (id, x) VALUES (100, '1')",
    );
}

#[test]
fn state_is_restored_of_what_is_one_s_own_at_this_moment() {
    let stage = Stage::installed("it_stored_restore");
    stage.run("inst", "CREATE TABLE i.mine (id int PRIMARY KEY)");
    let mut inst = stage.as_role("inst");
    inst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; \
        INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (900, 'forged', 'inst', 'switched')")
        .unwrap();
    stage.run("vic", "CREATE TABLE v.secret (id int PRIMARY KEY)");
    let secret: u32 = stage
        .admin()
        .query_one("SELECT 'v.secret'::regclass::oid", &[])
        .unwrap()
        .get(0);
    // Newer than the transaction's snapshot; not made yet; of a migration that is not there yet.
    for (migration, source) in [(900, secret), (900, secret + 1000), (901, secret)] {
        let sql = format!(
            "SAVEPOINT s; INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, spec, copied) \
               OVERRIDING SYSTEM VALUE VALUES (900, {migration}, 1, {source}, 'i', 'mine', 'i.mine', '{{}}', true)"
        );
        let e = inst.batch_execute(&sql).expect_err("refused");
        assert_eq!(
            e.code().map(|c| c.code().to_owned()).as_deref(),
            Some("42501"),
            "{e:?}"
        );
        inst.batch_execute("ROLLBACK TO s").unwrap();
    }
}

#[test]
fn nobody_learns_keys_or_takes_names_of_others() {
    let stage = Stage::installed("it_stored_names");
    stage.run(
        "vic",
        "CREATE TABLE v.people (ssn text PRIMARY KEY, name text); INSERT INTO v.people VALUES ('123', 'bob'); GRANT SELECT (name) ON v.people TO att; \
         CREATE TABLE v.hidden (id int PRIMARY KEY); INSERT INTO v.hidden VALUES (1); ALTER TABLE v.hidden ENABLE ROW LEVEL SECURITY; \
         GRANT SELECT ON v.hidden TO att; CREATE TABLE v.open (id int PRIMARY KEY); INSERT INTO v.open VALUES (1); GRANT REFERENCES (id) ON v.open TO att",
    );
    for (n, (table, value, code)) in [
        ("v.people", "123", "42501"),
        ("v.people", "124", "42501"),
        ("v.hidden", "1", "42501"),
        ("v.hidden", "2", "42501"),
        ("v.open", "1", "00000"),
        ("v.open", "2", "22023"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = format!("SELECT mig_define('o{n}', '{table}', '{value}')");
        assert_eq!(stage.code("att", &call), code, "{call}");
    }
    stage.run(
        "att",
        "CREATE TABLE a.x (id int PRIMARY KEY); SELECT mig_define('sq')",
    );
    for (target, code) in [
        ("v.t2", "42501"),
        ("v.people", "42501"),
        ("nowhere.t", "3F000"),
        ("a.t2", "00000"),
    ] {
        let call = format!("SELECT mig_add_table('sq', 'a.x', '{target}')");
        assert_eq!(stage.code("att", &call), code, "{call}");
    }
    // Jobs of others are not there.
    stage.run("vic", "CREATE TABLE v.j (id int PRIMARY KEY, x int)");
    let mut vic = stage.as_role("vic");
    let job: i64 = vic
        .query_one("SELECT mig_set_not_null('v.j', 'x')", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        stage.code("stranger", &format!("SELECT mig_wait({job})")),
        "42704"
    );
    stage.run("vic", &format!("SELECT mig_wait({job})"));
}

#[test]
fn a_job_that_nobody_would_run_is_not_prepared() {
    let stage = Stage::installed("it_stored_prepared");
    stage.run("att", "CREATE TABLE a.t (id int PRIMARY KEY, x int)");
    for begun in [
        "mig_create_index('CREATE INDEX ix ON a.t (x)')",
        "mig_set_not_null('a.t', 'x')",
    ] {
        let sql = format!("BEGIN; SELECT {begun}; PREPARE TRANSACTION 'p'");
        assert_eq!(stage.code("att", &sql), "0A000", "{begun}");
    }
    let open: i64 = stage
        .admin()
        .query_one("SELECT count(*) FROM mig.change", &[])
        .unwrap()
        .get(0);
    assert_eq!(open, 0);
}

/// The view of a column change belongs to the table's owner, and a rule makes something else of it.
#[test]
fn a_column_s_view_leads_to_no_other_table_and_to_no_crash() {
    let stage = Stage::installed("it_stored_rule");
    stage.run(
        "att",
        "CREATE TABLE a.p (id int PRIMARY KEY, x int); INSERT INTO a.p SELECT g, g FROM generate_series(1, 5) g; CREATE VIEW a.v AS SELECT * FROM a.p; \
         CREATE SEQUENCE a.sq; CREATE TABLE a.other (id int PRIMARY KEY, x int, y boolean); INSERT INTO a.other VALUES (1, 1, NULL); \
         CREATE TABLE a.parted (id int, x int, y boolean) PARTITION BY LIST (id); \
         SELECT mig_define('m'); SELECT mig_add_column('m', 'a.p', 'y', 'boolean', 'x > 0'); SELECT mig_create('m'); SELECT mig_dual_write('m')",
    );
    let view: String = stage
        .admin()
        .query_one("SELECT 'mig.columns_' || min(id) FROM mig.new_column", &[])
        .unwrap()
        .get(0);
    for select in [
        "rolsuper AS \"new:1\", (rolsuper OR rolname = 'att') AS \"up:1\" FROM ONLY pg_catalog.pg_authid",
        "y AS \"new:1\", true AS \"up:1\" FROM ONLY a.other",
        "y AS \"new:1\", true AS \"up:1\" FROM ONLY a.parted",
        "(x = 1) AS \"new:1\", true AS \"up:1\" FROM ONLY a.v",
        "true AS \"new:1\", true AS \"up:1\" FROM ONLY a.p",
        "(x = 1) AS \"new:1\", true AS \"up:1\" FROM ONLY a.p",
        "y AS \"new:1\", (SELECT true) AS \"up:1\" FROM ONLY a.p",
        "q.y AS \"new:1\", true AS \"up:1\" FROM (SELECT ctid, y FROM ONLY a.p) q",
        "is_called AS \"new:1\", true AS \"up:1\" FROM ONLY a.sq",
    ] {
        stage.run(
            "att",
            &format!("CREATE OR REPLACE RULE \"_RETURN\" AS ON SELECT TO {view} DO INSTEAD SELECT '(0,0)'::tid AS \"mig:ctid\", {select}"),
        );
        for call in [
            "SELECT mig_backfill('m', 'manual'); SELECT mig_step('m', 60000)",
            "SELECT mig_check('m')",
            "UPDATE a.p SET x = x",
            "SELECT mig_repair('m', dry_run => false)",
        ] {
            let code = stage.code("att", call);
            assert!(!code.starts_with("XX"), "{select}: {call}: {code}");
        }
        stage.require_no_new_superuser();
        let untouched: bool = stage
            .admin()
            .query_one("SELECT y IS NULL FROM a.other", &[])
            .unwrap()
            .get(0);
        assert!(untouched, "{select}");
    }
}

/// The installer has CREATE in the schema, to restore a dump.
#[test]
fn what_the_installer_makes_in_our_schema_runs_as_nobody_else() {
    let stage = Stage::installed("it_stored_squatted");
    stage.run(
        "inst",
        "CREATE FUNCTION i.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
           IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE inst SUPERUSER; END IF; RETURN NULL; END$$; \
         DO $$BEGIN FOR k IN 1..1 LOOP \
           EXECUTE format('CREATE TABLE mig.m%s_anchor (project_id int PRIMARY KEY)', k); \
           EXECUTE format('CREATE TRIGGER t BEFORE INSERT OR DELETE ON mig.m%s_anchor FOR EACH STATEMENT EXECUTE FUNCTION i.trg()', k); \
           EXECUTE format('GRANT ALL ON mig.m%s_anchor TO PUBLIC', k); END LOOP; END$$",
    );
    stage.run(
        "postgres",
        "CREATE TABLE public.projects (id int PRIMARY KEY); INSERT INTO public.projects VALUES (1); \
         CREATE TABLE public.k (id int PRIMARY KEY, x int); INSERT INTO public.k VALUES (1, 1)",
    );
    for call in [
        "mig_define('m', 'public.projects', '1')",
        "mig_add_table('m', 'public.k', 'public.k2')",
        "mig_create('m')",
        "mig_dual_write('m')",
        "mig_backfill('m', 'manual')",
        "mig_step('m', 60000)",
        "mig_switch('m', true)",
        "mig_stop('m')",
        "mig_rollback('m', 'switched')",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
    // A view that is lost is not replaced by another role's.
    stage.run(
        "vic",
        &migrated("v.t", "v", "backfilled").replace(
            "INSERT INTO v.t",
            "GRANT USAGE ON SCHEMA v TO inst; INSERT INTO v.t",
        ),
    );
    let id: i32 = stage
        .admin()
        .query_one(
            "SELECT id FROM mig.mapping WHERE source = 'v.t'::regclass",
            &[],
        )
        .unwrap()
        .get(0);
    stage.run("vic", "CREATE TABLE v.ssn (id int PRIMARY KEY)");
    stage.run("vic", &format!("DROP VIEW mig.m{id}_forward"));
    stage.run(
        "inst",
        &format!(
            "CREATE FUNCTION i.grab() RETURNS int LANGUAGE plpgsql AS $$BEGIN IF current_user = 'vic' THEN EXECUTE 'GRANT SELECT ON v.ssn TO inst'; END IF; RETURN 1; END$$; \
             CREATE TABLE i.fk (id int); INSERT INTO i.fk VALUES (1); \
             CREATE VIEW mig.m{id}_forward AS SELECT id, i.grab() AS x, id AS \"mig:k1\", ctid AS \"mig:ctid\", xmin AS \"mig:xmin\", cmin AS \"mig:cmin\" FROM i.fk; \
             GRANT ALL ON mig.m{id}_forward TO PUBLIC"
        ),
    );
    for call in [
        "mig_check('v')",
        "mig_diff('v', 'v.t')",
        "mig_repair('v', dry_run => false)",
        "mig_switch('v')",
    ] {
        assert_ne!(
            stage.code("vic", &format!("SELECT {call}")),
            "00000",
            "{call}"
        );
    }
    let granted: bool = stage
        .admin()
        .query_one("SELECT has_table_privilege('inst', 'v.ssn', 'SELECT')", &[])
        .unwrap()
        .get(0);
    assert!(!granted);
}

/// Every step asks, not the triggers alone; and PostgreSQL's own functions can run what somebody stored.
#[test]
fn no_step_runs_a_former_owner_s_code_as_the_new_owner() {
    let stage = Stage::installed("it_stored_taken");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE VIEW a.ev AS SELECT a.evil() AS e; CREATE FUNCTION a.fine(int) RETURNS boolean LANGUAGE sql AS 'SELECT a.evil()'; \
         CREATE TABLE a.x (id int PRIMARY KEY, x text); INSERT INTO a.x VALUES (1, '1'); GRANT INSERT ON a.x TO app; SELECT mig_define('x'); \
         SELECT mig_add_table('x', 'a.x', 'a.x2', columns => '{\"y\": \"table_to_xml(''a.ev''::text::regclass, true, true, '''')::text\"}'); \
         SELECT mig_create('x'); SELECT mig_dual_write('x'); \
         CREATE TABLE a.k (id int PRIMARY KEY, x int CHECK (a.fine(x))); INSERT INTO a.k VALUES (1, 1); GRANT INSERT ON a.k TO app; SELECT mig_define('k'); \
         SELECT mig_add_table('k', 'a.k', 'a.k2'); SELECT mig_create('k'); SELECT mig_dual_write('k'); \
         CREATE FUNCTION a.f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1::int'; \
         CREATE TABLE a.c (id int PRIMARY KEY, x text); INSERT INTO a.c VALUES (1, '1'); SELECT mig_define('c'); \
         SELECT mig_add_column('c', 'a.c', 'y', 'int', 'a.f(x)'); SELECT mig_create('c'); SELECT mig_dual_write('c')",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.x OWNER TO postgres; ALTER TABLE a.x2 OWNER TO postgres; ALTER TABLE a.k OWNER TO postgres; ALTER TABLE a.k2 OWNER TO postgres; \
         ALTER TABLE a.c OWNER TO postgres",
    );
    stage.run(
        "att",
        "CREATE OR REPLACE FUNCTION a.f(text) RETURNS int VOLATILE LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN $1::int; END$$",
    );
    for table in ["a.x", "a.k"] {
        stage.code("app", &format!("INSERT INTO {table} VALUES (2, '2')"));
        stage.require_no_new_superuser();
    }
    for name in ["x", "k", "c"] {
        for call in [
            "mig_backfill('{}', 'manual')",
            "mig_step('{}', 60000)",
            "mig_check('{}')",
            "mig_repair('{}', dry_run => false)",
            "mig_checklist('{}')",
            "mig_switch('{}', true)",
        ] {
            stage.code("postgres", &format!("SELECT {}", call.replace("{}", name)));
            stage.require_no_new_superuser();
        }
        stage.run("postgres", &format!("SELECT mig_detach('{name}')"));
    }
}

#[test]
fn a_superuser_s_step_leaves_the_objects_of_others_alone() {
    let stage = Stage::installed("it_stored_others");
    stage.run("postgres", "GRANT CREATE ON SCHEMA public TO att, vic");
    // An index of another table has the name of one that is not built yet.
    stage.run(
        "att",
        "CREATE TABLE public.z (id int PRIMARY KEY, x int); CREATE INDEX ON public.z (x); SELECT mig_define('z'); \
         SELECT mig_add_table('z', 'public.z', 'public.z2'); SELECT mig_create('z'); SELECT mig_dual_write('z')",
    );
    stage.run(
        "vic",
        "CREATE TABLE public.other (x int); CREATE INDEX z2_x_idx ON public.other (x)",
    );
    stage.run("postgres", "SELECT mig_rollback('z')");
    let there: bool = stage
        .admin()
        .query_one("SELECT to_regclass('public.z2_x_idx') IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert!(there);
    // A forged archive names another role's view, a forged layout another migration's map.
    stage.run(
        "inst",
        "CREATE TABLE i.s (id int PRIMARY KEY, x int); CREATE INDEX ON i.s (x); SELECT mig_define('tpl'); \
         SELECT mig_add_table('tpl', 'i.s', 'i.t'); SELECT mig_create('tpl')",
    );
    stage.run("vic", "CREATE VIEW v.important AS SELECT 1 AS one");
    stage.run(
        "inst",
        "INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (950, 'forged', 'inst', 'archived'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, spec, layout, archived, copied) \
           OVERRIDING SYSTEM VALUE SELECT 950, 950, 1, source, target_schema, target_name, target, true, spec, layout, \
           '{\"name\": {\"schema\": \"v\", \"name\": \"important\"}, \"indexes\": [], \"sequences\": [], \"view\": true}', true \
           FROM mig.mapping p WHERE p.source = 'i.s'::regclass",
    );
    assert_ne!(
        stage.code("postgres", "SELECT mig_rollback('forged')"),
        "00000"
    );
    // An index whose text is no column's name is built by the owner alone.
    stage.run(
        "inst",
        "CREATE FUNCTION i.evil(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
           IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE inst SUPERUSER; END IF; RETURN true; END$$; \
         CREATE DOMAIN i.ed AS int CHECK (i.evil(VALUE)); CREATE TABLE i.g (id int PRIMARY KEY, x int); CREATE TABLE i.g2 (id int PRIMARY KEY, x int); \
         INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (951, 'g', 'inst', 'created'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, id_mode, spec, layout) OVERRIDING SYSTEM VALUE \
           SELECT 951, 951, 1, 'i.g'::regclass, 'i', 'g2', 'i.g2'::regclass, false, p.id_mode, p.spec, \
             jsonb_set(layout, '{indexes,0,columns,0,text}', to_jsonb('((''{1}''::i.ed[])[1])'::text)) FROM mig.mapping p WHERE p.source = 'i.s'::regclass AND p.id < 900; \
         CREATE VIEW mig.m951_forward AS SELECT g.id, g.x, g.id AS \"mig:k1\", g.ctid AS \"mig:ctid\", g.xmin AS \"mig:xmin\", g.cmin AS \"mig:cmin\" FROM i.g; \
         CREATE VIEW mig.m951_reverse AS SELECT g.id, g.x, g.id AS \"mig:k1\", g.ctid AS \"mig:ctid\", g.xmin AS \"mig:xmin\", g.cmin AS \"mig:cmin\" FROM i.g2 g",
    );
    for call in [
        "mig_dual_write('g')",
        "mig_backfill('g', 'manual')",
        "mig_step('g', 60000)",
    ] {
        stage.code("postgres", &format!("SELECT {call}"));
        stage.require_no_new_superuser();
    }
    let there: bool = stage
        .admin()
        .query_one("SELECT to_regclass('v.important') IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert!(there);
}

/// A plan names its tables, and a schema can get another name while a session keeps the plan.
#[test]
fn a_schema_of_another_name_leads_a_mirror_to_no_other_table() {
    let stage = Stage::installed("it_stored_schema");
    stage.run("att", EVIL);
    stage.run(
        "postgres",
        "CREATE TABLE a.projects (id int PRIMARY KEY); INSERT INTO a.projects VALUES (1); GRANT SELECT, REFERENCES ON a.projects TO att",
    );
    stage.run(
        "att",
        "CREATE TABLE a.s (id int PRIMARY KEY, x text); INSERT INTO a.s VALUES (1, 'x'); SELECT mig_define('m', 'a.projects', '1'); \
         SELECT mig_add_table('m', 'a.s', 'a.s2'); SELECT mig_create('m'); \
         ALTER TABLE a.s2 ADD FOREIGN KEY (project_id) REFERENCES a.projects; SELECT mig_dual_write('m')",
    );
    let mut att = stage.as_role("att");
    att.batch_execute(
        "INSERT INTO a.s VALUES (10, 'n'); ALTER SCHEMA a RENAME TO b; CREATE SCHEMA a; CREATE TABLE a.pp AS SELECT 1 AS id; \
         CREATE VIEW a.projects AS SELECT id FROM a.pp WHERE b.evil()",
    )
    .unwrap();
    att.batch_execute("INSERT INTO b.s VALUES (11, 'n')")
        .unwrap();
    stage.require_no_new_superuser();
}

/// The views are not all that has to be handed over.
#[test]
fn a_former_owner_s_map_runs_nothing_as_the_new_owner() {
    let stage = Stage::installed("it_stored_handover");
    stage.run("att", EVIL);
    stage.run(
        "att",
        "CREATE FUNCTION a.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM a.evil(); RETURN NEW; END$$; \
         CREATE TABLE a.t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, x text); INSERT INTO a.t (x) VALUES ('x'); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'a.t', 'a.t2', id_mode => 'remap'); SELECT mig_create('m'); SELECT mig_dual_write('m'); \
         CREATE TRIGGER t BEFORE INSERT ON mig.m1_map FOR EACH ROW EXECUTE FUNCTION a.trg()",
    );
    stage.run(
        "postgres",
        "ALTER TABLE a.t OWNER TO postgres; ALTER TABLE a.t2 OWNER TO postgres; \
         ALTER VIEW mig.m1_forward OWNER TO postgres; ALTER VIEW mig.m1_reverse OWNER TO postgres",
    );
    assert_eq!(
        stage.code("postgres", "INSERT INTO a.t (x) VALUES ('y')"),
        "55000"
    );
    stage.require_no_new_superuser();
}
