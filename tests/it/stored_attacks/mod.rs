//! What somebody stored (a type, a function, a forged row, a setting of the database) runs with nobody else's rights, however much more
//! whoever comes by later may do.

mod forged;
mod jobs;
mod names;
mod owners;
mod reading;

use crate::common::cluster::Cluster;
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
