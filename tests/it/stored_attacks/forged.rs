//! What somebody put into the state or into our schema.

use super::{EVIL, Stage, migrated};

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
            "mig_assert('forged')",
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

/// What is restored as a mapping may name relations of any kind.
#[test]
fn a_forged_mapping_of_no_table_breaks_nothing() {
    let stage = Stage::installed("it_stored_kinds");
    stage.run(
        "inst",
        "CREATE TABLE i.s (id int PRIMARY KEY, x int); CREATE TABLE i.t (id int PRIMARY KEY, x int); INSERT INTO i.s VALUES (1, 1); \
         SELECT mig_define('m'); SELECT mig_add_table('m', 'i.s', 'i.t'); SELECT mig_create('m'); \
         CREATE VIEW i.view AS SELECT 1 AS id, 2 AS x; CREATE MATERIALIZED VIEW i.matview AS SELECT 1 AS id, 2 AS x; CREATE SEQUENCE i.seq; \
         CREATE TYPE i.pair AS (id int, x int); CREATE TABLE i.parts (id int PRIMARY KEY, x int) PARTITION BY HASH (id); \
         CREATE INDEX ind ON i.s (x); \
         INSERT INTO mig.migration (id, name, owner, phase) OVERRIDING SYSTEM VALUE VALUES (900, 'forged', 'inst', 'defined'); \
         INSERT INTO mig.mapping (id, migration, ordinal, source, target_schema, target_name, target, adopted, spec, layout, mirrors, copied) \
           OVERRIDING SYSTEM VALUE SELECT 900, 900, 1, source, target_schema, target_name, target, true, spec, layout, ARRAY['x']::name[], false \
         FROM mig.mapping WHERE id = (SELECT min(id) FROM mig.mapping)",
    );
    let mut inst = stage.as_role("inst");
    let mut admin = stage.admin();
    for kind in ["view", "matview", "seq", "pair", "parts", "ind"] {
        for side in ["source", "target"] {
            let other = if side == "source" {
                "target = 'i.t'"
            } else {
                "source = 'i.s'"
            };
            for phase in [
                "defined",
                "created",
                "dual_write",
                "backfilled",
                "switched",
                "stopped",
            ] {
                admin
                    .batch_execute(&format!(
                        "UPDATE mig.mapping SET adopted = true, layout = (SELECT layout FROM mig.mapping ORDER BY id LIMIT 1), {other}::regclass, {side} = 'i.{kind}'::regclass WHERE id = 900; \
                         UPDATE mig.migration SET phase = '{phase}' WHERE id = 900"
                    ))
                    .unwrap();
                for call in [
                    "mig_preflight('forged')",
                    "mig_create('forged')",
                    "mig_dual_write('forged')",
                    "mig_backfill('forged', 'manual')",
                    "mig_step('forged', 1000)",
                    "mig_assert('forged')",
                    "mig_repair('forged', dry_run => false)",
                    "mig_switch('forged', true)",
                    "mig_stop('forged')",
                    "mig_status('forged')",
                    "mig_detach('forged')",
                    "mig_rollback('forged')",
                ] {
                    let Err(error) = inst.batch_execute(&format!("SELECT {call}")) else {
                        continue;
                    };
                    let code = error.as_db_error().map(|e| e.code().code().to_owned());
                    assert!(
                        code.as_ref().is_some_and(|c| c != "XX000"),
                        "{call} with {kind} as {side} in {phase}: {error:?}"
                    );
                }
            }
        }
    }
}
