//! What a client gets: SQLSTATE, detail and hint survive the way out.

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// Catches a statement's error in PL/pgSQL: SQLSTATE|message|detail|hint.
    fn caught(sql: &str) -> String {
        Spi::run(
            "CREATE OR REPLACE FUNCTION pg_temp.caught(sql text) RETURNS text LANGUAGE plpgsql AS $$ \
             DECLARE s text; m text; d text; h text; BEGIN EXECUTE sql; RETURN 'no error'; EXCEPTION WHEN OTHERS THEN \
             GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT; \
             RETURN concat_ws('|', s, m, d, h); END $$",
        )
        .unwrap();
        Spi::get_one_with_args::<String>("SELECT pg_temp.caught($1)", &[sql.into()])
            .unwrap()
            .unwrap_or_default()
    }

    #[pg_test]
    fn the_sqlstate_is_kept() {
        assert!(
            caught("SELECT mig_create('nope')")
                .starts_with("42704|migration \"nope\" does not exist")
        );
        assert!(caught("SELECT mig_define('')").starts_with("22023|"));
        assert!(
            caught("SELECT mig_define('a', 'pg_class', '1')").starts_with("22023|invalid scope|")
        );
    }

    #[pg_test]
    fn a_refused_call_changes_nothing() {
        Spi::run("CREATE TABLE kept (id int PRIMARY KEY); SELECT mig_define('m'); SELECT mig_add_table('m', 'kept', 'kept2')").unwrap();
        let before = Spi::get_one::<String>("SELECT (mig_config('m'))::text").unwrap();
        assert!(caught("SELECT mig_add_table('m', 'kept', 'other')").starts_with("42710|"));
        assert!(
            caught("SELECT mig_configure('m', '{\"delay_ms\": 5, \"nonsense\": 1}')")
                .starts_with("22023|")
        );
        assert_eq!(
            Spi::get_one::<String>("SELECT (mig_config('m'))::text").unwrap(),
            before
        );
    }

    #[pg_test]
    fn no_backtrace_reaches_the_client() {
        let text = caught("SELECT mig_define('x', 'pg_namespace', 'not an oid')");
        assert!(!text.contains("pgrx"), "{text}");
    }
}
