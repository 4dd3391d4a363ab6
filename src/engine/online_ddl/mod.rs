//! Constraints and indexes without blocking, each by a job of its own: the requests.

pub mod control;
pub mod work;

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::ddl_change::{DdlChange, DdlState, FkAction, KeyTraits};
use crate::model::did_you_mean;
use crate::model::shape::Shape;
use crate::pg::notice::notice;
use crate::pg::worker_launch::{self, WorkerRole};
use crate::pg::{catalog, expression, guc, parse, state, tx};
use crate::sqlgen::{ddl as sql, index};
use crate::steps::ddl as step;
use crate::store::{ddl_job, migration};
use pgrx::pg_sys::Oid;

/// A foreign key, as given in the function's arguments.
pub struct ForeignKeyArguments<'a> {
    pub name: &'a str,
    pub columns: Vec<String>,
    pub references: Oid,
    pub ref_columns: Vec<String>,
    pub on_delete: &'a str,
    pub on_update: &'a str,
}

/// Returns the job's id; None if the column is NOT NULL already.
pub fn set_not_null(relation: Oid, column: &str, path: &str) -> Result<Option<i64>> {
    let shape = require_own_table(relation)?;
    let column = column_of(&shape, column)?;
    begin(&shape, DdlChange::NotNull { column }, path)
}

/// Returns the job's id; None if the constraint exists and is valid.
pub fn add_check(relation: Oid, name: &str, expression: &str, path: &str) -> Result<Option<i64>> {
    let shape = require_own_table(relation)?;
    {
        let _path = guc::search_path(path);
        let checked = expression::check(
            shape.owner.into(),
            name,
            expression,
            &shape.name.to_string(),
        )?;
        if checked.type_text != "boolean" {
            return Err(Error::bad_expression(
                name.to_owned(),
                None,
                format!("Its type is {}, not boolean.", checked.type_text),
                "A CHECK is a condition over the row's columns.".into(),
            ));
        }
    }
    let change = DdlChange::Check {
        name: Ident::new(name),
        expression: expression.to_owned(),
    };
    begin(&shape, change, path)
}

/// Returns the job's id; None if the key exists and is valid.
pub fn add_foreign_key(
    relation: Oid,
    key: &ForeignKeyArguments,
    path: &str,
) -> Result<Option<i64>> {
    let shape = require_own_table(relation)?;
    let parent = catalog::shape(key.references)?
        .ok_or_else(|| catalog::missing_table("the referenced table"))?;
    if key.columns.is_empty() || key.columns.len() != key.ref_columns.len() {
        return Err(Error::invalid(
            "columns and ref_columns do not match".into(),
            format!(
                "{} columns refer to {}.",
                key.columns.len(),
                key.ref_columns.len()
            ),
            "Give as many of the one as of the other, in one order.".into(),
        ));
    }
    let names = |shape: &Shape, columns: &[String]| {
        columns
            .iter()
            .map(|c| column_of(shape, c))
            .collect::<Result<Vec<_>>>()
    };
    let ref_columns = names(&parent, &key.ref_columns)?;
    require_unique(&parent, &ref_columns)?;
    let change = DdlChange::ForeignKey {
        name: Ident::new(key.name),
        columns: names(&shape, &key.columns)?,
        references: parent.name.clone(),
        ref_columns,
        on_delete: known_action(key.on_delete)?,
        on_update: known_action(key.on_update)?,
        traits: KeyTraits::default(),
    };
    begin(&shape, change, path)
}

/// Returns the job's id; None if the index exists and is valid.
pub fn create_index(statement: &str, path: &str) -> Result<Option<i64>> {
    let given = {
        let _path = guc::search_path(path);
        parse::index::read(statement)?
    };
    let shape = require_own_table(given.table)?;
    let index = step::analysed_index(&shape, &given, statement, path)?;
    let change = DdlChange::Index {
        name: given.name,
        index: Some(Box::new(index)),
    };
    begin(&shape, change, path)
}

fn known_action(text: &str) -> Result<FkAction> {
    FkAction::parse(text).ok_or_else(|| {
        Error::invalid(
            format!("unknown action \"{text}\""),
            "The actions are NO ACTION, RESTRICT, CASCADE, SET NULL and SET DEFAULT.".into(),
            "Leave it out for NO ACTION.".into(),
        )
    })
}

fn require_unique(parent: &Shape, columns: &[Ident]) -> Result<()> {
    let serves = parent.indexes.iter().any(|i| {
        let names: Vec<&Ident> = i.columns.iter().filter_map(|c| c.name.as_ref()).collect();
        i.unique
            && i.valid
            && i.predicate.is_none()
            && names.len() == i.columns.len()
            && names.len() == columns.len()
            && columns.iter().all(|c| names.contains(&c))
    });
    if serves {
        return Ok(());
    }
    let list = crate::ident::list(columns);
    Err(Error::sql(
        pgrx::PgSqlErrorCode::ERRCODE_INVALID_FOREIGN_KEY,
        format!(
            "no unique index of {} is over exactly these columns",
            parent.name.plain()
        ),
        Some(format!(
            "A foreign key refers to a key. Make one first: CREATE UNIQUE INDEX … ON {} ({list});",
            parent.name
        )),
    ))
}

/// Returns the shape of an ordinary table of the caller.
fn require_own_table(relation: Oid) -> Result<Shape> {
    let shape = catalog::shape(relation)?.ok_or_else(|| catalog::missing_table("the table"))?;
    if shape.kind != "r" {
        let partitioned = shape.kind == "p";
        return Err(Error::not_supported(
            format!("a constraint or index job for {}", shape.name.plain()),
            if partitioned {
                "It is partitioned: the statements have to be given for its partitions.".into()
            } else {
                "It is no ordinary table.".into()
            },
            if partitioned {
                format!(
                    "SELECT relid FROM pg_partition_tree({}) WHERE isleaf;",
                    crate::ident::Literal(&shape.name.to_string())
                )
            } else {
                "Give an ordinary table.".into()
            },
        ));
    }
    migration::require_owner_of(&shape)?;
    Ok(shape)
}

fn column_of(shape: &Shape, name: &str) -> Result<Ident> {
    let names: Vec<&str> = shape.columns.iter().map(|c| c.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(Ident::new(name));
    }
    Err(Error::no_such_column(
        shape.name.plain(),
        name.to_owned(),
        did_you_mean::nearest(name, names.iter().copied()).map(str::to_owned),
    ))
}

/// Starts a job for the change, or returns the one that works on it.
fn begin(shape: &Shape, wanted: DdlChange, path: &str) -> Result<Option<i64>> {
    if step::is_made(shape.oid, &shape.name, &wanted)? {
        notice(&format!(
            "{} of {} is there already",
            wanted.describe(),
            shape.name.plain()
        ));
        return Ok(None);
    }
    if let Some(open) = ddl_job::open(shape.oid, &wanted)? {
        if open.change != wanted {
            return Err(Error::sql(
                pgrx::PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
                format!("job {} makes another {}", open.id, wanted.describe()),
                Some(format!(
                    "End it first: SELECT mig_cancel({}); or give yours another name.",
                    open.id
                )),
            ));
        }
        if at_work(open.id)? {
            notice(&format!("job {} is at it already", open.id));
            return Ok(Some(open.id));
        }
        ddl_job::reopen(open.id, path)?;
        start(open.id, &shape.name, &wanted);
        return Ok(Some(open.id));
    }
    if let DdlChange::Check { name, .. } | DdlChange::ForeignKey { name, .. } = &wanted
        && step::is_valid(shape.oid, name)?.is_some()
    {
        return Err(Error::sql(
            pgrx::PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            format!(
                "constraint \"{}\" of {} exists, and is not valid",
                name.as_str(),
                shape.name.plain()
            ),
            Some(format!(
                "Whether it is the same is not known. Prove it: {}; or drop it first.",
                sql::validate(&shape.name, name)
            )),
        ));
    }
    let id = ddl_job::insert(shape.oid, &wanted, path)?;
    start(id, &shape.name, &wanted);
    Ok(Some(id))
}

fn at_work(id: i64) -> Result<bool> {
    Ok(state::value::<bool>(
        "SELECT EXISTS (SELECT FROM mig.jobs WHERE id = $1 AND at_work)",
        &[id.into()],
    )? == Some(true))
}

/// Starts the worker at the commit. Without a free slot the job ends, and a NOTICE lists the statements.
fn start(id: i64, table: &QualifiedName, wanted: &DdlChange) {
    let statements = match wanted {
        DdlChange::Index { index, .. } => {
            let build = index.as_deref().map(|i| index::create(table, i, true));
            build.into_iter().collect()
        }
        // The CHECK that proves NOT NULL has no name of its own.
        DdlChange::NotNull { .. } => {
            sql::by_hand(table, &Ident::new(format!("mig_job_{id}")), wanted)
        }
        named => sql::by_hand(table, named.name(), named),
    };
    let label = format!("{} {}", wanted.kind(), table.name.as_str());
    worker_launch::at_commit(id, WorkerRole::Changes, &label, move || {
        let ended = tx::subtransaction(|| {
            ddl_job::give_up(id, DdlState::Failing, Some("no worker slot is free"))?;
            ddl_job::end(id, DdlState::Failed)
        });
        let known = if ended.is_ok() {
            ""
        } else {
            " (and could not say so)"
        };
        notice(&format!(
            "no worker slot is free, job {id} ends{known}; do it by hand, each statement on its own: {};",
            statements.join("; ")
        ));
    });
}
