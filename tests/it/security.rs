//! Who may do what, and what others can put in our way.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, until, until_sql, yes};
use postgres::Client;

/// Of the functions that anybody may call.
const OPEN: [&str; 8] = [
    "mig_lint",
    "mig_status",
    "mig_reads",
    // It reads the map with the caller's own rights.
    "mig_map",
    "mig_version",
    "only",
    "mig_config",
    "mig_wait",
];

fn installed(cluster: &Cluster) -> Client {
    let mut admin = cluster.connect("postgres");
    admin.batch_execute("CREATE DATABASE security").unwrap();
    let mut client = cluster.connect("security");
    client
        .batch_execute(include_str!("security.sql"))
        .unwrap_or_else(|e| panic!("{e:?}"));
    client
}

fn calls(client: &mut Client) -> Vec<(String, String)> {
    let sql = include_str!("security_calls.sql");
    let rows = client.query(sql, &[]).expect("functions are listed");
    rows.iter().map(|r| (r.get(0), r.get(1))).collect()
}

fn code(client: &mut Client, sql: &str) -> String {
    match client.batch_execute(sql) {
        Ok(()) => "00000".into(),
        Err(e) => e
            .as_db_error()
            .map_or_else(|| e.to_string(), |d| d.code().code().to_owned()),
    }
}

#[test]
fn nobody_calls_what_he_was_not_allowed_to() {
    let cluster = Cluster::start("it_rights", "");
    let mut client = installed(&cluster);
    let mut keeper = cluster.connect_as("security", "keeper");
    keeper
        .batch_execute(
            "SET search_path = public; SELECT mig_define('shop'); SELECT mig_add_table('shop', '\"sh''op\".child', '\"sh''op\".kid')",
        )
        .unwrap();
    let calls = calls(&mut client);
    assert!(calls.len() > 35, "{calls:?}");
    // Default privileges granted everything to him.
    let mut stranger = cluster.connect_as("security", "stranger");
    for (name, call) in &calls {
        let open = OPEN.contains(&name.as_str());
        let refused = code(&mut stranger, call) == "42501";
        assert_eq!(refused, !open, "{call}: {}", code(&mut stranger, call));
    }
    let granted = "SELECT string_agg(p.proname, ' ') FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig' \
                   WHERE p.prorettype = 'trigger'::regtype AND has_function_privilege('stranger', p.oid, 'EXECUTE')";
    let granted: Option<String> = client.query_one(granted, &[]).unwrap().get(0);
    assert_eq!(granted, None);
    // He may look at views, which show him what is his, and write nothing.
    let tables = "SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c WHERE c.relnamespace = 'mig'::regnamespace AND c.relkind IN ('r', 'v', 'S') \
                  AND (has_table_privilege('stranger', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
                    OR (c.relkind <> 'v' OR c.relname = 'visible') AND has_table_privilege('stranger', c.oid, 'SELECT'))";
    let open: Option<String> = client.query_one(tables, &[]).unwrap().get(0);
    assert_eq!(open, None);
    // Allowed to run migrations of his own, he cannot touch another's.
    client
        .batch_execute(
            "SELECT mig_allow('stranger'); INSERT INTO mig.change (id, relation, role, change, search_path) \
             VALUES (1, '\"sh''op\".child', 'keeper', '{\"kind\": \"not_null\", \"column\": \"id\"}', ''); \
             INSERT INTO mig.job (id, migration, driver, role) OVERRIDING SYSTEM VALUE SELECT 1, id, 'manual', 'keeper' FROM mig.migration",
        )
        .unwrap();
    assert_eq!(
        code(
            &mut stranger,
            "SELECT public.mig_create_index('CREATE INDEX mine ON \"sh''op\".child (id)')"
        ),
        "42501"
    );
    let own = [
        "mig_lint",
        "mig_create_index",
        "mig_version",
        "only",
        "mig_status",
        "mig_reads",
        "mig_map",
        "mig_config",
        "mig_wait",
        "mig_define",
        "mig_define_config",
        "mig_allow",
        // Of a job that has ended, or is another's to drive, there is nothing to do.
        "cron_drives",
        "step_of",
        "drive",
        // Of a migration that he may not know of.
        "open_job",
        // He learns whether a table is his.
        "is_owner",
    ];
    for (name, call) in calls
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
    {
        assert_eq!(code(&mut stranger, call), "42501", "{name}: {call}");
    }
    assert!(yes(
        &mut client,
        "SELECT phase = 'defined' AND options = '{}' FROM mig.migration WHERE name = 'shop'"
    ));
}

const PARENT: &str = "\"sh'op\".\"we\\ird \"\" $$ t'able\"";
const COLUMNS: &str = "f, b, \"w\\hen\", i, \"v'alue\", n";

/// Rows that are on one side only, asked by a role without any settings.
fn differences(client: &mut Client) -> i64 {
    let one = |old: &str, new: &str, columns: &str| {
        format!(
            "SELECT count(*) FROM ((SELECT {columns} FROM {old} EXCEPT ALL SELECT {columns} FROM {new}) UNION ALL (SELECT {columns} FROM {new} EXCEPT ALL SELECT {columns} FROM {old})) d"
        )
    };
    let child = one(
        "\"sh'op\".child",
        "\"sh'op\".\"ki\\ds\"",
        "id, f, b, \"w\\hen\", i, word",
    );
    let parent = one(PARENT, "\"sh'op\".\"ne\\w\"", COLUMNS);
    let sql = format!("SELECT ({child}) + ({parent})");
    client
        .query_one(&sql, &[])
        .expect("both sides compare")
        .get(0)
}

/// Statements of the application, under its settings; `n` keeps them apart.
fn act(app: &mut Client, table: &str, child: &str, scope: (&str, &str), n: i32) {
    let (column, value) = scope;
    // Who writes the new table keeps its own columns in step.
    let derived = if column.is_empty() {
        String::new()
    } else {
        format!("UPDATE {child} SET loud = upper(word) WHERE loud IS DISTINCT FROM upper(word); ")
    };
    let sql = format!(
        "SET search_path = pg_catalog; \
         INSERT INTO {table} ({column}f, b, \"w\\hen\", i, n) VALUES ({value}1e-300 + {n}, E'\\\\\\\\{n}'::bytea, '2020-01-01 00:00:00.000001+00', '{n} mons -3 days 00:00:00.000007', {n}); \
         INSERT INTO {child} ({column}f, b, \"w\\hen\", i, word) SELECT {value}f, b, \"w\\hen\", i, E'\\'\\\\' FROM {table} WHERE n = {n}; \
         UPDATE {table} SET f = f + 0.3, i = i + '1 hour' WHERE n = {n} + 100; \
         UPDATE {child} SET word = NULL WHERE id % 7 = {n} % 7; \
         DELETE FROM {table} WHERE n = {n} + 200; {derived}\
         SET search_path = evil, pg_temp, pg_catalog, public"
    );
    app.batch_execute(&sql)
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

#[test]
fn settings_operators_and_names_of_others_change_nothing() {
    let cluster = Cluster::start("it_hostile", "");
    let mut client = installed(&cluster);
    let mut keeper = cluster.connect_as("security", "keeper");
    let mut app = cluster.connect_as("security", "app");
    app.batch_execute("CREATE TEMP TABLE mapping (id int); CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE child (id int)").unwrap();
    let parent = (PARENT, "\"sh'op\".child");
    let new = ("\"sh'op\".\"ne\\w\"", "\"sh'op\".\"ki\\ds\"");
    for sql in [
        "SELECT public.mig_define('ho\"st\\ile', '\"sh''op\".places', E'x\\\\y\\'z', E'sc\\\\ope')",
        "SELECT public.mig_add_table('ho\"st\\ile', E'\"sh\\'op\".\"we\\\\ird \"\" $$ t\\'able\"', E'\"sh\\'op\".\"ne\\\\w\"')",
        "SELECT public.mig_add_table('ho\"st\\ile', '\"sh''op\".child', E'\"sh\\'op\".\"ki\\\\ds\"', columns => '{\"loud\": \"upper(word)\"}')",
        "SELECT count() FROM public.mig_create()",
    ] {
        let sql = sql
            .replace("'ho\"st\\ile'", "E'ho\"st\\\\ile'")
            .replace("count()", "pg_catalog.count(*)");
        keeper
            .batch_execute(&sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    keeper
        .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_dual_write()")
        .unwrap();
    act(&mut app, parent.0, parent.1, ("", ""), 1);
    // Rows that the batches have to leave out and take one by one, by the text of their keys.
    let mut holder = cluster.connect_as("security", "app");
    holder
        .batch_execute(&format!(
            "BEGIN; SET LOCAL search_path = pg_catalog; UPDATE {PARENT} SET n = n WHERE n % 10 = 3"
        ))
        .unwrap();
    keeper
        .batch_execute("SELECT public.mig_backfill()")
        .unwrap();
    until_sql(&mut client, "SELECT count(*) > 20 FROM mig.leftover");
    act(&mut app, parent.0, parent.1, ("", ""), 2);
    holder.batch_execute("COMMIT").unwrap();
    backfilled(&mut client);
    assert_eq!(differences(&mut client), 0);
    let clean = "SELECT pg_catalog.bool_and(ok) FROM public.mig_check()";
    let clean_now = |c: &mut Client| {
        let doubts =
            "SELECT pg_catalog.string_agg(c::text, '; ') FROM public.mig_check() c WHERE NOT ok";
        let found: Option<String> = c.query_one(doubts, &[]).expect("checks").get(0);
        assert_eq!(found, None);
    };
    clean_now(&mut keeper);
    // Damage that a repair finds and mends by key.
    client
        .batch_execute(&format!(
            "DELETE FROM {} WHERE n = 55; UPDATE {} SET word = 'x' WHERE id = 9",
            new.0, new.1
        ))
        .unwrap();
    assert!(!yes(&mut keeper, clean));
    keeper
        .batch_execute(
            "SELECT pg_catalog.count(*) FROM public.mig_repair(E'ho\"st\\\\ile', dry_run => false)",
        )
        .unwrap();
    clean_now(&mut keeper);
    until("the locks", || {
        keeper
            .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_switch()")
            .is_ok()
    });
    client
        .batch_execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"sh'op\" TO app",
        )
        .unwrap();
    let scope = ("\"sc\\ope\", ", "E'x\\\\y\\'z', ");
    act(&mut app, parent.0, parent.1, ("", ""), 3);
    act(&mut app, new.0, new.1, scope, 4);
    assert_eq!(differences(&mut client), 0);
    clean_now(&mut keeper);
    keeper
        .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_stop()")
        .unwrap();
    act(&mut app, new.0, new.1, scope, 5);
    keeper
        .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_rollback(E'ho\"st\\\\ile')")
        .unwrap();
    backfilled(&mut client);
    assert_eq!(differences(&mut client), 0);
    keeper
        .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_stop()")
        .unwrap();
    keeper
        .batch_execute("SELECT pg_catalog.count(*) FROM public.mig_archive(compat_views => true, force => true)")
        .unwrap();
    clean_now(&mut keeper);
}

/// `runner` is a member of the owner, and sees half of the rows; so does the owner himself where his table says FORCE.
const HALF_HIDDEN: &str = "CREATE ROLE owner_role LOGIN; CREATE ROLE runner LOGIN; CREATE ROLE app LOGIN; GRANT owner_role TO runner; \
    CREATE EXTENSION pg_mig; SELECT mig_allow('runner'); CREATE SCHEMA s AUTHORIZATION owner_role; GRANT USAGE ON SCHEMA s TO app; \
    SET ROLE owner_role; CREATE TABLE s.a (id int PRIMARY KEY, v text); INSERT INTO s.a SELECT g, g::text FROM generate_series(1, 2000) g; \
    ALTER TABLE s.a ENABLE ROW LEVEL SECURITY; CREATE POLICY even ON s.a USING (id % 2 = 0) WITH CHECK (true); \
    GRANT SELECT, INSERT, UPDATE, DELETE ON s.a TO app; RESET ROLE";

/// Rows of the old table, and rows that are on one side only, as somebody who sees all.
fn rows_and_differences(client: &mut Client) -> (i64, i64) {
    let sql = "SELECT (SELECT count(*) FROM s.a), (SELECT count(*) FROM ((SELECT * FROM s.a EXCEPT ALL SELECT * FROM s.b) UNION ALL (SELECT * FROM s.b EXCEPT ALL SELECT * FROM s.a)) d)";
    let row = client.query_one(sql, &[]).expect("both sides compare");
    (row.get(0), row.get(1))
}

/// The application writes rows that it sees, and one that it does not see afterwards.
fn write_half(app: &mut Client, table: &str, n: i32) {
    let sql = format!(
        "INSERT INTO {table} VALUES ({}, 'hidden'), ({}, 'seen'); UPDATE {table} SET v = 'changed' WHERE id BETWEEN {n} AND {n} + 20; DELETE FROM {table} WHERE id = {n} + 30",
        10_001 + 2 * n,
        10_000 + 2 * n,
    );
    app.batch_execute(&sql)
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

#[test]
fn rows_that_policies_hide_are_copied_or_the_migration_is_refused() {
    let cluster = Cluster::start("it_hidden", "");
    for (case, who, bypass) in [
        ("member", "runner", ""),
        (
            "bypass",
            "owner_role",
            "ALTER ROLE owner_role BYPASSRLS; ALTER TABLE s.a FORCE ROW LEVEL SECURITY",
        ),
        (
            "forced",
            "owner_role",
            "ALTER TABLE s.a FORCE ROW LEVEL SECURITY",
        ),
        ("later", "owner_role", ""),
    ] {
        let mut admin = cluster.connect("postgres");
        admin
            .batch_execute(&format!("CREATE DATABASE {case}"))
            .unwrap();
        let mut client = cluster.connect(case);
        let roles = "DROP ROLE IF EXISTS owner_role, runner, app";
        client.batch_execute(roles).unwrap();
        client.batch_execute(HALF_HIDDEN).unwrap();
        client.batch_execute(bypass).unwrap();
        if who == "owner_role" {
            client
                .batch_execute("SELECT mig_allow('owner_role')")
                .unwrap();
        }
        let mut runner = cluster.connect_as(case, who);
        let mut app = cluster.connect_as(case, "app");
        runner
            .batch_execute("SELECT mig_define('m'); SELECT mig_add_table('m', 's.a', 's.b')")
            .unwrap();
        if case == "forced" {
            let (code, detail) = match runner.batch_execute("SELECT mig_create()") {
                Ok(()) => panic!("half a table is copied"),
                Err(e) => {
                    let db = e.as_db_error().expect("the server refuses");
                    (
                        db.code().code().to_owned(),
                        db.detail().unwrap_or_default().to_owned(),
                    )
                }
            };
            assert_eq!(code, "55000");
            assert!(detail.contains("FORCE ROW LEVEL SECURITY"), "{detail}");
        } else {
            runner.batch_execute("SELECT mig_create()").unwrap();
            runner.batch_execute("SELECT mig_dual_write()").unwrap();
            write_half(&mut app, "s.a", 2);
            if case == "later" {
                // Somebody forces it on both sides when the mirror is in.
                client
                    .batch_execute("ALTER TABLE s.a FORCE ROW LEVEL SECURITY; ALTER TABLE s.b FORCE ROW LEVEL SECURITY")
                    .unwrap();
            }
            runner.batch_execute("SELECT mig_backfill()").unwrap();
            write_half(&mut app, "s.a", 100);
            backfilled(&mut client);
            let (rows, differ) = rows_and_differences(&mut client);
            assert!(
                rows > 2000 && differ == 0,
                "{case}: {rows} rows, {differ} differ"
            );
            until("the locks", || {
                runner.batch_execute("SELECT mig_switch()").is_ok()
            });
            write_half(&mut app, "s.a", 200);
            write_half(&mut app, "s.b", 300);
            assert_eq!(rows_and_differences(&mut client).1, 0, "{case}");
            runner.batch_execute("SELECT mig_stop()").unwrap();
            write_half(&mut app, "s.b", 400);
            runner.batch_execute("SELECT mig_rollback('m')").unwrap();
            backfilled(&mut client);
            let (rows, differ) = rows_and_differences(&mut client);
            assert!(
                rows > 2000 && differ == 0,
                "{case}: {rows} rows, {differ} differ"
            );
        }
        drop((runner, app, client));
        admin
            .batch_execute(&format!("DROP DATABASE {case} WITH (FORCE)"))
            .unwrap();
    }
}

/// A superuser runs the migration of somebody who waits for him with a trigger that fires at commit.
#[test]
fn a_superuser_lends_his_rights_to_nobody() {
    let cluster = Cluster::start("it_lent", "");
    let mut client = cluster.database("lent");
    client
        .batch_execute(
            "CREATE ROLE crook LOGIN; CREATE SCHEMA s AUTHORIZATION crook; SET ROLE crook; \
             CREATE TABLE s.seen (who text, super text, in_what text); \
             CREATE TABLE s.a (id int PRIMARY KEY, v text); INSERT INTO s.a SELECT g, g::text FROM generate_series(1, 50) g; \
             CREATE TABLE s.b (id int PRIMARY KEY, v text); \
             CREATE FUNCTION s.look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
               INSERT INTO s.seen VALUES (current_user, current_setting('is_superuser'), TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END$$; \
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE OR DELETE ON s.b DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION s.look(); \
             RESET ROLE; SELECT mig_define('m'); SELECT mig_add_table('m', 's.a', 's.b')",
        )
        .unwrap();
    client.batch_execute("SELECT mig_create()").unwrap();
    client.batch_execute("SELECT mig_dual_write()").unwrap();
    client.batch_execute("TRUNCATE s.seen").unwrap();
    client.batch_execute("SELECT mig_backfill()").unwrap();
    backfilled(&mut client);
    client
        .batch_execute("SET session_replication_role = replica; DELETE FROM s.b WHERE id < 10; UPDATE s.b SET v = 'x' WHERE id < 20; RESET session_replication_role")
        .unwrap();
    client
        .batch_execute("SELECT mig_repair('m', dry_run => false)")
        .unwrap();
    for step in ["SELECT mig_switch()", "SELECT mig_stop()"] {
        client.batch_execute(step).unwrap();
    }
    // What pg_mig writes fires nothing; what the superuser writes fires as ever.
    assert!(yes(&mut client, "SELECT count(*) = 0 FROM s.seen"));
    assert!(yes(&mut client, "SELECT count(*) = 50 FROM s.b"));
}
