//! What is shown when roles and rights change, and what an error leaves behind.

use super::{said, start};
use crate::common::cluster::Cluster;
use postgres::Client;

#[test]
fn what_is_shown_follows_roles_and_rights() {
    let cluster = Cluster::start("it_leaks_roles", "");
    let mut client = start(&cluster);
    client
        .batch_execute("ALTER TABLE o_new ADD CONSTRAINT small CHECK (x < 100)")
        .unwrap();
    let mut app = cluster.connect_as("leaks", "dml");
    let mut shown = |client: &mut Client, change: &str| {
        client.batch_execute(change).unwrap();
        said(&mut app, "UPDATE o SET x = 200")
            .all
            .contains("SECRET")
    };
    assert!(!shown(&mut client, "SELECT"));
    assert!(!shown(&mut client, "GRANT SELECT ON o_new TO dml"));
    assert!(!shown(&mut client, "ALTER ROLE dml BYPASSRLS"));
    assert!(shown(&mut client, "GRANT SELECT ON o TO dml"));
    assert!(!shown(&mut client, "REVOKE SELECT ON o_new FROM dml"));
    assert!(shown(&mut client, "GRANT reader TO dml"));
    assert!(!shown(&mut client, "REVOKE reader FROM dml"));
    assert!(shown(&mut client, "GRANT pg_read_all_data TO dml"));
    assert!(!shown(&mut client, "ALTER ROLE dml NOBYPASSRLS"));
    assert!(shown(
        &mut client,
        "ALTER TABLE o DISABLE ROW LEVEL SECURITY; ALTER TABLE o_new DISABLE ROW LEVEL SECURITY"
    ));
    drop(app);
    // One session that is now one role and now another.
    let says = |client: &mut Client, role: &str| {
        client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        said(client, "UPDATE o SET x = 200").all.contains("SECRET")
    };
    for _ in 0..3 {
        assert!(says(&mut client, "reader"));
        assert!(!says(&mut client, "cols"));
        assert!(says(&mut client, "NONE"));
    }
}

#[test]
fn nothing_of_an_error_stays_behind() {
    let cluster = Cluster::start("it_leaks_after", "");
    let mut client = start(&cluster);
    client
        .batch_execute("ALTER TABLE o_new ADD CONSTRAINT small CHECK (x < 100)")
        .unwrap();
    let mut app = cluster.connect_as("leaks", "reader");
    app.batch_execute(
        "DO $$DECLARE name text; BEGIN FOR n IN 1..500 LOOP BEGIN UPDATE public.o SET x = 200; EXCEPTION WHEN check_violation THEN \
           GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME; ASSERT name = 'small'; END; \
         UPDATE o SET x = n % 50; END LOOP; END$$",
    )
    .unwrap();
    let after = said(&mut app, "SELECT 1/0");
    assert_eq!(
        (after.code.as_str(), after.context.as_str()),
        ("22012", ""),
        "{}",
        after.all
    );
    // A write that fails inside a write that is caught.
    client
        .batch_execute(
            "CREATE TABLE n (id int PRIMARY KEY, x int); SELECT mig_define('n'); SELECT mig_add_table('n', 'n', 'n_new'); SELECT mig_create('n'); \
             CREATE FUNCTION go_on(new_x int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
               BEGIN UPDATE public.o SET x = 200; EXCEPTION WHEN check_violation THEN NULL; END; IF new_x = 3 THEN UPDATE public.o SET x = 300; END IF; RETURN true; END$$; \
             ALTER TABLE n_new ADD CONSTRAINT go_on CHECK (go_on(x))",
        )
        .unwrap();
    client.batch_execute("SELECT mig_dual_write('n')").unwrap();
    client.batch_execute("INSERT INTO n VALUES (1, 1)").unwrap();
    let nested = said(&mut client, "INSERT INTO n VALUES (3, 3)");
    assert_eq!(
        (nested.code.as_str(), nested.constraint.as_deref()),
        ("23514", Some("small")),
        "{}",
        nested.all
    );
    assert_eq!(nested.context, "mirror of public.n to public.n_new");
    let after = said(&mut client, "SELECT 1/0");
    assert_eq!(after.context, "");
}
