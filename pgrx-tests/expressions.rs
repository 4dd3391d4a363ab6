//! PostgreSQL's parser judges expressions: the fuzz list of what must never be stored.

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use crate::ident::QualifiedName;
    use crate::pg::expression;
    use pgrx::prelude::*;

    fn source() -> QualifiedName {
        Spi::run("CREATE TABLE public.expr_src (id int PRIMARY KEY, a text, b int, d timestamptz)")
            .unwrap();
        QualifiedName::new("public", "expr_src")
    }

    #[pg_test]
    fn one_expression_is_taken_with_its_type() {
        let source = source();
        for (text, type_text) in [
            ("upper(a)", "text"),
            ("b + 1 -- a comment", "integer"),
            ("CASE WHEN b > 1 THEN 'x' ELSE a END", "text"),
            ("jsonb_build_object('a', a)", "jsonb"),
            ("(a)", "text"),
            ("b::numeric(10, 2)", "numeric(10,2)"),
        ] {
            assert_eq!(
                expression::check(crate::pg::role::current(), "c", text, &source.to_string())
                    .unwrap()
                    .type_text,
                type_text,
                "{text}"
            );
        }
    }

    #[pg_test]
    fn what_depends_on_session_or_time_is_told_apart() {
        let source = source();
        for (text, immutable) in [
            ("upper(a)", true),
            ("d AT TIME ZONE 'UTC'", true),
            ("d::date", false),
            ("now()", false),
            ("current_user::text", false),
        ] {
            let checked =
                expression::check(crate::pg::role::current(), "c", text, &source.to_string())
                    .unwrap();
            assert_eq!(checked.immutable, immutable, "{text}");
        }
    }

    #[pg_test]
    fn everything_else_is_refused() {
        let source = source();
        for text in [
            "",
            "a, b",
            "a) , (b",
            "a) FROM pg_class; DROP TABLE expr_src; SELECT (1",
            "a) FROM pg_class WHERE (true",
            "a) UNION SELECT (a",
            "a) ORDER BY (1",
            "a) FOR UPDATE; --",
            "a; SELECT 1",
            "/* open",
            "(SELECT 1)",
            "EXISTS (SELECT FROM pg_class)",
            "random()",
            "clock_timestamp()",
            "nextval('expr_seq')",
            "pg_sleep(1)",
            "count(*)",
            "row_number() OVER ()",
            "unnest(ARRAY[1, 2])",
            "nope",
            "$1",
            "a::nonsense",
        ] {
            assert!(
                expression::check(crate::pg::role::current(), "c", text, &source.to_string())
                    .is_err(),
                "{text}"
            );
        }
        assert_eq!(
            Spi::get_one::<i64>(
                "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'mig:draft:%'"
            )
            .unwrap(),
            Some(0)
        );
    }
}
