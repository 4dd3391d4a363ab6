//! Indexes, keys and checks of the old column that the new column gets as well.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::column_change::{ColumnChange, Dependent, NewColumn, exchange_name};
use crate::model::ddl_change::{DdlChange, FkAction, KeyTraits};
use crate::model::layout::TargetIndex;
use crate::model::shape::{ForeignKey, IndexColumn, Shape, TableIndex};

/// Pairs of old column and new column, for old columns of one table that one new column replaces.
pub type Replacements<'a> = [(&'a Ident, &'a NewColumn)];

pub fn list_replacements(all: &[ColumnChange], relation: u32) -> Vec<(&Ident, &NewColumn)> {
    all.iter()
        .filter(|r| r.relation == relation && r.columns.len() == 1)
        .filter_map(|r| Some((&r.replaces.as_ref()?.name, r.leader())))
        .collect()
}

/// Whether this column takes the dependent over: the first of the new columns does, and the copy includes all new columns.
fn is_mine(c: &NewColumn, replacements: &Replacements, has: impl Fn(&Ident) -> bool) -> bool {
    let first = replacements.iter().find(|(old, _)| has(old));
    first.is_some_and(|(_, heir)| heir.id == c.id)
}

/// Returns all dependents of a new column. `taken`: names of relations in the schema and of constraints of the table. Indexes
/// that use an old column other than as a plain key or INCLUDE column are not among them: preflight reports those.
pub fn plan_dependents(
    shape: &Shape,
    c: &NewColumn,
    replacements: &Replacements,
    taken: &mut Vec<Ident>,
) -> Vec<Dependent> {
    let mut all = Vec::new();
    for i in shape
        .indexes
        .iter()
        .filter(|i| is_mine(c, replacements, |old| moves(i, old)))
    {
        let name = free(
            renamed_all(&i.name, replacements, |old| moves(i, old)),
            taken,
        );
        all.push(index_of(shape, i, replacements, name));
    }
    for k in shape
        .fkeys
        .iter()
        .filter(|k| is_mine(c, replacements, |old| k.columns.contains(old)))
    {
        let name = renamed_all(&k.name, replacements, |old| k.columns.contains(old));
        all.push(key_of(k, replacements, free(name, taken)));
    }
    if c.not_null {
        let name = free(
            Ident::derive(&["mig", &c.id.to_string(), "not_null"]),
            taken,
        );
        all.push(Dependent {
            change: DdlChange::Check {
                name,
                expression: format!("{} IS NOT NULL", c.name),
            },
            unique: None,
            initially_deferred: false,
            not_null: true,
            comment: None,
        });
    }
    all
}

/// Returns the name with the names of all replaced columns that it uses exchanged.
pub fn renamed_all(
    name: &Ident,
    replacements: &Replacements,
    has: impl Fn(&Ident) -> bool,
) -> Ident {
    replacements
        .iter()
        .filter(|(old, _)| has(old))
        .fold(name.clone(), |name, (old, heir)| {
            exchange_name(&name, old, &heir.name)
        })
}

fn find_replacement<'a>(replacements: &Replacements<'a>, old: &Ident) -> Option<&'a NewColumn> {
    replacements
        .iter()
        .find(|(o, _)| *o == old)
        .map(|(_, h)| *h)
}

fn rename_columns(replacements: &Replacements, columns: &[Ident]) -> Vec<Ident> {
    let one =
        |x: &Ident| find_replacement(replacements, x).map_or_else(|| x.clone(), |h| h.name.clone());
    columns.iter().map(one).collect()
}

/// Whether the index is valid, no primary key or exclusion constraint, and has the old column as a plain column.
pub fn moves(i: &TableIndex, old: &Ident) -> bool {
    i.valid
        && !i.primary
        && !i.exclusion
        && (i.columns.iter().any(|c| c.name.as_ref() == Some(old)) || i.include.contains(old))
}

/// Returns an unused name and adds it to `taken`.
pub fn free(name: Ident, taken: &mut Vec<Ident>) -> Ident {
    let mut chosen = name.clone();
    for n in 1.. {
        if !taken.contains(&chosen) {
            break;
        }
        chosen = Ident::derive(&[name.as_str(), &n.to_string()]);
    }
    taken.push(chosen.clone());
    chosen
}

fn index_of(shape: &Shape, i: &TableIndex, replacements: &Replacements, name: Ident) -> Dependent {
    let column = |x: &IndexColumn| {
        let Some((old, heir)) = x
            .name
            .as_ref()
            .and_then(|n| Some((n, find_replacement(replacements, n)?)))
        else {
            return x.clone();
        };
        let same_type = shape.column(old).map(|o| &o.type_text) == Some(&heir.type_text);
        IndexColumn {
            name: Some(heir.name.clone()),
            text: heir.name.to_string(),
            // Another type needs another operator class; only the order is kept.
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
        include: rename_columns(replacements, &i.include),
        predicate: i.predicate.clone(),
        options: i.options.clone(),
        tablespace: None,
        comment: None,
        statistics: Vec::new(),
    };
    Dependent {
        change: DdlChange::Index {
            name,
            index: Some(Box::new(made)),
        },
        unique: i.constraint.then_some(i.deferrable),
        initially_deferred: i.initially_deferred,
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

fn key_of(k: &ForeignKey, replacements: &Replacements, name: Ident) -> Dependent {
    Dependent {
        change: DdlChange::ForeignKey {
            name,
            columns: rename_columns(replacements, &k.columns),
            references: k.ref_name.clone(),
            ref_columns: k.ref_columns.clone(),
            on_delete: FkAction::from_code(&k.on_delete),
            on_update: FkAction::from_code(&k.on_update),
            traits: KeyTraits {
                match_full: k.match_full,
                deferrable: k.deferrable,
                initially_deferred: k.initially_deferred,
                set_columns: rename_columns(replacements, &k.set_columns),
                not_valid: !k.validated,
            },
        },
        unique: None,
        initially_deferred: false,
        not_null: false,
        comment: k.comment.clone(),
    }
}

/// Turns the built index into a UNIQUE constraint; None if it stays an index, or is none.
pub fn attach(table: &QualifiedName, late: &Dependent) -> Option<String> {
    let deferred = match (late.unique?, late.initially_deferred) {
        (false, _) => "",
        (true, false) => " DEFERRABLE",
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
    };
    let name = late.change.name();
    Some(format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferred}"
    ))
}

pub fn comment(table: &QualifiedName, late: &Dependent) -> Option<String> {
    let text = Literal(late.comment.as_ref()?);
    let name = late.change.name();
    Some(match (&late.change, late.unique) {
        (DdlChange::Index { .. }, None) => format!(
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

/// `grantee` is a quoted name, or PUBLIC.
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
