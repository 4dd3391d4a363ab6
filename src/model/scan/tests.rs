use super::*;

fn cut_pieces(text: &str) -> Vec<&str> {
    let pieces = Pieces::new(text, false).filter(|p| !p.weight.is_nothing());
    pieces.map(|p| text[p.place].trim()).collect()
}

#[test]
fn a_semicolon_in_quotes_or_comments_ends_nothing() {
    for whole in [
        "SELECT 'a;b';",
        "SELECT 'it''s;';",
        "SELECT E'\\';';",
        "SELECT E'a'\n  'b\\';';",
        "SELECT \"a;b\";",
        "SELECT $$ ; $$;",
        "SELECT $x$ ; $$ ; $x$;",
        "SELECT /* ; /* ; */ ; */ 1;",
        "SELECT 1 -- ;\n;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
        "CREATE OR REPLACE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
    ] {
        assert_eq!(
            cut_pieces(&format!("{whole} SELECT 2")),
            [whole, "SELECT 2"]
        );
    }
}

#[test]
fn what_only_looks_like_a_quote_is_none() {
    assert_eq!(
        cut_pieces("SELECT a$b$;SELECT 1$b$;;"),
        ["SELECT a$b$;", "SELECT 1$b$;", ";"]
    );
    assert_eq!(cut_pieces("SELECT $1;SELECT 2"), ["SELECT $1;", "SELECT 2"]);
    assert_eq!(
        cut_pieces("SELECT '\\';SELECT 2"),
        ["SELECT '\\';", "SELECT 2"]
    );
    assert_eq!(
        cut_pieces("CREATE TABLE t (;DROP TABLE u"),
        ["CREATE TABLE t (;", "DROP TABLE u"]
    );
}

#[test]
fn what_nothing_ends_costs_its_own_statement() {
    assert_eq!(
        cut_pieces("SELECT 'a; SELECT 2;"),
        ["SELECT 'a;", "SELECT 2;"]
    );
    assert_eq!(
        cut_pieces("SELECT 1 /* a; SELECT 2"),
        ["SELECT 1 /* a;", "SELECT 2"]
    );
    assert_eq!(
        cut_pieces("SELECT $a$; SELECT 2"),
        ["SELECT $a$;", "SELECT 2"]
    );
    let begun = "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;";
    assert_eq!(
        cut_pieces(&format!("{begun} SELECT 2")),
        [begun, "SELECT 2"]
    );
    // The number of attempts is limited: each of them scans the whole rest.
    let many = "/*;".repeat(100_000);
    assert_eq!(cut_pieces(&many).len(), 21);
}

#[test]
fn lines_of_psql_stand_beside_the_statement() {
    let text = "\\x\nSELECT 1\n \\g out\n;SELECT a \\ b;";
    let pieces: Vec<Piece> = Pieces::new(text, false).collect();
    let metas: Vec<&str> = pieces[0].metas.iter().map(|m| &text[m.clone()]).collect();
    assert_eq!(metas, ["\\x", "\\g out"]);
    assert_eq!(&text[pieces[0].first..][..8], "SELECT 1");
    assert!(pieces[1].metas.is_empty());
}

#[test]
fn escapes_follow_the_setting() {
    let text = "SELECT '\\'; ';SELECT 2";
    assert_eq!(Pieces::new(text, true).count(), 2);
    assert_eq!(cut_pieces(text), ["SELECT '\\';", "';", "SELECT 2"]);
}

#[test]
fn a_row_of_signs_is_weighed_by_what_the_lexer_makes_of_it() {
    let heavy = |text: &str| weight(text, false).too_much(1_000_000).is_some();
    assert!(heavy(&"+".repeat(100_000)));
    assert!(heavy(&"+/**/".repeat(100_000)));
    assert!(heavy(&"/*".repeat(100_000)));
    assert!(heavy(&"1,".repeat(1_000_000)));
    assert!(!heavy(&format!("/{}/ SELECT 1", "*".repeat(100_000))));
    assert!(!heavy(&"1+".repeat(100_000)));
    assert!(!heavy(&format!("SELECT '{}'", "+".repeat(1_000_000))));
}

#[test]
fn pieces_lose_nothing_whatever_the_text_is() {
    let parts = [
        "'",
        "\"",
        "$",
        "$$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\n",
        "\\",
        ";",
        "(",
        ")",
        "ü",
        "漢",
        "e'",
        "create ",
        "function ",
        "rule ",
        "begin ",
        "atomic ",
        "end ",
        "case ",
        "x",
        "1",
        "+",
        " ",
        "\u{0}",
        "or ",
        "replace ",
        "u&'",
        "\r",
    ];
    let mut seed = crate::model::fixture::Random::new(7);
    for _ in 0..20_000 {
        let text: String = (0..seed.next_below(24))
            .map(|_| parts[seed.next_below(parts.len())])
            .collect();
        let mut at = 0;
        for piece in Pieces::new(&text, seed.next_below(2) == 0) {
            assert_eq!(piece.place.start, at, "{text:?}");
            assert!(piece.place.end > at, "{text:?}");
            assert!(
                text.is_char_boundary(piece.first) && text.is_char_boundary(piece.place.end),
                "{text:?}"
            );
            at = piece.place.end;
        }
        assert_eq!(at, text.len(), "{text:?}");
    }
}
