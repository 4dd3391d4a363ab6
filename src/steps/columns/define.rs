//! Definition of a column change: writes only a row of pg_mig, and refuses everything that is known not to work.

use crate::error::{About, Error, Result};
use crate::ident::{Ident, Literal};
use crate::model::column_change::ColumnChange;
use crate::model::did_you_mean;
use crate::model::records::Migration;
use crate::model::shape::Shape;
use crate::pg::expression::{self, CheckedExpression};
use crate::pg::{catalog, spi};
use crate::sqlgen::columns as sql;
use crate::store::new_column::{self, RequestedColumn};
use crate::store::{log, migration};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;

/// Arguments of `mig_add_column`.
pub struct ColumnArguments<'a> {
    pub relation: Oid,
    pub name: String,
    pub type_text: &'a str,
    pub up: &'a str,
    pub down: Option<&'a str>,
    pub column_default: Option<&'a str>,
    pub not_null: bool,
    pub replaces: Option<String>,
}

pub fn column(m: &Migration, asked: &ColumnArguments) -> Result<()> {
    m.require_defined()?;
    let shape = table(asked.relation)?;
    let all = new_column::list(m.id)?;
    free_name(&shape, &asked.name)?;
    let type_text = known_type(&shape, asked)?;
    let mutable = !check_up(&shape, asked, &type_text)?;
    let leader = leader(&shape, &all, asked)?;
    if let Some(text) = asked.column_default {
        expression::check_default(shape.owner.into(), &asked.name, text, &type_text)?;
    }
    new_column::insert(
        m.id,
        &RequestedColumn {
            relation: shape.oid,
            author: shape.owner.into(),
            name: &asked.name,
            type_text: &type_text,
            up: asked.up,
            down: asked.down,
            column_default: asked.column_default,
            not_null: asked.not_null,
            replaces: asked.replaces.as_deref(),
            mutable,
        },
        leader,
    )?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("mig_add_column {}.{}", shape.name.plain(), asked.name),
    )
}

/// Returns the shape of an ordinary table of the caller: not partitioned, not a partition, without inheritance.
fn table(relation: Oid) -> Result<Shape> {
    let shape = catalog::shape(relation)?.ok_or_else(|| catalog::missing_table("the table"))?;
    let unsupported = |detail: &str, hint: &str| {
        Err(Error::not_supported(
            format!("changing columns of {}", shape.name.plain()),
            detail.into(),
            hint.into(),
        ))
    };
    match shape.kind.as_str() {
        _ if shape.is_catalog => {
            return unsupported("It is a system table.", "Give an ordinary table.");
        }
        "r" if shape.persistence == "t" => {
            return unsupported("It is a temporary table.", "Give an ordinary table.");
        }
        "r" if !shape.is_partition && !is_inherited(relation)? => {}
        "r" | "p" => {
            return unsupported(
                "It is partitioned, a partition, or has parents or children: one ALTER TABLE would lock all of them.",
                "A leaf may move to a new table by itself, with mig_add_table; the parent as a whole cannot be changed so.",
            );
        }
        _ => return unsupported("It is no table.", "Give an ordinary table."),
    }
    migration::require_owner_of(&shape)?;
    Ok(shape)
}

fn is_inherited(relation: Oid) -> Result<bool> {
    let found = spi::value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE $1 IN (inhrelid, inhparent))",
        &[relation.into()],
    )?;
    Ok(found.unwrap_or(false))
}

fn free_name(shape: &Shape, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(
            "invalid column name".into(),
            "The name is empty.".into(),
            "Give the new column a name of its own.".into(),
        ));
    }
    if shape.column(&name.into()).is_some() {
        return Err(Error::sql(
            PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            format!("column \"{name}\" of {} exists", shape.name.plain()),
            Some(
                "The new column needs a name of its own; with the option take_names it gets the old one's at mig_archive.".into(),
            ),
        ));
    }
    match new_column::taken_by(shape.oid, name)? {
        Some(other) => Err(Error::invalid(
            format!("column \"{name}\" of {} is taken", shape.name.plain()),
            format!("Migration \"{other}\" adds it."),
            format!(
                "SELECT * FROM mig.columns WHERE migration = {};",
                Literal(&other)
            ),
        )),
        None => Ok(()),
    }
}

/// Returns the type as PostgreSQL writes it.
fn known_type(shape: &Shape, asked: &ColumnArguments) -> Result<String> {
    let text = format!("NULL::{}", asked.type_text);
    let checked = expression::check(
        shape.owner.into(),
        &asked.name,
        &text,
        &shape.name.to_string(),
    )?;
    let constrained = spi::value::<bool>(
        "SELECT t.typnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid) \
         FROM pg_catalog.pg_type t WHERE t.oid = $1::regtype AND t.typtype = 'd'",
        &[checked.type_text.as_str().into()],
    )?;
    if constrained == Some(true) {
        return Err(Error::not_supported(
            format!("a column of type {}", checked.type_text),
            "It is a domain with constraints: ADD COLUMN would read and write the whole table."
                .into(),
            "Give the type behind it, and what the domain demands with mig_add_check.".into(),
        ));
    }
    Ok(checked.type_text)
}

/// Checks `up`; returns whether it is immutable.
fn check_up(shape: &Shape, asked: &ColumnArguments, type_text: &str) -> Result<bool> {
    let checked = expression::check(
        shape.owner.into(),
        &asked.name,
        asked.up,
        &shape.name.to_string(),
    )?;
    fits(&asked.name, asked.up, &checked, type_text)?;
    let generated = |name: &&Ident| shape.column(name).is_some_and(|c| c.generated.is_some());
    if let Some(name) = checked.reads.iter().find(generated) {
        return Err(Error::not_supported(
            format!("\"up\" over the generated column \"{}\"", name.as_str()),
            "A trigger that fires before the row is written does not see its value yet.".into(),
            "Write its expression in place of it.".into(),
        ));
    }
    Ok(checked.immutable)
}

/// Checks that the value can be assigned to the type, and that nothing of it is cut off silently.
pub fn fits(column: &str, text: &str, checked: &CheckedExpression, type_text: &str) -> Result<()> {
    let cuts = ["character varying(", "character(", "bit varying(", "bit("];
    let given = &checked.type_text;
    let hint = || format!("Convert it yourself: ({text})::{type_text}");
    let bad = |detail: String| {
        Err(Error::bad_expression(
            column.to_owned(),
            None,
            detail,
            hint(),
        ))
    };
    if given == type_text {
        return Ok(());
    }
    if cuts.iter().any(|c| type_text.starts_with(c)) {
        return bad(format!(
            "It yields {given}; as {type_text} a longer value would be cut off."
        ));
    }
    if expression::assignable(given, type_text)? {
        return Ok(());
    }
    bad(format!("It yields {given}, and the column is {type_text}."))
}

/// Returns the first column that replaces the same one.
fn leader(shape: &Shape, all: &[ColumnChange], asked: &ColumnArguments) -> Result<Option<i32>> {
    let invalid = |message: &str, detail: String, hint: &str| {
        Err(Error::invalid(message.into(), detail, hint.into()))
    };
    let Some(old) = &asked.replaces else {
        if asked.down.is_some() {
            return invalid(
                "\"down\" without \"replaces\"",
                "down says what the old column becomes, and none is named.".into(),
                "Name it: replaces => 'old_column'.",
            );
        }
        return Ok(None);
    };
    let Some(column) = shape.column(&old.as_str().into()) else {
        return Err(Error::no_such_column(
            shape.name.plain(),
            old.clone(),
            did_you_mean::nearest(old, shape.column_names()).map(str::to_owned),
        ));
    };
    if column.generated.is_some() {
        return invalid(
            "the replaced column is generated",
            format!("\"{old}\" is computed from other columns; nothing writes it."),
            "Leave replaces out, and write its expression as up.",
        );
    }
    let mine = |r: &&ColumnChange| {
        r.relation == shape.oid && r.replaces.as_ref().is_some_and(|x| x.name.as_str() == old)
    };
    let first = all.iter().find(mine);
    match (first.and_then(|r| r.replaces.as_ref()), asked.down) {
        (None, None) => invalid(
            "\"replaces\" without \"down\"",
            format!(
                "What the new application writes would not reach \"{old}\", and there would be no way back."
            ),
            "Say what it becomes: down => 'an expression over the new column'.",
        ),
        (Some(known), Some(down)) if known.down != down => invalid(
            "two ways back",
            format!(
                "Another column that replaces \"{old}\" has down => {}.",
                Literal(&known.down)
            ),
            "Give the same text, or leave down out.",
        ),
        _ => {
            if let Some(down) = asked.down {
                down_fits(shape, all, asked, down, &column.type_text)?;
            }
            Ok(first.map(|r| r.id))
        }
    }
}

/// Checks `down` as far as possible: it may refer to columns that are added later; preflight checks it again.
fn down_fits(
    shape: &Shape,
    all: &[ColumnChange],
    asked: &ColumnArguments,
    down: &str,
    old_type: &str,
) -> Result<()> {
    let known = all.iter().filter(|r| r.relation == shape.oid);
    let mut more: Vec<(&Ident, &str)> = known
        .flat_map(|r| &r.columns)
        .map(|c| (&c.name, c.type_text.as_str()))
        .collect();
    let name = Ident::new(asked.name.as_str());
    more.push((&name, asked.type_text));
    match way_back(shape, &asked.name, down, &more, old_type) {
        // It may read a column that is added later.
        Err(e)
            if e.about() == About::Expression(Some(PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN)) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Checks `down` over the table as it will be with the columns of `more`.
pub fn way_back(
    shape: &Shape,
    column: &str,
    down: &str,
    more: &[(&Ident, &str)],
    old_type: &str,
) -> Result<()> {
    let checked = expression::check(
        shape.owner.into(),
        column,
        down,
        &sql::as_it_will_be(&shape.name, more),
    )?;
    fits(column, down, &checked, old_type)
}
