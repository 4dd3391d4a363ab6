//! Our own tables. They belong to the role that owns the extension's objects, and nobody else may write them, nor read them but
//! through views. Each statement here is one of ours, over our tables and pg_catalog: it runs as that role, with all names
//! pinned, in a security-restricted operation, and for no longer than it takes. Who may ask for it is decided before.

use crate::error::{Error, Result};
use crate::pg::guc::{self, SettingsGuard};
use crate::pg::role::{self, RoleGuard};
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, prepared, spi, tx};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use serde::de::DeserializeOwned;
use std::cell::Cell;

thread_local! {
    /// A transaction, and who owns our tables in it.
    static OWNER: Cell<(u32, Oid)> = const { Cell::new((0, Oid::INVALID)) };
}

/// Who owns our tables. Errors: 55000 where they are not the extension's: somebody dropped it and made tables of the same names.
pub fn owner() -> Result<Oid> {
    let (transaction, known) = OWNER.get();
    if transaction == tx::local_number() && known != Oid::INVALID {
        return Ok(known);
    }
    let found = look_up_owner().ok_or_else(|| Error::Sql {
        code: PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: "extension pg_mig is not installed in this database".into(),
        detail: Some("Its tables are gone, or do not belong to it.".into()),
    })?;
    OWNER.set((tx::local_number(), found));
    Ok(found)
}

fn look_up_owner() -> Option<Oid> {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pg_mig".as_ptr(), true);
        let schema = pg_sys::get_namespace_oid(c"mig".as_ptr(), true);
        let table = pg_sys::get_relname_relid(c"migration".as_ptr(), schema);
        let is_ours = |class, object| {
            object != Oid::INVALID && pg_sys::getExtensionOfObject(class, object) == extension
        };
        if extension == Oid::INVALID
            || !is_ours(pg_sys::NamespaceRelationId, schema)
            || !is_ours(pg_sys::RelationRelationId, table)
        {
            return None;
        }
        catalog::cached_owner(table)
    }
}

/// The class that our locks are of: the table of migrations, see `job_lock`.
pub fn lock_class() -> Oid {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mig".as_ptr(), true);
        pg_sys::get_relname_relid(c"migration".as_ptr(), schema)
    }
}

/// Fields are dropped in this order.
struct StateAccess {
    _names: Option<SettingsGuard>,
    _role: RoleGuard,
}

fn access() -> Result<StateAccess> {
    Ok(StateAccess {
        _role: role::act_restricted(owner()?),
        _names: guc::pin_names(),
    })
}

/// All rows of a query, each as one JSON object.
pub fn rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    let _access = access()?;
    spi::rows(sql, args)
}

/// Rows of a query whose one column is a JSON document already.
pub fn json_rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    let _access = access()?;
    spi::json_rows(sql, args)
}

/// The first row, if there is one.
pub fn first<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let _access = access()?;
    spi::first(sql, args)
}

/// The one value of a query of one row and one column.
pub fn value<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let _access = access()?;
    spi::value(sql, args)
}

/// Runs a statement; the number of rows it touched.
pub fn run(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    let _access = access()?;
    spi::run(sql, args)
}

/// Whether this transaction has written a row; `sql` gives its xmin as a bigint, for the row's id.
pub fn has_written(sql: &str, id: i64) -> Result<bool> {
    let writer: Option<i64> = value(sql, &[id.into()])?;
    Ok(writer
        .and_then(|w| u32::try_from(w).ok())
        .is_some_and(tx::is_ours))
}

/// As `first`, under the latest snapshot: see `plan::first_latest`.
pub fn first_latest<T: DeserializeOwned>(
    sql: &str,
    types: &[Oid],
    values: &mut [pg_sys::Datum],
) -> Result<Option<T>> {
    let _access = access()?;
    prepared::first_latest(sql, types, values)
}

/// As `first`, at a moment.
pub fn first_at<T: DeserializeOwned>(
    at: &Snapshot,
    sql: &str,
    args: &[DatumWithOid],
) -> Result<Option<T>> {
    let _access = access()?;
    at.first(sql, args)
}

/// Runs DDL in our schema. The text must hold nothing that a user wrote but quoted names.
pub fn define(sql: &str) -> Result<()> {
    run(sql, &[])?;
    Ok(())
}

/// Runs the DDL of triggers of ours on a relation. Only we may call their functions, so that PostgreSQL asks for no right of the
/// caller: that is done here, under the lock that the caller holds. Errors: 42501 unless he may do what the relation's owner may.
pub fn define_triggers(relation: Oid, statements: &[String]) -> Result<()> {
    role::require(catalog::owner_of(relation)?)?;
    statements.iter().try_for_each(|sql| define(sql))
}
