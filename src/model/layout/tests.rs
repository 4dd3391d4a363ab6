use super::*;
use crate::model::expression::Expression;
use crate::model::fixture;

fn resolve_alone(spec: &Spec, shape: &Shape, scope: Option<&Scope>) -> Result<Layout> {
    let target = QualifiedName::new("public", "t");
    resolve(
        &[Member {
            id: 1,
            shape,
            spec,
            target: &target,
            remap: false,
            adopted_shape: None,
        }],
        0,
        scope,
    )
}

fn names(list: &[&str]) -> Vec<Ident> {
    list.iter().map(|n| Ident::new(*n)).collect()
}

#[test]
fn a_surrogate_key_stays_the_primary_key_and_gets_a_scoped_twin_when_referenced() {
    let (rounds, sign_ups) = (fixture::rounds_shape(), fixture::sign_ups_shape());
    let (a, b, spec) = (
        QualifiedName::new("public", "a"),
        QualifiedName::new("public", "b"),
        Spec::default(),
    );
    let members = [
        Member {
            id: 1,
            shape: &rounds,
            spec: &spec,
            target: &a,
            remap: false,
            adopted_shape: None,
        },
        Member {
            id: 2,
            shape: &sign_ups,
            spec: &spec,
            target: &b,
            remap: false,
            adopted_shape: None,
        },
    ];
    let layout = resolve(&members, 0, Some(&fixture::scope())).expect("layout");
    assert_eq!(layout.primary_key, names(&["id"]));
    assert_eq!(layout.scoped_key, Some(names(&["project_id", "id"])));
    assert_eq!(layout.arbiter, names(&["project_id", "id"]));
    let child = resolve(&members, 1, Some(&fixture::scope())).expect("layout");
    assert_eq!(child.fkeys[1].columns, names(&["project_id", "round_id"]));
    assert_eq!(child.fkeys[1].ref_columns, names(&["project_id", "id"]));
    assert_eq!(child.arbiter, names(&["id"]));
}

#[test]
fn a_natural_key_gets_the_scope_in_front() {
    let mut shape = fixture::rounds_shape();
    shape.columns[0].default = None;
    let layout = resolve_alone(&Spec::default(), &shape, Some(&fixture::scope())).expect("layout");
    assert_eq!(layout.primary_key, names(&["project_id", "id"]));
    assert_eq!(layout.scoped_key, None);
}

#[test]
fn unique_keys_are_scoped_and_no_prefix_is_indexed_twice() {
    let layout = resolve_alone(
        &Spec::default(),
        &fixture::rounds_shape(),
        Some(&fixture::scope()),
    )
    .expect("layout");
    let text: Vec<String> = layout
        .indexes
        .iter()
        .map(|i| i.name.as_str().to_owned())
        .collect();
    assert_eq!(text, ["t_project_id_slug_key"]);
    let spec = Spec {
        unique_keys: vec![names(&["slug"])],
        ..Spec::default()
    };
    let layout =
        resolve_alone(&spec, &fixture::rounds_shape(), Some(&fixture::scope())).expect("layout");
    assert_eq!(
        layout.indexes.len(),
        1,
        "the user's key is the source's key: one index"
    );
}

/// A short index beside a longer one is somebody's choice; what is there twice is made once.
#[test]
fn all_indexes_of_the_source_are_carried() {
    let columns = ["id", "a", "b"].map(|c| fixture::column(c, "integer", true, None));
    let indexes = [
        fixture::index("t_pkey", &["id", "a"], true, true),
        fixture::index("of_key", &["id"], false, false),
        fixture::index("long", &["a", "b"], false, false),
        fixture::index("short", &["a"], false, false),
        fixture::index("again", &["a"], false, false),
    ];
    let shape = fixture::shape(
        1,
        "t",
        columns.to_vec().into(),
        indexes.to_vec().into(),
        Vec::<serde_json::Value>::new().into(),
    );
    let layout = resolve_alone(&Spec::default(), &shape, None).expect("layout");
    let made: Vec<&str> = layout.indexes.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(made, ["t_id_idx", "t_a_b_idx", "t_a_idx"]);
}

#[test]
fn without_a_scope_the_target_is_like_the_source() {
    let layout = resolve_alone(&Spec::default(), &fixture::rounds_shape(), None).expect("layout");
    assert_eq!(layout.columns.len(), 2);
    assert_eq!(layout.arbiter, names(&["id"]));
    assert_eq!(layout.indexes[0].columns.len(), 1);
}

#[test]
fn renames_are_followed_and_expressions_are_not_columns_of_the_source() {
    let up = |text: &str| {
        Some(Expression {
            up: text.into(),
            down: None,
            reads: Vec::new(),
            gives: None,
            constant: None,
            type_text: Some("text".into()),
        })
    };
    let spec = Spec {
        columns: vec![
            ("slug".into(), None),
            ("code".into(), up("slug")),
            ("loud".into(), up("upper(slug)")),
        ],
        ..Spec::default()
    };
    let layout = resolve_alone(&spec, &fixture::rounds_shape(), None).expect("layout");
    let origins: Vec<&Origin> = layout.columns.iter().map(|c| &c.origin).collect();
    assert_eq!(
        origins,
        [
            &Origin::Source("id".into()),
            &Origin::Source("slug".into()),
            &Origin::Expression("upper(slug)".into())
        ]
    );
    assert_eq!(layout.indexes[0].columns[0].name, Some("code".into()));
}

#[test]
fn a_key_that_is_left_out_is_refused() {
    let spec = Spec {
        columns: vec![("id".into(), None)],
        ..Spec::default()
    };
    let error = resolve_alone(&spec, &fixture::rounds_shape(), None).expect_err("no key");
    assert!(error.message().contains("is not carried over"), "{error}");
}

#[test]
fn a_scope_column_that_stands_already_is_refused() {
    let scope = Scope {
        column: "slug".into(),
        ..fixture::scope()
    };
    let error = resolve_alone(&Spec::default(), &fixture::rounds_shape(), Some(&scope));
    let error = error.expect_err("the column is there");
    assert_eq!(error.message(), "invalid scope");
}

#[test]
fn an_unknown_unique_column_names_the_nearest() {
    let spec = Spec {
        unique_keys: vec![names(&["slugg"])],
        ..Spec::default()
    };
    let error = resolve_alone(&spec, &fixture::rounds_shape(), None).expect_err("no such column");
    assert_eq!(error.hint(), Some("Did you mean \"slug\"?"));
}

#[test]
fn who_refers_to_new_ids_goes_through_their_map() {
    let (_, _, layout) = fixture::sign_ups_beside(true);
    let of = |name: &str| layout.columns.iter().find(|c| c.name == name.into());
    let via = of("round_id").and_then(|c| c.via.as_ref());
    let map = via.map(|v| {
        (
            v.map.mapping,
            v.map.old.name.as_str(),
            v.map.new.name.as_str(),
        )
    });
    assert_eq!(map, Some((1, "old_id", "new_id")));
    assert!(of("id").is_some_and(|c| c.via.is_none()) && layout.drawn.is_none());
    assert_eq!(layout.fkeys[1].columns, names(&["project_id", "round_id"]));
}

#[test]
fn a_target_that_draws_its_ids_keeps_its_key_alone() {
    let (rounds, spec) = (fixture::rounds_shape(), Spec::default());
    let target = QualifiedName::new("public", "project_rounds");
    let member = Member {
        id: 7,
        shape: &rounds,
        spec: &spec,
        target: &target,
        remap: true,
        adopted_shape: None,
    };
    let layout = resolve(&[member], 0, Some(&fixture::scope())).expect("layout");
    let drawn = layout.drawn.as_ref().expect("it draws");
    assert_eq!((drawn.source.as_str(), drawn.map.mapping), ("id", 7));
    assert_eq!(layout.primary_key, names(&["id"]));
    assert!(layout.key[0].via.is_some() && layout.back.is_some());
}
