//! Values that PostgreSQL keeps and serde does not read, and encodings that Rust does not.

use super::{code, installed};

/// Deeper than serde reads, and a number that is larger.
const ODD: &str = "(repeat('[', 300) || '1e400' || repeat(']', 300))::jsonb";

#[test]
fn a_row_with_any_document_is_copied_compared_and_repaired() {
    let (_cluster, mut client) = installed("it_input_documents");
    client
        .batch_execute(&format!(
            "CREATE TABLE kept (id numeric PRIMARY KEY, doc jsonb, old text); \
             INSERT INTO kept VALUES (1e400, {ODD}, 'a'), (2, 'null', 'b'); \
             SELECT mig_define('m'); SELECT mig_add_table('m', 'kept', 'moved'); \
             SELECT mig_create('m'); SELECT mig_dual_write('m')"
        ))
        .unwrap();
    client
        .batch_execute(
            "SELECT mig_backfill('m', 'manual'); SELECT mig_step('m', 60000); \
             UPDATE moved SET old = 'c' WHERE id > 2",
        )
        .unwrap();
    let row = client
        .query_one(
            &format!(
                "SELECT count(*), bool_and(kind = 'different' AND (key->>'id')::numeric = 1e400 \
                   AND source_row->'doc' = {ODD} AND source_row->>'old' = 'a' \
                   AND target_row->'doc' = {ODD} AND target_row->>'old' = 'c') FROM mig_diff('m', 'kept')"
            ),
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get(1)), (1, Some(true)));
    client
        .batch_execute("SELECT mig_repair('m', dry_run => false); SELECT mig_assert('m')")
        .unwrap();
}

#[test]
fn a_column_with_any_document_is_compared() {
    let (_cluster, mut client) = installed("it_input_documents_columns");
    client
        .batch_execute(&format!(
            "CREATE TABLE kept (id numeric PRIMARY KEY, doc jsonb); INSERT INTO kept VALUES (1e400, {ODD}); \
             SELECT mig_define('m'); \
             SELECT mig_add_column('m', 'kept', 'text', 'text', 'doc::text', 'text::jsonb', replaces => 'doc'); \
             SELECT mig_create('m'); SELECT mig_dual_write('m')"
        ))
        .unwrap();
    let row = client
        .query_one(
            &format!(
                "SELECT count(*), bool_and((key->>'id')::numeric = 1e400 AND source_row->'doc' = {ODD}) FROM mig_diff('m', 'kept')"
            ),
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get(1)), (1, Some(true)));
}

#[test]
fn a_database_of_another_encoding_is_refused_at_once() {
    let (cluster, mut client) = installed("it_input_encodings");
    for encoding in ["LATIN1", "WIN1252", "EUC_JP", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        client
            .batch_execute(&format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"
            ))
            .unwrap();
        let mut other = cluster.connect(&name);
        other
            .batch_execute("CREATE EXTENSION pg_mig; CREATE TABLE t (id int PRIMARY KEY, v text)")
            .unwrap();
        for call in [
            "mig_define('m')",
            "mig_add_table('m', 't', 'n')",
            "mig_create('m')",
            "mig_dual_write('m')",
            "mig_check('m')",
            "mig_add_check('t', 'c', 'id > 0')",
        ] {
            let got = code(&mut other, &format!("SELECT {call}"));
            assert_eq!(got, "0A000", "{encoding}: {call}");
        }
        assert_eq!(code(&mut other, "SELECT mig_lint('SELECT 1')"), "00000");
    }
}
