use super::*;
use crate::ident::QualifiedName;
use crate::model::fixture::{column, index, shape};
use crate::model::layout::{Layout, Origin, resolve};
use crate::model::shape::Shape;
use crate::model::spec::Spec;
use serde_json::{Value, json};

fn table(oid: u32, name: &str, id_default: Option<&str>, more: Value, fkeys: Value) -> Shape {
    let mut columns = vec![column("id", "integer", true, id_default)];
    columns.extend(more.as_array().cloned().unwrap_or_default());
    let key = index(&format!("{name}_pkey"), &["id"], true, true);
    shape(oid, name, Value::Array(columns), json!([key]), fkeys)
}

fn requests() -> Shape {
    let more = json!([column("song", "text", true, None)]);
    table(
        1,
        "requests",
        Some("nextval('requests_id_seq'::regclass)"),
        more,
        json!([]),
    )
}

fn notices(default: &str) -> Shape {
    let more = json!([column("body", "text", true, Some("'hello'::text"))]);
    table(2, "notices", Some(default), more, json!([]))
}

/// One part of the rows of `requests`: its key refers to theirs.
fn details(deferrable: bool) -> Shape {
    let more = json!([column("tempo", "text", true, None)]);
    let key = json!([{"name": "details_id_fkey", "columns": ["id"], "ref_oid": 1, "ref_name": {"schema": "public", "name": "requests"},
        "ref_columns": ["id"], "equals": [], "validated": true, "enforced": true, "deferrable": deferrable, "comment": null,
        "on_delete": "c", "on_update": "a", "set_columns": []}]);
    table(3, "details", None, more, key)
}

fn kind(value: &str) -> Spec {
    let mut expression = Expression::new(&format!("'{value}'"), None);
    expression.type_text = Some("text".into());
    expression.constant = Some(value.to_owned());
    Spec {
        columns: vec![("kind".into(), Some(expression))],
        ..Spec::default()
    }
}

fn resolve_together(tables: &[(&Shape, &Spec)]) -> Result<Vec<Layout>> {
    let target = QualifiedName::new("public", "together");
    let members: Vec<Member> = tables
        .iter()
        .zip(1..)
        .map(|((shape, spec), id)| Member {
            id,
            shape,
            spec,
            target: &target,
            remap: false,
            adopted_shape: None,
        })
        .collect();
    (0..members.len())
        .map(|n| resolve(&members, n, None))
        .collect()
}

fn refusal_of(tables: &[(&Shape, &Spec)]) -> (String, String) {
    match resolve_together(tables) {
        Err(e) => [e.detail(), e.hint()]
            .map(|t| t.unwrap_or_default().to_owned())
            .into(),
        Ok(_) => (String::new(), String::new()),
    }
}

const SHARED: &str = "nextval('requests_id_seq'::regclass)";

#[test]
fn a_union_is_told_by_a_column_that_is_constant_in_each_source() {
    let (a, b) = (requests(), notices(SHARED));
    let (request, notice) = (kind("request"), kind("notice"));
    let layouts = resolve_together(&[(&a, &request), (&b, &notice)]).expect("layouts");
    let values: Vec<&str> = layouts
        .iter()
        .filter_map(|l| l.kind.as_ref())
        .map(|k| k.value.as_str())
        .collect();
    assert_eq!(values, ["request", "notice"]);
    // Ids are kept and form the primary key alone.
    assert_eq!(layouts[1].primary_key, ["id".into()]);
    assert!(
        layouts
            .iter()
            .all(|l| l.merge.is_none() && l.back.is_some())
    );
}

#[test]
fn the_same_constant_in_both_tells_nothing() {
    let (a, b) = (requests(), notices(SHARED));
    let same = kind("same");
    let error = resolve_together(&[(&a, &same), (&b, &same)]).expect_err("no layout");
    assert!(
        error.message().contains("is already the target of"),
        "{error}"
    );
}

#[test]
fn ids_of_two_sequences_would_collide() {
    let (a, b) = (requests(), notices("nextval('notices_id_seq'::regclass)"));
    let (request, notice) = (kind("request"), kind("notice"));
    let (detail, hint) = refusal_of(&[(&a, &request), (&b, &notice)]);
    assert!(detail.contains("different sequences"), "{detail}");
    assert!(hint.contains("id_mode => 'remap'"), "{hint}");
}

#[test]
fn a_key_that_refers_to_the_other_key_makes_one_row() {
    let (a, b, spec) = (requests(), details(false), Spec::default());
    // The order of addition does not matter: the referenced source leads.
    for tables in [[(&a, &spec), (&b, &spec)], [(&b, &spec), (&a, &spec)]] {
        let layouts = resolve_together(&tables).expect("layouts");
        let of = |name: &str| {
            let at = tables
                .iter()
                .position(|(s, _)| s.name.name.as_str() == name);
            &layouts[at.expect("the table is there")]
        };
        let (main, part) = (of("requests"), of("details"));
        assert!(!main.is_partner() && part.is_partner());
        let origin = |l: &Layout, name: &str| {
            let column = l.columns.iter().find(|c| c.name == name.into());
            column.map(|c| c.origin.clone())
        };
        assert_eq!(origin(main, "tempo"), Some(Origin::Partner));
        assert_eq!(origin(part, "tempo"), Some(Origin::Source("tempo".into())));
        // The foreign key between the sources is not carried to the target.
        assert!(part.fkeys.is_empty());
        let back: Vec<&str> = part
            .back
            .iter()
            .flatten()
            .map(|c| c.source.as_str())
            .collect();
        assert_eq!(back, ["id", "tempo"]);
    }
}

#[test]
fn a_key_that_is_checked_late_decides_nothing() {
    let (a, b) = (requests(), details(true));
    let merge = Spec {
        combine: Some(Combine::Merge),
        ..Spec::default()
    };
    let layouts = resolve_together(&[(&a, &merge), (&b, &merge)]).expect("layouts");
    let merged: Vec<bool> = layouts
        .iter()
        .filter_map(|l| l.merge.as_ref())
        .map(|m| m.by_main)
        .collect();
    assert_eq!(merged, [false, false]);
}
