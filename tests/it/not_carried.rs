//! What a target does not get because columns go or change their names: mig_preflight names each of it, and nothing else.

use crate::common::cluster::Cluster;
use crate::wait::backfilled;
use postgres::Client;

/// Columns `gone` and `a` are not there under their names.
const MAPPING: &str = r#"{"aa": "a", "a": null, "gone": null}"#;

/// An object of the source, and the finding that names it; none where the target has it.
const OBJECTS: [(&str, Option<(&str, &str)>); 16] = [
    (
        "CREATE INDEX i_expr ON t (lower(a))",
        Some(("index", "i_expr")),
    ),
    (
        "CREATE INDEX i_where ON t (b) WHERE a IS NOT NULL",
        Some(("index", "i_where")),
    ),
    (
        "CREATE INDEX i_include ON t (b) INCLUDE (gone)",
        Some(("index", "i_include")),
    ),
    (
        "CREATE UNIQUE INDEX i_unique ON t (gone, b)",
        Some(("index", "i_unique")),
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT u_gone UNIQUE (b, gone)",
        Some(("index", "u_gone")),
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT c_renamed CHECK (a <> b)",
        Some(("check", "c_renamed")),
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT c_gone CHECK (gone > 0)",
        Some(("check", "c_gone")),
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT k_gone FOREIGN KEY (gone) REFERENCES other",
        Some(("foreign key", "k_gone")),
    ),
    (
        "CREATE STATISTICS s_gone ON gone, b FROM t",
        Some(("statistics", "\"b\", \"gone\"")),
    ),
    (
        "ALTER TABLE t ADD d int GENERATED ALWAYS AS (n * 2) STORED",
        Some(("generated column", "\"d\"")),
    ),
    (
        "CREATE POLICY p_renamed ON t USING (a = 'x')",
        Some(("policy", "p_renamed")),
    ),
    ("CREATE INDEX i_renamed ON t (a)", None),
    ("CREATE UNIQUE INDEX i_kept ON t (a, b)", None),
    ("ALTER TABLE t ADD CONSTRAINT c_kept CHECK (n > 0)", None),
    ("CREATE STATISTICS s_renamed ON a, b FROM t", None),
    ("CREATE POLICY p_kept ON t USING (b = 'x')", None),
];

fn findings(client: &mut Client) -> Vec<(String, String, String)> {
    let query =
        "SELECT check_name, detail, severity FROM mig_preflight('m') WHERE severity <> 'info'";
    let rows = client.query(query, &[]).unwrap();
    rows.iter()
        .map(|r| (r.get(0), r.get(1), r.get(2)))
        .collect()
}

#[test]
fn what_the_target_cannot_have_is_named() {
    let cluster = Cluster::start("it_not_carried", "");
    let mut client = cluster.database("not_carried");
    client
        .batch_execute("CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, a text, b text, gone int, n int)")
        .unwrap();
    for (sql, _) in OBJECTS {
        client.batch_execute(sql).expect(sql);
    }
    client
        .batch_execute(&format!(
            "SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2', columns => '{MAPPING}')"
        ))
        .unwrap();
    let found = findings(&mut client);
    for (sql, expected) in OBJECTS {
        let Some((check, word)) = expected else {
            continue;
        };
        let named = found
            .iter()
            .any(|(name, detail, _)| name == check && detail.contains(word));
        assert!(named, "{sql}: {found:#?}");
    }
    let expected = OBJECTS.iter().filter(|(_, e)| e.is_some()).count();
    assert_eq!(found.len(), expected, "{found:#?}");
    // A policy that cannot be made would end mig_create.
    assert!(
        found
            .iter()
            .all(|(name, _, severity)| (severity == "error") == (name == "policy"))
    );
    client.batch_execute("DROP POLICY p_renamed ON t; SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')").unwrap();
    backfilled(&mut client);
    let made = "SELECT array_agg(x ORDER BY x COLLATE \"C\") FROM ( \
           SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 't2'::regclass AND NOT indisprimary \
           UNION ALL SELECT conname FROM pg_constraint WHERE conrelid = 't2'::regclass AND contype = 'c' \
           UNION ALL SELECT polname FROM pg_policy WHERE polrelid = 't2'::regclass \
           UNION ALL SELECT 'statistics' FROM pg_statistic_ext WHERE stxrelid = 't2'::regclass) o (x)";
    let made: Vec<String> = client.query_one(made, &[]).unwrap().get(0);
    let expected = [
        "CREATE INDEX t2_aa_idx ON public.t2 USING btree (aa)",
        "CREATE UNIQUE INDEX t2_aa_b_key ON public.t2 USING btree (aa, b)",
        "c_kept",
        "p_kept",
        "statistics",
    ];
    assert_eq!(made, expected);
}

/// Two keys over the same columns are two keys, and MATCH FULL stays what it is; with the scope in front it cannot be.
#[test]
fn foreign_keys_are_carried_whole() {
    let cluster = Cluster::start("it_carried_keys", "");
    let mut client = cluster.database("carried_keys");
    client
        .batch_execute(
            "CREATE TABLE p (x int, y int, PRIMARY KEY (x, y)); CREATE TABLE q (x int, y int, PRIMARY KEY (x, y)); \
             CREATE TABLE t (id int PRIMARY KEY, x int, y int, FOREIGN KEY (x, y) REFERENCES p MATCH FULL, FOREIGN KEY (x, y) REFERENCES q); \
             CREATE TABLE scope (id int PRIMARY KEY); INSERT INTO scope VALUES (1); \
             INSERT INTO p VALUES (1, 1); INSERT INTO q VALUES (1, 1); INSERT INTO t VALUES (1, 1, 1), (2, NULL, NULL); \
             SELECT mig_define('s', 'scope', '1'); SELECT mig_add_table('s', 'p', 'p_s'); SELECT mig_add_table('s', 't', 't_s')",
        )
        .unwrap();
    let told = "SELECT detail, hint FROM mig_preflight('s') WHERE check_name = 'foreign key'";
    let told = client.query(told, &[]).unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].get::<_, &str>(0).contains("MATCH FULL"), "{told:?}");
    client
        .batch_execute("SELECT mig_drop('s'); SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2'); SELECT mig_create(); SELECT mig_dual_write(); SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    let keys = "SELECT array_agg(confrelid::regclass || ' ' || confmatchtype::text || convalidated ORDER BY confrelid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'f'";
    let mut of = |table: &str| -> Vec<String> { client.query_one(keys, &[&table]).unwrap().get(0) };
    assert_eq!(of("t2"), of("t"));
}

/// A CHECK or an index over the row itself takes a row of the old table's type, which the new table's rows are not.
#[test]
fn what_is_over_the_row_itself_is_named() {
    let cluster = Cluster::start("it_whole_row", "");
    let mut client = cluster.database("whole_row");
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text, CONSTRAINT c_row CHECK (t IS NOT NULL), CONSTRAINT c_tableoid CHECK (tableoid > 0)); \
             CREATE FUNCTION f(t) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1.v'; \
             CREATE INDEX i_row ON t (f(t)); CREATE INDEX i_where ON t (v) WHERE t IS NOT NULL; CREATE INDEX i_kept ON t (upper(v)); INSERT INTO t VALUES (1, 'a'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2')",
        )
        .unwrap();
    let found = findings(&mut client);
    for name in ["c_row", "c_tableoid", "i_row", "i_where"] {
        let named = |(_, detail, severity): &(String, String, String)| {
            detail.contains(name) && severity == "warning"
        };
        assert!(found.iter().any(named), "{name}: {found:#?}");
    }
    assert!(!found.iter().any(|(_, detail, _)| detail.contains("i_kept")));
    client
        .batch_execute(
            "SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')",
        )
        .unwrap();
    backfilled(&mut client);
    let indexes =
        "SELECT count(*) FROM pg_index WHERE indrelid = 't2'::regclass AND NOT indisprimary";
    assert_eq!(client.query_one(indexes, &[]).unwrap().get::<_, i64>(0), 1);
}

/// TRUNCATE of a table that stays needs the new table that refers to it, too: said before, and as it is said it works.
#[test]
fn truncate_with_a_table_that_stays_names_the_new_one() {
    let cluster = Cluster::start("it_truncate", "");
    let mut client = cluster.database("truncated");
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p); \
             INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'c', 'c2')",
        )
        .unwrap();
    let told = "SELECT detail FROM mig_preflight('m') WHERE check_name = 'truncate'";
    let told: String = client.query_one(told, &[]).unwrap().get(0);
    assert!(
        told.contains("TRUNCATE of \"public\".\"p\" needs \"public\".\"c2\""),
        "{told}"
    );
    client
        .batch_execute("SELECT mig_create(); SELECT mig_dual_write(); SELECT mig_backfill()")
        .unwrap();
    backfilled(&mut client);
    let refused = client.batch_execute("TRUNCATE p, c").unwrap_err();
    assert_eq!(refused.code().map(|c| c.code()), Some("0A000"));
    client.batch_execute("TRUNCATE p, c, c2").unwrap();
    let rows = "SELECT (SELECT count(*) FROM c) + (SELECT count(*) FROM c2)";
    assert_eq!(client.query_one(rows, &[]).unwrap().get::<_, i64>(0), 0);
}

/// It says nothing that the key does not say, but a statement may name it.
#[test]
fn a_unique_constraint_over_the_key_is_carried() {
    let cluster = Cluster::start("it_key_twice", "");
    let mut client = cluster.database("key_twice");
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ADD CONSTRAINT once UNIQUE (id); SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2'); \
             SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')",
        )
        .unwrap();
    backfilled(&mut client);
    client
        .batch_execute("INSERT INTO t2 VALUES (1) ON CONFLICT ON CONSTRAINT t2_id_key DO NOTHING")
        .unwrap();
}

/// The target's key would be enforced: it would refuse rows that the source takes, and delete rows that it keeps.
#[test]
fn a_foreign_key_whose_triggers_are_disabled_is_an_error() {
    let cluster = Cluster::start("it_disabled_key", "");
    let mut client = cluster.database("disabled_key");
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2')",
        )
        .unwrap();
    assert_eq!(findings(&mut client), []);
    for table in ["p", "t"] {
        client
            .batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL"))
            .unwrap();
        let found = findings(&mut client);
        let [(check, detail, severity)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((&**check, &**severity), ("disabled foreign key", "error"));
        assert!(detail.contains("t_p_fkey"), "{detail}");
        let hint = "SELECT split_part(hint, ' or drop', 1) FROM mig_preflight('m') WHERE check_name = 'disabled foreign key'";
        let hint: String = client.query_one(hint, &[]).unwrap().get(0);
        client.batch_execute(&hint).unwrap();
        assert_eq!(findings(&mut client), []);
    }
}

/// A parent that stays acts on both copies of a child: rows are right, and triggers of both fire.
#[test]
fn a_key_that_acts_on_both_copies_is_named_where_there_are_triggers() {
    let cluster = Cluster::start("it_acts_twice", "");
    let mut client = cluster.database("acts_twice");
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE q (id int PRIMARY KEY); INSERT INTO p VALUES (1); INSERT INTO q VALUES (1); \
             CREATE TABLE t (id int PRIMARY KEY, p int CONSTRAINT acts REFERENCES p ON DELETE SET NULL, q int REFERENCES q); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 't', 't2')",
        )
        .unwrap();
    let told = "SELECT coalesce(string_agg(detail, ', '), '') FROM mig_preflight('m') WHERE check_name = 'triggers' AND severity = 'warning'";
    let told = |client: &mut Client| client.query_one(told, &[]).unwrap().get::<_, String>(0);
    assert_eq!(told(&mut client), "");
    client
        .batch_execute(
            "CREATE TABLE note (id int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO note VALUES (OLD.id); RETURN NULL; END'; \
             CREATE TRIGGER note AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .unwrap();
    let found = told(&mut client);
    assert!(
        found.contains("\"t2_p_fkey\"") && !found.contains("t2_q_fkey"),
        "{found}"
    );
    client
        .batch_execute("INSERT INTO t VALUES (1, 1, 1); SELECT mig_create('m'); SELECT mig_dual_write('m'); SELECT mig_backfill('m')")
        .unwrap();
    backfilled(&mut client);
    client.batch_execute("DELETE FROM p").unwrap();
    let same = "SELECT (SELECT count(*) FROM ((TABLE t EXCEPT TABLE t2) UNION ALL (TABLE t2 EXCEPT TABLE t)) d) = 0";
    assert!(crate::wait::yes(&mut client, same));
}
