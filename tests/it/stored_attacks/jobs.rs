//! Jobs and their roles.

use super::Stage;
use crate::common::patience::until;

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
