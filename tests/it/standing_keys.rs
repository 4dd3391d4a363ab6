//! Rows that keys of a standing target refuse are named by preflight, and nobody learns more than they may read.

use crate::common::cluster::Cluster;
use crate::wait::{refused, yes};
use postgres::Client;

fn findings(client: &mut Client) -> Vec<String> {
    let sql = "SELECT severity || ': ' || detail FROM mig_preflight() WHERE check_name LIKE 'rows that %' ORDER BY 1";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

const TABLES: &str = "CREATE EXTENSION pg_mig; CREATE EXTENSION btree_gist; CREATE TABLE p(id int PRIMARY KEY); INSERT INTO p VALUES (1), (2); \
    CREATE TABLE par(id int PRIMARY KEY); INSERT INTO par VALUES (1); \
    CREATE TABLE s(id int PRIMARY KEY, email text, room int, during int4range, par int, gone boolean DEFAULT false); \
    INSERT INTO s(id, email, room, during, par) VALUES (1, 'a', 1, '[1,3)', 1), (2, 'A', 1, '[2,4)', 99), (3, NULL, 2, '[2,4)', NULL), (4, 'b', 3, '[100,101)', 1), (5, 'b', 3, NULL, 1); INSERT INTO s VALUES (6, 'b', 9, NULL, 1, true); \
    CREATE TABLE t(pid int NOT NULL, id int PRIMARY KEY, mail text, room int, during int4range, par int CONSTRAINT to_par REFERENCES par, gone boolean, UNIQUE (pid, id), \
      CONSTRAINT apart EXCLUDE USING gist (pid WITH =, room WITH =, during WITH &&), CONSTRAINT alone EXCLUDE USING gist (during WITH &&) WHERE (room > 2)); \
    CREATE UNIQUE INDEX by_lower ON t(lower(mail)) WHERE NOT gone; ALTER TABLE t ADD CONSTRAINT one_mail UNIQUE (pid, mail); CREATE UNIQUE INDEX by_room ON t(room, mail) WHERE room > 8; \
    INSERT INTO t VALUES (2, 50, 'b', 9, '[99,105)', 1, false)";

const DEFINE: &str = "SELECT mig_define('m', 'p', '1', 'pid'); SELECT mig_add_table('m', 's', 't', columns => '{\"mail\": \"email\", \"email\": null}')";

#[test]
fn rows_that_keys_of_a_standing_target_refuse_are_named() {
    let cluster = Cluster::start("it_standing", "");
    let mut client = cluster.connect("postgres");
    client.batch_execute(TABLES).unwrap();
    client.batch_execute(DEFINE).unwrap();
    assert_eq!(
        findings(&mut client),
        [
            "error: Exclusion constraint \"alone\" of public.t: (4) and a row of another scope.",
            "error: Exclusion constraint \"apart\" of public.t: (1) and (2).",
            "error: Foreign key \"to_par\" of public.t: no row of public.par for (2): 99.",
            "error: Unique key \"by_lower\" of public.t: several rows have (a) of 1 and 2; (b) of 4 and 5; a row of another scope has the values of (4), (5).",
            "error: Unique key \"by_room\" of public.t: a row of another scope has the values of (6).",
            "error: Unique key \"one_mail\" of public.t: several rows have (1, b) of 4 and 5 and 6.",
        ]
    );
    assert_eq!(refused(&mut client, "SELECT mig_create()").0, "55000");
    client
        .batch_execute(
            "UPDATE s SET email = email || id, room = id, during = int4range(id, id + 1), par = 1",
        )
        .unwrap();
    assert_eq!(findings(&mut client), Vec::<String>::new());
    client.batch_execute("SELECT mig_create()").unwrap();
}

#[test]
fn keys_that_the_source_has_too_cost_nothing_and_a_filter_counts() {
    let cluster = Cluster::start("it_standing_same", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE s(id int PRIMARY KEY, v int, w int, EXCLUDE USING gist (int4range(v, w) WITH &&)); INSERT INTO s SELECT g, g, g + 1 FROM generate_series(1, 100) g; \
             CREATE TABLE t(id int PRIMARY KEY, v int, w int, UNIQUE (id, v), UNIQUE NULLS NOT DISTINCT (v)); UPDATE s SET v = NULL, w = NULL WHERE id < 1; INSERT INTO s VALUES (101, 200, 200), (102, 200, 200); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 's', 't', filter => 'id < 102')",
        )
        .unwrap();
    assert_eq!(findings(&mut client), Vec::<String>::new());
    client
        .batch_execute("DELETE FROM s WHERE id = 1; UPDATE s SET v = 200, w = 200 WHERE id = 2")
        .unwrap();
    assert_eq!(
        findings(&mut client),
        ["error: Unique key \"t_v_key\" of public.t: several rows have (200) of 101 and 2."]
    );
}

#[test]
fn many_ranges_are_compared_by_their_order_and_other_pairs_up_to_a_limit() {
    let cluster = Cluster::start("it_standing_many", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE TABLE s(id int PRIMARY KEY, d int4range, c circle); \
             INSERT INTO s SELECT g, int4range(g * 3, g * 3 + 2), circle(point(g * 3, 0), 1) FROM generate_series(1, 60000) g; ANALYZE s; \
             CREATE TABLE t(id int PRIMARY KEY, d int4range, c circle, CONSTRAINT spans EXCLUDE USING gist (d WITH &&), CONSTRAINT rounds EXCLUDE USING gist (c WITH &&)); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 's', 't')",
        )
        .unwrap();
    let found = findings(&mut client);
    assert!(
        found.len() == 1
            && found[0]
                .starts_with("warning: Exclusion constraint \"rounds\" of public.t: the rows of ")
            && found[0].contains(" blocks were compared"),
        "{found:?}"
    );
    client
        .batch_execute("UPDATE s SET d = 'empty' WHERE id < 10; UPDATE s SET d = '[5,6)' WHERE id = 59000; UPDATE s SET d = int4range(5, 1000), c = circle(point(9, 0), 100) WHERE id = 2")
        .unwrap();
    let found = findings(&mut client);
    assert!(
        found.len() == 2 && found.iter().all(|f| f.starts_with("error: ")),
        "{found:?}"
    );
}

#[test]
fn what_the_owner_may_not_read_is_not_looked_at() {
    let cluster = Cluster::start("it_standing_hidden", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "CREATE EXTENSION pg_mig; CREATE ROLE owns; GRANT ALL ON SCHEMA public TO owns; CREATE TABLE par(id int PRIMARY KEY, secret text); GRANT REFERENCES ON par TO owns; \
             CREATE TABLE s(id int PRIMARY KEY, p int); INSERT INTO s VALUES (1, 77); CREATE TABLE t(id int PRIMARY KEY, p int); ALTER TABLE s OWNER TO owns; ALTER TABLE t OWNER TO owns; \
             ALTER TABLE t ADD CONSTRAINT hidden FOREIGN KEY (p) REFERENCES par; SELECT mig_define('m'); SELECT mig_add_table('m', 's', 't')",
        )
        .unwrap();
    assert_eq!(
        findings(&mut client),
        [
            "warning: Foreign key \"hidden\" of public.t: public.par may not be read, so no row was looked at."
        ]
    );
    client
        .batch_execute("CREATE ROLE stranger LOGIN; SELECT mig_allow('stranger')")
        .unwrap();
    let mut other = cluster.connect("postgres");
    other.batch_execute("SET ROLE stranger").unwrap();
    assert_eq!(
        refused(&mut other, "SELECT * FROM mig_preflight('m')").0,
        "42501"
    );
    assert!(yes(
        &mut client,
        "SELECT count(*) > 0 FROM mig_preflight('m')"
    ));
}
