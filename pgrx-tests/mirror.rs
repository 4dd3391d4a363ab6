//! The mirror inside one transaction.

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    fn mirrored(ddl: &str) {
        Spi::run(ddl).unwrap();
        Spi::run("SELECT mig_define('m'); SELECT mig_add_table('m', 'src', 'dst'); SELECT mig_create(); SELECT mig_dual_write()").unwrap();
    }

    fn differences() -> Option<i64> {
        Spi::get_one("SELECT count(*) FROM ((TABLE src EXCEPT ALL TABLE dst) UNION ALL (TABLE dst EXCEPT ALL TABLE src)) d").unwrap()
    }

    fn in_step_after(statements: &[&str]) {
        for sql in statements {
            Spi::run(sql).unwrap();
            assert_eq!(differences(), Some(0), "after {sql}");
        }
    }

    #[pg_test]
    fn every_kind_of_write_is_mirrored_at_once() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text)");
        in_step_after(&[
            "INSERT INTO src SELECT g, 'v' || g FROM generate_series(1, 20) g",
            "UPDATE src SET v = 'x' WHERE id < 5",
            "UPDATE src SET id = id + 100 WHERE id > 15",
            "DELETE FROM src WHERE id = 3",
            "INSERT INTO src VALUES (4, 'c') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
            "INSERT INTO src VALUES (4, 'd') ON CONFLICT DO NOTHING",
            "WITH gone AS (DELETE FROM src WHERE id = 5 RETURNING *) INSERT INTO src SELECT 500, v FROM gone",
            "MERGE INTO src USING (VALUES (6), (600)) s(id) ON src.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'm')",
            "UPDATE src SET v = NULL",
            "TRUNCATE src",
            "INSERT INTO src VALUES (1, repeat('toast', 100000))",
            "UPDATE src SET id = 2",
        ]);
    }

    #[pg_test]
    fn keys_shifted_in_one_statement_keep_their_rows() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY DEFERRABLE, v text)");
        in_step_after(&[
            "INSERT INTO src SELECT g, 'v' || g FROM generate_series(1, 9) g",
            "UPDATE src SET id = id + 1",
            "UPDATE src SET id = 12 - id",
        ]);
    }

    #[pg_test]
    fn a_key_that_is_double_until_commit_is_followed() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text)");
        Spi::run("INSERT INTO src VALUES (1, 'a'), (2, 'b')").unwrap();
        Spi::run("UPDATE src SET id = 2 WHERE v = 'a'").unwrap();
        in_step_after(&["UPDATE src SET id = 1 WHERE v = 'b'"]);
        Spi::run("SET CONSTRAINTS ALL IMMEDIATE").unwrap();
    }

    #[pg_test]
    fn triggers_of_the_application_before_and_after_ours_by_name() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text)");
        Spi::run(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             UPDATE src SET v = v || TG_NAME WHERE id = NEW.id AND v NOT LIKE '%' || TG_NAME; RETURN NULL; END $$; \
             CREATE TRIGGER aaa AFTER INSERT ON src FOR EACH ROW EXECUTE FUNCTION touch(); \
             CREATE TRIGGER zzz AFTER INSERT ON src FOR EACH ROW EXECUTE FUNCTION touch()",
        )
        .unwrap();
        in_step_after(&["INSERT INTO src VALUES (1, 'x'), (2, 'y')"]);
        assert_eq!(
            Spi::get_one::<String>("SELECT v FROM dst WHERE id = 1")
                .unwrap()
                .as_deref(),
            Some("xaaazzz")
        );
    }

    /// The application hands a unique value on in an AFTER trigger that sorts before most names: legal on the
    /// source, so it must be on the target.
    #[pg_test]
    fn a_unique_value_handed_on_by_the_applications_trigger() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text UNIQUE)");
        Spi::run(
            "CREATE UNIQUE INDEX ON dst (v); INSERT INTO src VALUES (1, 'champion'), (2, 'second')",
        )
        .unwrap();
        Spi::run(
            "CREATE FUNCTION hand_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             UPDATE src SET v = OLD.v WHERE id = 2 AND OLD.id = 1; RETURN NULL; END $$; \
             CREATE TRIGGER \"00_first\" AFTER UPDATE ON src FOR EACH ROW EXECUTE FUNCTION hand_on()",
        )
        .unwrap();
        in_step_after(&["UPDATE src SET v = 'retired' WHERE id = 1"]);
    }

    #[pg_test]
    fn an_error_in_a_savepoint_leaves_the_mirror_at_work() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text); ");
        Spi::run("ALTER TABLE dst ADD CHECK (v <> 'bad')").unwrap();
        Spi::run(
            "DO $$ BEGIN INSERT INTO src VALUES (1, 'good'); BEGIN INSERT INTO src VALUES (2, 'bad'); EXCEPTION WHEN check_violation THEN NULL; END; \
             INSERT INTO src VALUES (3, 'good'); END $$",
        )
        .unwrap();
        assert_eq!(differences(), Some(0));
        assert_eq!(
            Spi::get_one::<i64>("SELECT count(*) FROM dst").unwrap(),
            Some(2)
        );
    }

    #[pg_test]
    fn a_session_in_replica_role_is_mirrored_too() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text)");
        Spi::run("SET LOCAL session_replication_role = replica").unwrap();
        in_step_after(&["INSERT INTO src VALUES (1, 'x')", "TRUNCATE src"]);
    }

    #[pg_test]
    fn settings_of_the_application_are_as_before() {
        mirrored("CREATE TABLE src (id int PRIMARY KEY, v text)");
        Spi::run("SET LOCAL search_path = public, pg_temp; SET LOCAL row_security = on; INSERT INTO src VALUES (1, 'x')").unwrap();
        let settings = Spi::get_one::<String>("SELECT current_setting('search_path') || current_setting('row_security') || current_user").unwrap();
        let user = Spi::get_one::<String>("SELECT session_user::text")
            .unwrap()
            .unwrap_or_default();
        assert_eq!(settings, Some(format!("public, pg_tempon{user}")));
    }
}
