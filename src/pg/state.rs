//! pg_mig's own tables. They belong to the role that owns the extension's objects. No other role may write them, or read them
//! except through views. Each statement here is one of pg_mig's own, over its tables and pg_catalog: it runs as that role, with all
//! names pinned, in a security-restricted operation, and only for the length of the statement. Whether the caller may ask for it is
//! checked before.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::pg::application_path::{self, PathGuard};
use crate::pg::guc::{self, SettingsGuard};
use crate::pg::role::{self, RoleGuard};
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, prepared, spi, syscache, tx};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use serde::de::DeserializeOwned;
use std::cell::Cell;

thread_local! {
    /// A transaction, and the owner of pg_mig's tables in it.
    static OWNER: Cell<(u32, Oid)> = const { Cell::new((0, Oid::INVALID)) };
}

/// Returns the owner of pg_mig's tables. Errors: 55000 where they do not belong to the extension: it was dropped, and another role
/// made tables of the same names.
pub fn owner() -> Result<Oid> {
    let (transaction, known) = OWNER.get();
    if transaction == tx::local_number() && known != Oid::INVALID {
        return Ok(known);
    }
    let found = look_up_owner().ok_or_else(|| {
        Error::sql(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "extension pg_mig is not installed in this database".into(),
            Some("Its tables are gone, or do not belong to it.".into()),
        )
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
        syscache::owner_of(table)
    }
}

/// Returns the class oid of pg_mig's locks: the table of migrations, see `job_lock`.
pub fn lock_class() -> Oid {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mig".as_ptr(), true);
        pg_sys::get_relname_relid(c"migration".as_ptr(), schema)
    }
}

/// Access as the owner of the tables. Fields are dropped in this order.
struct StateAccess {
    _keys: Option<SettingsGuard>,
    _names: Option<SettingsGuard>,
    _role: RoleGuard,
    _path: PathGuard,
}

fn access() -> Result<StateAccess> {
    Ok(StateAccess {
        _role: role::act_restricted(owner()?),
        _names: guc::pin_names(),
        _keys: guc::pin_keys(),
        _path: application_path::enter(None),
    })
}

/// Returns all rows of a query, each as one JSON object.
pub fn rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    let _access = access()?;
    spi::rows(sql, args)
}

/// Returns the rows of a query whose one column is a JSON document already.
pub fn json_rows<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Vec<T>> {
    let _access = access()?;
    spi::json_rows(sql, args)
}

/// Returns the first row, if there is one.
pub fn first<T: DeserializeOwned>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let _access = access()?;
    spi::first(sql, args)
}

/// Returns the one value of a query of one row and one column.
pub fn value<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid]) -> Result<Option<T>> {
    let _access = access()?;
    spi::value(sql, args)
}

/// Runs a statement. Returns the number of rows that it touched.
pub fn run(sql: &str, args: &[DatumWithOid]) -> Result<i64> {
    let _access = access()?;
    spi::run(sql, args)
}

/// Checks whether this transaction has written a row. `sql` returns the xmin of the row with this id, as a bigint.
pub fn has_written(sql: &str, id: i64) -> Result<bool> {
    let writer: Option<i64> = value(sql, &[id.into()])?;
    Ok(writer
        .and_then(|w| u32::try_from(w).ok())
        .is_some_and(tx::is_ours))
}

/// As `first`, under the latest snapshot: see `prepared::first_latest`.
pub fn first_latest<T: DeserializeOwned>(
    sql: &str,
    types: &[Oid],
    values: &mut [pg_sys::Datum],
) -> Result<Option<T>> {
    let _access = access()?;
    prepared::first_latest(sql, types, values)
}

/// As `first_latest`, with a plan that the session keeps.
pub fn first_kept<T: DeserializeOwned>(
    kept: &prepared::KeptPlan,
    sql: &str,
    types: &[Oid],
    values: &mut [pg_sys::Datum],
) -> Result<Option<T>> {
    let _access = access()?;
    prepared::first_kept(kept, sql, types, values)
}

/// As `first`, under the given snapshot.
pub fn first_at<T: DeserializeOwned>(
    at: &Snapshot,
    sql: &str,
    args: &[DatumWithOid],
) -> Result<Option<T>> {
    let _access = access()?;
    at.first(sql, args)
}

/// Runs DDL in pg_mig's schema. The text must contain nothing that a user wrote except quoted names.
pub fn define(sql: &str) -> Result<()> {
    run(sql, &[])?;
    Ok(())
}

/// Runs the DDL of pg_mig's triggers on a relation. Only pg_mig's owner may call their functions, so PostgreSQL checks no right of
/// the caller. The check is made here, under the lock that the caller holds. Errors: 42501 unless the caller has the privileges of
/// the relation's owner.
///
/// The statements name the relation by `name`. It is looked at before each: code of a user that ran under the lock in this transaction can
/// have renamed a schema. Errors: 42P01 where the name has passed to another relation.
pub fn define_triggers(relation: Oid, name: &QualifiedName, statements: &[String]) -> Result<()> {
    role::require(catalog::owner_of(relation)?)?;
    for sql in statements {
        catalog::require_name(relation, name)?;
        define(sql)?;
    }
    Ok(())
}
