//! What a copy carries: a table with one of everything beside its copy, by a comparison of the catalogs that owes nothing to us.

use crate::common::cluster::Cluster;
use crate::wait::{backfilled, refused};
use postgres::Client;
use std::collections::BTreeSet;

fn facts(client: &mut Client, table: &str) -> BTreeSet<String> {
    let rows = client
        .query("SELECT pg_temp.facts($1::text::regclass)", &[&table])
        .expect("the catalogs read");
    let facts: BTreeSet<String> = rows.iter().map(|r| r.get(0)).collect();
    assert!(facts.len() > 40, "{facts:?}");
    facts
}

/// What differs, once the scope is taken out of the copy and its name is the old one.
fn differences(client: &mut Client, old: &str) -> Vec<String> {
    let old: BTreeSet<String> = facts(client, old)
        .into_iter()
        .map(|f| f.replace("Every Thing_archive\".", "Every Thing\"."))
        .collect();
    let new: BTreeSet<String> = facts(client, "fresh.\"All Things\"")
        .into_iter()
        .map(|f| {
            f.replace("(project_id, ", "(")
                .replace("\"All Things\"", "\"Every Thing\"")
        })
        .collect();
    let gone = old.difference(&new).map(|f| format!("- {f}"));
    let come = new.difference(&old).map(|f| format!("+ {f}"));
    let mut all: Vec<String> = gone.chain(come).collect();
    all.sort_by_key(|f| f[2..].to_owned());
    all
}

/// Rows are as yet checked by nobody; indexes that nothing needs during the copy come after it.
const CREATED: &str = r#"
- check "not yet": CHECK ((length(title) < 1000)) NOT VALID, f,
+ check "not yet": CHECK ((length(title) < 1000)), f,
+ column project_id: uuid, t, p, -1,
- comment on a foreign key: each has one
+ default of "Id": nextval('"Old data"."Every Thing_Id_seq"'::regclass)
- foreign key: FOREIGN KEY (owner) REFERENCES "Old data"."Owner"(id) ON DELETE SET NULL
- foreign key: FOREIGN KEY (twin) REFERENCES "Old data"."Every Thing"("Id") DEFERRABLE
- identity of "Id": a
- index: CREATE INDEX USING btree (lower(title), made), valid t, clustered f, replica identity f, targets {500},
- index: CREATE INDEX USING btree (mood DESC NULLS LAST, slug text_pattern_ops) INCLUDE (amount) WITH (fillfactor='60') WHERE (mood <> 'sad'::"Old data".mood), valid t, clustered f, replica identity f, targets , for the front page
- index: CREATE INDEX USING gin (tags) WITH (fastupdate=off), valid t, clustered f, replica identity f, targets ,
- index: CREATE UNIQUE INDEX USING btree (serial_no) INCLUDE (title) NULLS NOT DISTINCT, valid t, clustered f, replica identity f, targets ,
- index: CREATE UNIQUE INDEX USING btree (slug), valid t, clustered f, replica identity f, targets ,
- index: CREATE UNIQUE INDEX USING btree (title, mood) WHERE (body IS NULL), valid t, clustered f, replica identity f, targets ,
- index: CREATE UNIQUE INDEX USING btree (twin), valid t, clustered f, replica identity f, targets ,
+ key: UNIQUE ("Id"),
- key: UNIQUE (slug),
- key: UNIQUE (twin) DEFERRABLE INITIALLY DEFERRED,
- key: UNIQUE NULLS NOT DISTINCT (serial_no) INCLUDE (title),
- publication inserts: ,
- sequence of "Id": (bigint,5,1,9223372036854775807,1,f)
- sequence of serial_no: (integer,1,1,2147483647,1,f) USAGE to writer
"#;
const BACKFILLED: &str = r#"
- check "not yet": CHECK ((length(title) < 1000)) NOT VALID, f,
+ check "not yet": CHECK ((length(title) < 1000)), f,
+ column project_id: uuid, t, p, -1,
+ default of "Id": nextval('"Old data"."Every Thing_Id_seq"'::regclass)
- foreign key: FOREIGN KEY (owner) REFERENCES "Old data"."Owner"(id) ON DELETE SET NULL
+ foreign key: FOREIGN KEY (owner) REFERENCES fresh.owners(id) ON DELETE SET NULL (owner) DEFERRABLE INITIALLY DEFERRED
+ foreign key: FOREIGN KEY (project_id) REFERENCES "Old data".projects(id) DEFERRABLE INITIALLY DEFERRED
- foreign key: FOREIGN KEY (twin) REFERENCES "Old data"."Every Thing"("Id") DEFERRABLE
+ foreign key: FOREIGN KEY (twin) REFERENCES fresh."Every Thing"("Id") DEFERRABLE INITIALLY DEFERRED
- identity of "Id": a
+ index: CREATE INDEX USING btree (owner), valid t, clustered f, replica identity f, targets ,
+ key: UNIQUE ("Id"),
- publication inserts: ,
- sequence of "Id": (bigint,5,1,9223372036854775807,1,f)
- sequence of serial_no: (integer,1,1,2147483647,1,f) USAGE to writer
"#;
const ARCHIVED: &str = r#"
- check "not yet": CHECK ((length(title) < 1000)) NOT VALID, f,
+ check "not yet": CHECK ((length(title) < 1000)), f,
+ column project_id: uuid, t, p, -1,
- foreign key: FOREIGN KEY (owner) REFERENCES "Old data"."Owner_archive"(id) ON DELETE SET NULL
+ foreign key: FOREIGN KEY (owner) REFERENCES fresh.owners(id) ON DELETE SET NULL (owner) DEFERRABLE INITIALLY DEFERRED
+ foreign key: FOREIGN KEY (project_id) REFERENCES "Old data".projects(id) DEFERRABLE INITIALLY DEFERRED
- foreign key: FOREIGN KEY (twin) REFERENCES "Old data"."Every Thing_archive"("Id") DEFERRABLE
+ foreign key: FOREIGN KEY (twin) REFERENCES fresh."Every Thing"("Id") DEFERRABLE INITIALLY DEFERRED
+ index: CREATE INDEX USING btree (owner), valid t, clustered f, replica identity f, targets ,
+ key: UNIQUE ("Id"),
- publication inserts: ,
"#;

fn expect(found: &[String], expected: &str, when: &str) {
    let found: Vec<&str> = found.iter().map(|l| l.trim_end()).collect();
    let lines: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    assert_eq!(found, lines, "{when}:\n{}", found.join("\n"));
}

#[test]
fn everything_is_carried_or_told() {
    let cluster = Cluster::start("it_carried", "wal_level = logical");
    let mut admin = cluster.database("carried");
    admin
        .batch_execute(include_str!("copied_properties.sql"))
        .unwrap_or_else(|e| panic!("{e:?}"));
    admin.batch_execute("SELECT mig_allow('keeper')").unwrap();
    let mut keeper = cluster.connect_as("carried", "keeper");
    keeper
        .batch_execute(include_str!("copied_properties_facts.sql"))
        .unwrap();
    keeper
        .batch_execute(
            "SELECT mig_define('c', '\"Old data\".projects', '00000000-0000-0000-0000-000000000001'); \
             SELECT mig_add_table('c', '\"Old data\".\"Owner\"', 'fresh.owners'); \
             SELECT mig_add_table('c', '\"Old data\".\"Every Thing\"', 'fresh.\"All Things\"')",
        )
        .unwrap();
    let told: Vec<String> = keeper
        .query(
            "SELECT format('%s: %s %s', check_name, detail, hint) FROM mig_preflight() WHERE relation = '\"Old data\".\"Every Thing\"'::regclass AND severity <> 'info' ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    expect(&told, TOLD, "preflight");
    let old = "\"Old data\".\"Every Thing\"";
    keeper.simple_query("SELECT mig_create()").unwrap();
    expect(&differences(&mut keeper, old), CREATED, "created");
    keeper.simple_query("SELECT mig_dual_write()").unwrap();
    keeper.simple_query("SELECT mig_backfill()").unwrap();
    backfilled(&mut keeper);
    expect(&differences(&mut keeper, old), BACKFILLED, "backfilled");
    // What default privileges gave is nobody's: neither on the copy nor on what comes with it.
    let strange = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = 'stranger'::regrole AND c.relname <> 'projects'";
    let count = |c: &mut Client| -> i64 { c.query_one(strange, &[]).unwrap().get(0) };
    assert_eq!(count(&mut keeper), 0);
    for step in ["SELECT mig_switch()", "SELECT mig_stop()"] {
        keeper
            .simple_query(step)
            .unwrap_or_else(|e| panic!("{step}: {e:?}"));
    }
    keeper
        .simple_query("SELECT mig_configure('c', '{\"archive_after_days\": 0}')")
        .unwrap();
    // What still reads an old table keeps it from being put away.
    let (code, detail, _) = refused(&mut keeper, "SELECT mig_archive()");
    assert_eq!(code, "2BP01");
    assert!(
        detail.contains("policy no_negatives of fresh.\"All Things\" reads \"Old data\".\"Owner\""),
        "{detail}"
    );
    keeper
        .simple_query("SELECT mig_archive(force => true)")
        .unwrap();
    let archive = "\"Old data\".\"Every Thing_archive\"";
    expect(&differences(&mut keeper, archive), ARCHIVED, "archived");
    assert_eq!(count(&mut keeper), 0);
}

const TOLD: &str = r#"
check not valid: Check "not yet" is NOT VALID: a row that violates it cannot be copied. Correct the rows: ALTER TABLE "Old data"."Every Thing" VALIDATE CONSTRAINT "not yet"; names the first.
policy: Policy no_negatives reads "Old data"."Owner", which moves, and so will the target's policy of that name. After mig_switch: ALTER POLICY no_negatives ON "fresh"."All Things" ...; so that it reads the new table.
publication: Publication "inserts" belongs to another role: the target is not added to it. After mig_create, as its owner: ALTER PUBLICATION "inserts" ADD TABLE "fresh"."All Things";
"#;
