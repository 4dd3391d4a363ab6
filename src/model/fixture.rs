//! Two tables of the README's example, for the unit tests of `model` and `sqlgen`.

use crate::ident::QualifiedName;
use crate::model::layout::{Layout, Member, Scope, TargetKey, resolve};
use crate::model::records::Mapping;
use crate::model::shape::Shape;
use crate::model::spec::{Combine, Spec};
use serde_json::{Value, json};

/// A random number generator with the same sequence in each run: xorshift64* (Vigna 2016), <https://arxiv.org/abs/1402.6246>.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn next_below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap_or(0) % limit.max(1)
    }
}

pub fn column(name: &str, type_text: &str, not_null: bool, default: Option<&str>) -> Value {
    json!({"name": name, "type": type_text, "not_null": not_null, "default": default, "generated": null, "identity": null,
        "collation": null, "storage": null, "statistics": null, "comment": null, "compare": "image"})
}

pub fn index(name: &str, columns: &[&str], primary: bool, unique: bool) -> Value {
    let columns: Vec<Value> = columns
        .iter()
        .map(|c| json!({"name": c, "text": format!("\"{c}\""), "suffix": "", "equals": {"schema": "pg_catalog", "name": "="}}))
        .collect();
    json!({"name": name, "primary": primary, "unique": unique, "exclusion": false, "valid": true, "constraint": unique,
        "deferrable": false, "method": "btree", "columns": columns, "include": [], "predicate": null, "options": [],
        "nulls_not_distinct": false})
}

pub fn shape(oid: u32, name: &str, columns: Value, indexes: Value, fkeys: Value) -> Shape {
    let doc = json!({"oid": oid, "name": {"schema": "public", "name": name}, "kind": "r", "persistence": "p",
        "is_partition": false, "is_catalog": false, "owner": 10, "owner_name": "app", "rls": false, "force_rls": false,
        "replica_identity": "d", "options": [], "comment": null, "est_rows": 0, "bytes": 0, "columns": columns,
        "indexes": indexes, "checks": [], "fkeys": fkeys, "policies": [], "grants": [], "publications": []});
    serde_json::from_value(doc).expect("the fixture is a shape")
}

pub fn scope() -> Scope {
    Scope {
        column: "project_id".into(),
        type_text: "uuid".into(),
        value: "00000000-0000-0000-0000-000000000001".into(),
        table: Some((QualifiedName::new("public", "projects"), "id".into())),
        equal_in: Vec::new(),
    }
}

pub fn rounds_shape() -> Shape {
    shape(
        1,
        "round_metadata",
        json!([
            column(
                "id",
                "integer",
                true,
                Some("nextval('round_metadata_id_seq'::regclass)")
            ),
            column("slug", "text", true, None)
        ]),
        json!([
            index("round_metadata_pkey", &["id"], true, true),
            index("round_metadata_slug_key", &["slug"], false, true)
        ]),
        json!([]),
    )
}

pub fn sign_ups_shape() -> Shape {
    shape(
        2,
        "sign_ups",
        json!([
            column(
                "id",
                "integer",
                true,
                Some("nextval('sign_ups_id_seq'::regclass)")
            ),
            column("round_id", "integer", true, None),
            column("email", "text", false, None)
        ]),
        json!([
            index("sign_ups_pkey", &["id"], true, true),
            index(
                "sign_ups_round_email_key",
                &["round_id", "email"],
                false,
                true
            )
        ]),
        json!([{"name": "sign_ups_round_id_fkey", "columns": ["round_id"], "ref_oid": 1,
            "ref_name": {"schema": "public", "name": "round_metadata"}, "ref_columns": ["id"],
            "equals": [{"schema": "pg_catalog", "name": "="}], "validated": true, "enforced": true, "on_delete": "c", "on_update": "a", "set_columns": []}]),
    )
}

/// Returns source, target and layout of `sign_ups`, which is migrated together with `round_metadata`.
pub fn sign_ups() -> (Shape, QualifiedName, Layout) {
    sign_ups_beside(false)
}

/// As `sign_ups`; with `remap`, rounds get new ids.
pub fn sign_ups_beside(remap: bool) -> (Shape, QualifiedName, Layout) {
    let (rounds, sign_ups) = (rounds_shape(), sign_ups_shape());
    let (rounds_target, target) = (
        QualifiedName::new("public", "project_rounds"),
        QualifiedName::new("public", "project_sign_ups"),
    );
    let spec = Spec::default();
    let members = [
        Member {
            id: 1,
            shape: &rounds,
            spec: &spec,
            target: &rounds_target,
            remap,
            adopted_shape: None,
        },
        Member {
            id: 2,
            shape: &sign_ups,
            spec: &spec,
            target: &target,
            remap: false,
            adopted_shape: None,
        },
    ];
    let layout = resolve(&members, 1, Some(&scope())).expect("the fixture has a layout");
    (sign_ups.clone(), target, layout)
}

/// Returns a mapping whose target refers to other targets.
pub fn new_mapping(target: &str, references: &[&str]) -> Mapping {
    let (_, _, mut layout) = sign_ups();
    let name = |n: &str| json!({"schema": "public", "name": n});
    layout.fkeys = references
        .iter()
        .map(|r| TargetKey {
            name: "k".into(),
            columns: vec!["round_id".into()],
            references: QualifiedName::new("public", r),
            ref_columns: vec!["id".into()],
            on_delete: "NO ACTION".into(),
            on_update: "NO ACTION".into(),
            set_columns: Vec::new(),
            comment: None,
            not_valid: false,
            is_gone: false,
            match_full: false,
        })
        .collect();
    let doc = json!({"id": 1, "source": 1, "source_name": null, "source_owner": null, "target_name": name(target), "target": 2,
        "target_now": name(target), "target_owner": null, "adopted": false, "id_mode": "preserve", "spec": {}, "layout": layout,
        "bound_blocks": null, "next_block": 0, "filenode": null, "batch_rows": null, "rows_done": 0, "copied": false,
        "pass": "forth", "archived": null});
    serde_json::from_value(doc).expect("the fixture is a mapping")
}

/// Returns two tables that are merged by key; with `main`, the key of the second refers to the key of the first.
pub fn merge_of_two(main: bool) -> ([Shape; 2], Vec<Layout>) {
    let key = |name: &str| json!([index(&format!("{name}_pkey"), &["code"], true, true)]);
    let code = column("code", "text", true, None);
    let refers = json!([{"name": "stocks_code_fkey", "columns": ["code"], "ref_oid": 1, "ref_name": {"schema": "public", "name": "prices"},
        "ref_columns": ["code"], "equals": [], "validated": true, "enforced": true, "comment": null, "on_delete": "a", "on_update": "a",
        "set_columns": []}]);
    let tables = [
        shape(
            1,
            "prices",
            json!([code, column("price", "numeric", false, None)]),
            key("prices"),
            json!([]),
        ),
        shape(
            2,
            "stocks",
            json!([code, column("pieces", "integer", true, None)]),
            key("stocks"),
            if main { refers } else { json!([]) },
        ),
    ];
    let spec = Spec {
        combine: Some(Combine::Merge),
        ..Spec::default()
    };
    let target = QualifiedName::new("public", "goods");
    let members: Vec<Member> = tables
        .iter()
        .zip(1..)
        .map(|(shape, id)| Member {
            id,
            shape,
            spec: &spec,
            target: &target,
            remap: false,
            adopted_shape: None,
        })
        .collect();
    let layouts = (0..2).map(|n| resolve(&members, n, None).expect("the fixture has a layout"));
    let layouts = layouts.collect();
    (tables, layouts)
}
