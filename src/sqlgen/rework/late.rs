//! What the new column gets of what the old one has: indexes, keys, checks.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::change::Change;
use crate::model::layout::TargetIndex;
use crate::model::rework::{Late, NewColumn, Replaced, renamed};
use crate::model::shape::{ForeignKey, Index, IndexColumn, Shape};
use crate::sqlgen::index;

/// All of it, for a column that takes the place of `old`. `taken`: names that relations of the schema have, and constraints of
/// the table. Indexes that have more of the old column than a plain key or INCLUDE column are not among them: preflight has
/// refused those.
pub fn of(
    shape: &Shape,
    c: &NewColumn,
    old: Option<&Replaced>,
    taken: &mut Vec<Ident>,
) -> Vec<Late> {
    let mut all = Vec::new();
    if let Some(old) = old {
        let same_type = shape.column(&old.name).map(|o| &o.type_text) == Some(&c.type_text);
        for i in shape.indexes.iter().filter(|i| moves(i, &old.name)) {
            let name = free(renamed(&i.name, &old.name, &c.name), taken);
            all.push(index_of(shape, i, c, &old.name, same_type, name));
        }
        for k in shape.fkeys.iter().filter(|k| k.columns.contains(&old.name)) {
            let name = free(renamed(&k.name, &old.name, &c.name), taken);
            all.push(key_of(k, &old.name, c, name));
        }
    }
    if c.not_null {
        let name = free(
            Ident::derived(&["mig", &c.id.to_string(), "not_null"]),
            taken,
        );
        all.push(Late {
            change: Change::Check {
                name,
                expression: format!("{} IS NOT NULL", c.name),
            },
            unique: None,
            not_null: true,
            comment: None,
        });
    }
    all
}

/// The index is valid, no key or exclusion constraint, and names the old column plainly.
pub fn moves(i: &Index, old: &Ident) -> bool {
    i.valid
        && !i.primary
        && !i.exclusion
        && (i.columns.iter().any(|c| c.name.as_ref() == Some(old)) || i.include.contains(old))
}

/// A name that nothing has, and that is taken from now on.
pub fn free(name: Ident, taken: &mut Vec<Ident>) -> Ident {
    let mut chosen = name.clone();
    for n in 1.. {
        if !taken.contains(&chosen) {
            break;
        }
        chosen = Ident::derived(&[name.as_str(), &n.to_string()]);
    }
    taken.push(chosen.clone());
    chosen
}

fn index_of(
    shape: &Shape,
    i: &Index,
    c: &NewColumn,
    old: &Ident,
    same_type: bool,
    name: Ident,
) -> Late {
    let column = |x: &IndexColumn| {
        if x.name.as_ref() != Some(old) {
            return x.clone();
        }
        IndexColumn {
            name: Some(c.name.clone()),
            text: c.name.to_string(),
            // Another type has another operator class; the order stays.
            suffix: if same_type {
                x.suffix.clone()
            } else {
                order(&x.suffix)
            },
            equals: None,
        }
    };
    let made = TargetIndex {
        name: name.clone(),
        unique: i.unique,
        constraint: i.constraint,
        deferrable: i.deferrable,
        nulls_not_distinct: i.nulls_not_distinct,
        method: i.method.clone(),
        columns: i.columns.iter().map(column).collect(),
        include: i
            .include
            .iter()
            .map(|x| if x == old { c.name.clone() } else { x.clone() })
            .collect(),
        predicate: i.predicate.clone(),
        options: i.options.clone(),
        comment: None,
        statistics: Vec::new(),
    };
    Late {
        change: Change::Index {
            name,
            statement: index::create(&shape.name, &made, true),
        },
        unique: i.constraint.then_some(i.deferrable),
        not_null: false,
        comment: i.comment.clone(),
    }
}

fn order(suffix: &str) -> String {
    const WORDS: [&str; 5] = ["ASC", "DESC", "NULLS", "FIRST", "LAST"];
    let kept: Vec<&str> = suffix
        .split_whitespace()
        .filter(|w| WORDS.contains(w))
        .collect();
    kept.join(" ")
}

fn key_of(k: &ForeignKey, old: &Ident, c: &NewColumn, name: Ident) -> Late {
    let action = |code: &str| {
        match code {
            "r" => "RESTRICT",
            "c" => "CASCADE",
            "n" => "SET NULL",
            "d" => "SET DEFAULT",
            _ => "NO ACTION",
        }
        .to_owned()
    };
    let columns = k
        .columns
        .iter()
        .map(|x| if x == old { c.name.clone() } else { x.clone() });
    Late {
        change: Change::ForeignKey {
            name,
            columns: columns.collect(),
            references: k.ref_name.clone(),
            ref_columns: k.ref_columns.clone(),
            on_delete: action(&k.on_delete),
            on_update: action(&k.on_update),
        },
        unique: None,
        not_null: false,
        comment: k.comment.clone(),
    }
}

/// Turns the built index into the constraint that it stands for.
pub fn attach(table: &QualifiedName, name: &Ident, deferrable: bool) -> String {
    let late = if deferrable { " DEFERRABLE" } else { "" };
    format!("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{late}")
}

pub fn comment(table: &QualifiedName, late: &Late) -> Option<String> {
    let text = Literal(late.comment.as_ref()?);
    let name = late.change.name();
    Some(match (&late.change, late.unique) {
        (Change::Index { .. }, None) => format!(
            "COMMENT ON INDEX {} IS {text}",
            QualifiedName {
                schema: table.schema.clone(),
                name: name.clone()
            }
        ),
        _ => format!("COMMENT ON CONSTRAINT {name} ON {table} IS {text}"),
    })
}

pub fn comment_column(table: &QualifiedName, column: &Ident, text: &str) -> String {
    format!("COMMENT ON COLUMN {table}.{column} IS {}", Literal(text))
}

/// `grantee` is quoted, or PUBLIC.
pub fn grant(
    table: &QualifiedName,
    column: &Ident,
    privilege: &str,
    grantee: &str,
    grantable: bool,
) -> String {
    let more = if grantable { " WITH GRANT OPTION" } else { "" };
    format!("GRANT {privilege} ({column}) ON {table} TO {grantee}{more}")
}
