//! Randomized tests of the rules: no rule may panic on any statement text, and each statement has at least one finding.

use super::statement::{
    Act, BlockCheck, ColumnDefault, ColumnDefinition, ColumnType, Constraint, ConstraintRule,
    Dropped, LintStatement, Renamed, TableChange, TableLock, WrittenName,
};
use super::{Linter, MOST, MOST_OF_ONE, facts};
use crate::model::fixture::Random;

const WORDS: [&str; 12] = [
    "index", "İNDEX", "tip", "ü", "K", "'", "/* index", "*/", "$$", "漢", "--", "\n",
];

fn word(random: &mut Random) -> String {
    let length = 1 + random.next_below(3);
    (0..length)
        .map(|_| WORDS[random.next_below(WORDS.len())])
        .collect()
}

fn name(random: &mut Random) -> WrittenName {
    let schema = (random.next_below(3) == 0).then(|| word(random));
    WrittenName {
        schema,
        name: WORDS[random.next_below(5)].to_owned(),
    }
}

fn kind(random: &mut Random) -> ColumnType {
    let names = [
        "int4",
        "numeric",
        "varchar",
        "character varying",
        "bpchar",
        "json",
        "ü",
    ];
    let modifiers =
        (0..random.next_below(3)).map(|_| [i32::MIN, -1, 0, 10, i32::MAX][random.next_below(5)]);
    ColumnType {
        modifiers: modifiers.collect(),
        name: names[random.next_below(names.len())].into(),
        array: random.next_below(4) == 0,
    }
}

fn constraint(random: &mut Random) -> Constraint {
    let columns = vec![word(random)];
    let index = (random.next_below(2) == 0).then(|| word(random));
    let rule = match random.next_below(5) {
        0 => ConstraintRule::Check { not_null: index },
        1 => ConstraintRule::Unique { columns, index },
        2 => ConstraintRule::Primary { columns, index },
        3 => ConstraintRule::Foreign {
            columns,
            parent: name(random),
        },
        _ => ConstraintRule::Exclusion,
    };
    let name = (random.next_below(2) == 0).then(|| word(random));
    Constraint {
        name,
        rule,
        not_valid: random.next_below(2) == 0,
    }
}

fn column(random: &mut Random) -> ColumnDefinition {
    let default = ColumnDefault {
        calls: vec![word(random)],
        is_null: random.next_below(2) == 0,
    };
    ColumnDefinition {
        name: word(random),
        kind: kind(random),
        default: (random.next_below(2) == 0).then_some(default),
        not_null: random.next_below(2) == 0,
        numbered: random.next_below(4) == 0,
        computed: random.next_below(4) == 0,
        constraints: (0..random.next_below(3))
            .map(|_| constraint(random))
            .collect(),
    }
}

fn change(random: &mut Random) -> TableChange {
    match random.next_below(9) {
        0 => TableChange::AddColumn(column(random)),
        1 => TableChange::DropColumn { name: word(random) },
        2 => TableChange::ColumnType {
            column: WORDS[random.next_below(5)].into(),
            to: kind(random),
            using: random.next_below(2) == 0,
        },
        3 => TableChange::SetNotNull {
            column: word(random),
        },
        4 => TableChange::Add(constraint(random)),
        5 => TableChange::Validate {
            constraint: word(random),
        },
        6 => TableChange::Attach {
            partition: name(random),
        },
        7 => TableChange::Detach {
            concurrently: random.next_below(2) == 0,
        },
        _ => TableChange::Rewrite { what: "SET LOGGED" },
    }
}

fn act(random: &mut Random) -> Act {
    let table = name(random);
    let concurrently = random.next_below(2) == 0;
    match random.next_below(14) {
        0 => Act::Begin,
        1 => Act::Commit,
        2 => Act::AlterTable {
            table,
            lock: TableLock::AccessExclusive,
            changes: (0..random.next_below(4)).map(|_| change(random)).collect(),
        },
        3 => Act::CreateIndex {
            table,
            name: None,
            concurrently,
            if_not_exists: random.next_below(2) == 0,
        },
        4 => Act::Drop {
            what: Dropped::Index,
            names: vec![table],
            concurrently,
            cascade: true,
        },
        5 => Act::Rename {
            what: Renamed::Column,
            table,
            from: Some(word(random)),
            to: word(random),
        },
        6 => Act::Update {
            table,
            set: vec![(word(random), vec![word(random)])],
            everything: concurrently,
        },
        7 => Act::Function {
            body: word(random),
            language: "plpgsql".into(),
            procedure: false,
        },
        8 => Act::Do {
            body: word(random),
            language: "plpgsql".into(),
            checked: BlockCheck::Fine,
        },
        9 => Act::Invalid {
            message: word(random),
        },
        10 => Act::AlterEnum {
            added: concurrently.then(|| word(random)),
        },
        11 => Act::Reindex {
            table: Some(table),
            index: None,
            concurrently,
        },
        12 => Act::CreateTable {
            table,
            temporary: false,
            columns: vec![column(random)],
            constraints: vec![constraint(random)],
            partition_of: concurrently.then(|| name(random)),
        },
        _ => Act::Other,
    }
}

fn random_facts(random: &mut Random) -> facts::LintFacts {
    let column = |name: &&str| facts::ColumnFact {
        name: (*name).into(),
        base: "numeric".into(),
        modifier: i32::MIN,
        not_null: false,
    };
    let table = facts::TableFact {
        schema: None,
        name: "tip".into(),
        rows: i64::MAX,
        bytes: [i64::MAX, 0][random.next_below(2)],
        columns: WORDS.iter().map(column).collect(),
        checked_not_null: vec![],
        index_of: Some("ü".into()),
        referred_by: vec!["漢".into()],
    };
    facts::LintFacts {
        tables: vec![table],
        volatile: vec!["ü".into()],
        ..facts::LintFacts::default()
    }
}

#[test]
fn each_statement_has_its_lines_whatever_it_says() {
    let mut random = Random::new(5);
    for _ in 0..500 {
        let mut linter = Linter::default();
        linter.learn(random_facts(&mut random));
        for line in 1..60 {
            let (text, act) = (format!("CREATE {}", word(&mut random)), act(&mut random));
            assert!(linter.read(&LintStatement {
                line,
                text,
                tag: "SQL".into(),
                act
            }));
        }
        let found = linter.findings();
        assert!((1..60).all(|n| found.iter().any(|f| f.line == n)));
    }
}

#[test]
fn findings_have_an_end() {
    let mut linter = Linter::default();
    linter.learn(random_facts(&mut Random::new(6)));
    let changes = (0..1000)
        .map(|_| TableChange::DropColumn { name: "c".into() })
        .collect();
    let table = WrittenName {
        schema: None,
        name: "tip".into(),
    };
    let act = Act::AlterTable {
        table,
        lock: TableLock::AccessExclusive,
        changes,
    };
    let text = "ü".repeat(100_000);
    let many = LintStatement {
        line: 1,
        text,
        tag: "SQL".into(),
        act,
    };
    let read = (0..2000).take_while(|_| linter.read(&many)).count();
    let found = linter.findings();
    assert_eq!(read, MOST.div_ceil(MOST_OF_ONE + 1));
    assert_eq!(found.last().map(|f| f.rule), Some("more-findings"));
    assert_eq!(found[MOST_OF_ONE].rule, "more-findings");
    assert!(found[0].statement.len() < 11_000);
}
