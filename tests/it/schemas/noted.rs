//! A trigger of this program on the application's tables: it notes each change with what the row was and what it is. Over any time,
//! the rows that were there and the notes give the rows that are there, or the trigger fired too often or not at all.

use super::catalog::Table;
use super::sql::literal;
use postgres::Client;

/// Only new tables have this column.
pub const SCOPE: &str = "scope of the run";

pub const SETUP: &str = r#"
CREATE SCHEMA noted;
CREATE TABLE noted.scope (id int PRIMARY KEY);
INSERT INTO noted.scope VALUES (7);
CREATE TABLE noted.change (
  relation text NOT NULL, fired_on regclass, op text NOT NULL, was uuid, is_now uuid, by_transaction xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON noted.change (by_transaction);
CREATE FUNCTION noted.image(r jsonb) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5((r - 'scope of the run')::text)::uuid $$;
CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO noted.change (relation, fired_on, op, was, is_now) VALUES (TG_ARGV[0], TG_RELID, TG_OP,
    CASE WHEN TG_OP <> 'INSERT' THEN noted.image(to_jsonb(OLD)) END, CASE WHEN TG_OP <> 'DELETE' THEN noted.image(to_jsonb(NEW)) END);
  RETURN NULL;
END $$;
"#;

fn relation(table: &Table) -> String {
    literal(&table.plain())
}

/// Puts the trigger on a table, and notes the rows that are there.
pub fn watch(client: &mut Client, table: &Table) {
    let (name, relation) = (table.sql(), relation(table));
    client
        .batch_execute(&format!(
            "INSERT INTO noted.change (relation, op, is_now) SELECT {relation}, 'there', noted.image(to_jsonb(t)) FROM {name} t; \
             CREATE TRIGGER zzz_note AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION noted.note({relation})"
        ))
        .unwrap_or_else(|e| panic!("{name}: {e:?}"));
}

/// How many images of rows of `name`, which is the old or the new table, are there too often or not often enough by the notes.
pub fn wrong(client: &mut Client, table: &Table, name: &str) -> i64 {
    let relation = relation(table);
    let query = format!(
        "SELECT count(*) FROM (SELECT image FROM (
           SELECT is_now, 1 FROM noted.change WHERE relation = {relation} AND is_now IS NOT NULL
           UNION ALL SELECT was, -1 FROM noted.change WHERE relation = {relation} AND was IS NOT NULL
           UNION ALL SELECT noted.image(to_jsonb(t)), -1 FROM {name} t) a (image, n) GROUP BY image HAVING sum(n) <> 0) d"
    );
    let row = client.query_one(&query, &[]);
    row.unwrap_or_else(|e| panic!("{name}: {e:?}")).get(0)
}

/// Changes of the application, and those among them whose rows stayed what they were.
pub fn counted(client: &mut Client) -> (i64, i64) {
    let query = "SELECT count(*) FILTER (WHERE op <> 'there'), count(*) FILTER (WHERE was = is_now) FROM noted.change";
    let row = client.query_one(query, &[]).expect("the notes read");
    (row.get(0), row.get(1))
}
