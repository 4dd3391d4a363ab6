use super::facts::TableFact;
use super::statement::{Act, ColumnDefault, ColumnDefinition, ColumnType, Constraint, TableChange};
use super::*;

fn tip() -> WrittenName {
    WrittenName {
        schema: None,
        name: "tip".into(),
    }
}

fn column(name: &str, base: &str, modifier: i32) -> facts::ColumnFact {
    facts::ColumnFact {
        name: name.into(),
        base: base.into(),
        modifier,
        not_null: false,
    }
}

/// Facts of a database with a large table.
fn facts() -> LintFacts {
    LintFacts {
        tables: vec![TableFact {
            schema: None,
            name: "tip".into(),
            rows: 1_234_567,
            bytes: 400 << 20,
            columns: vec![
                column("note", "character varying", 24),
                column("amount", "numeric", (10 << 16 | 2) + 4),
                column("n", "integer", -1),
            ],
            checked_not_null: vec!["note".into()],
            index_of: None,
            referred_by: vec![],
        }],
        volatile: vec!["gen_random_uuid".into()],
        types: vec![("varchar".into(), "character varying".into())],
        lock_timeout_ms: 500,
        ..LintFacts::default()
    }
}

fn statement(text: &str, act: Act) -> LintStatement {
    LintStatement {
        line: 1,
        text: text.into(),
        tag: "SQL".into(),
        act,
    }
}

fn alter_tip(change: TableChange) -> Act {
    Act::AlterTable {
        table: tip(),
        lock: TableLock::AccessExclusive,
        changes: vec![change],
    }
}

fn rules(acts: Vec<Act>) -> Vec<(&'static str, &'static str)> {
    let statements: Vec<LintStatement> = acts.into_iter().map(|a| statement("x", a)).collect();
    let mut found = lint(&statements, &facts());
    found.retain(|f| f.rule != "lock");
    found.into_iter().map(|f| (f.severity, f.rule)).collect()
}

fn change_type(column: &str, name: &str, modifiers: &[i32]) -> Act {
    alter_tip(TableChange::ColumnType {
        column: column.into(),
        to: ColumnType {
            name: name.into(),
            modifiers: modifiers.to_vec(),
            array: false,
        },
        using: false,
    })
}

#[test]
fn a_type_that_only_grows_changes_the_catalog() {
    let expected = [(INFO, "change-column-type")];
    let warned = [(WARNING, "change-column-type")];
    assert_eq!(rules(vec![change_type("note", "varchar", &[40])]), expected);
    assert_eq!(rules(vec![change_type("note", "varchar", &[])]), expected);
    assert_eq!(rules(vec![change_type("note", "varchar", &[10])]), warned);
    assert_eq!(
        rules(vec![change_type("amount", "numeric", &[12, 2])]),
        expected
    );
    assert_eq!(
        rules(vec![change_type("amount", "numeric", &[12, 4])]),
        warned
    );
    assert_eq!(rules(vec![change_type("n", "int8", &[])]), warned);
}

#[test]
fn not_null_needs_a_proof() {
    let set = |c: &str| alter_tip(TableChange::SetNotNull { column: c.into() });
    assert_eq!(rules(vec![set("n")]), [(WARNING, "set-not-null")]);
    assert_eq!(rules(vec![set("note")]), [], "a valid CHECK says so");
    let check = alter_tip(TableChange::Add(Constraint {
        name: Some("c".into()),
        rule: ConstraintRule::Check {
            not_null: Some("n".into()),
        },
        not_valid: true,
    }));
    let validate = alter_tip(TableChange::Validate {
        constraint: "c".into(),
    });
    assert_eq!(
        rules(vec![check, validate, set("n")]),
        [(INFO, "validate-constraint")]
    );
}

#[test]
fn a_default_that_differs_from_row_to_row_writes_all_of_them() {
    let add = |calls: &[&str]| {
        alter_tip(TableChange::AddColumn(ColumnDefinition {
            name: "c".into(),
            kind: ColumnType {
                name: "uuid".into(),
                modifiers: vec![],
                array: false,
            },
            default: Some(ColumnDefault {
                calls: calls.iter().map(|c| (*c).to_owned()).collect(),
                is_null: false,
            }),
            not_null: true,
            numbered: false,
            computed: false,
            constraints: vec![],
        }))
    };
    assert_eq!(rules(vec![add(&[])]), []);
    assert_eq!(
        rules(vec![add(&["gen_random_uuid"])]),
        [(WARNING, "add-column-rewrite")]
    );
}

#[test]
fn a_lock_is_held_to_the_end_of_its_transaction() {
    let update = || Act::Update {
        table: tip(),
        set: vec![],
        everything: true,
    };
    let strong = || alter_tip(TableChange::Catalog);
    let long = (WARNING, "long-work-under-lock");
    let all = (WARNING, "update-in-one-statement");
    assert_eq!(rules(vec![Act::Begin, strong(), update()]), [long, all]);
    assert_eq!(rules(vec![strong(), update()]), [all]);
    assert_eq!(
        rules(vec![Act::Begin, strong(), Act::Commit, update()]),
        [all]
    );
}

#[test]
fn a_size_is_told_as_a_person_would() {
    let table = &facts().tables[0];
    assert_eq!(table.size(), "about 1,234,567 rows, 400 MB");
    assert_eq!(table.time(false), "some 2 seconds");
}
