//! Look-ups in PostgreSQL's caches of its catalogs: they take no snapshot and run no SQL, so they return what is committed now, and
//! work in hooks.

use crate::ident::{Ident, QualifiedName};
use pgrx::FromDatum;
use pgrx::pg_sys::{self, Oid};

/// Returns the relation's current owner, whatever the transaction's snapshot; None where the relation is gone.
pub fn owner_of(relation: Oid) -> Option<Oid> {
    find_relation(relation).map(|r| r.owner)
}

/// A relation as it is now, whatever the transaction's snapshot.
pub struct RelationEntry {
    pub owner: Oid,
    /// The number of its columns, dropped ones included.
    pub columns: i16,
    /// It may be an ordinary table, a materialized view or a sequence, without children, and no policy filters its rows for the current
    /// role.
    pub may_be_passive: bool,
}

/// Returns None where the relation is gone.
pub fn find_relation(relation: Oid) -> Option<RelationEntry> {
    // SAFETY: a look-up inside a transaction.
    let policies = || unsafe {
        pg_sys::check_enable_rls(relation, Oid::INVALID, true)
            == pg_sys::CheckEnableRlsResult::RLS_ENABLED.cast_signed()
    };
    let read = |row: &pg_sys::FormData_pg_class| RelationEntry {
        owner: row.relowner,
        columns: row.relnatts,
        may_be_passive: matches!(row.relkind as u8, b'r' | b'm' | b'S' | b't')
            && !row.relhassubclass
            && !row.relispartition
            && !policies(),
    };
    // SAFETY: RELOID has rows of pg_class.
    unsafe { read_row(pg_sys::SysCacheIdentifier::RELOID, relation, read) }
}

/// Returns the function's owner; None where there is no such function.
pub fn function_owner(function: Oid) -> Option<Oid> {
    let read = |row: &pg_sys::FormData_pg_proc| row.proowner;
    // SAFETY: PROCOID has rows of pg_proc.
    unsafe { read_row(pg_sys::SysCacheIdentifier::PROCOID, function, read) }
}

/// Whether the function is an event trigger's and sets no search_path of its own.
pub fn is_event_trigger_without_path(function: Oid) -> bool {
    let read = |row: &pg_sys::FormData_pg_proc| row.prorettype;
    // SAFETY: PROCOID has rows of pg_proc.
    let returns = unsafe { read_row(pg_sys::SysCacheIdentifier::PROCOID, function, read) };
    returns == Some(pg_sys::EVENT_TRIGGEROID)
        && !settings_of(function)
            .iter()
            .any(|s| s.starts_with("search_path="))
}

/// Returns the settings of a function (`SET name = value`), each as name=value.
fn settings_of(function: Oid) -> Vec<String> {
    let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
    let column = pg_sys::Anum_pg_proc_proconfig as pg_sys::AttrNumber;
    // SAFETY: a catalog look-up inside a transaction; the array of text is copied before the row is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return Vec::new();
        }
        let mut is_null = false;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, column, &raw mut is_null);
        let found = Vec::<String>::from_datum(value, is_null);
        pg_sys::ReleaseSysCache(tuple);
        found.unwrap_or_default()
    }
}

/// Returns the type's owner; None where there is no such type.
pub fn type_owner(kind: Oid) -> Option<Oid> {
    let read = |row: &pg_sys::FormData_pg_type| row.typowner;
    // SAFETY: TYPEOID has rows of pg_type.
    unsafe { read_row(pg_sys::SysCacheIdentifier::TYPEOID, kind, read) }
}

/// Returns the type that a domain is directly over, which may be a domain; None where there is no such type.
pub fn domain_base(domain: Oid) -> Option<Oid> {
    let read = |row: &pg_sys::FormData_pg_type| row.typbasetype;
    // SAFETY: TYPEOID has rows of pg_type.
    unsafe { read_row(pg_sys::SysCacheIdentifier::TYPEOID, domain, read) }
}

/// Reads the fixed part of a catalog row; None where there is no such row.
///
/// # Safety
/// The rows of `cache` are of type `Row`.
unsafe fn read_row<Row, T>(
    cache: pg_sys::SysCacheIdentifier::Type,
    oid: Oid,
    read: impl FnOnce(&Row) -> T,
) -> Option<T> {
    // SAFETY: a catalog look-up inside a transaction; the row is read before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, pg_sys::Datum::from(oid));
        if tuple.is_null() {
            return None;
        }
        let row: *mut Row = pg_sys::GETSTRUCT(tuple).cast();
        let found = read(&*row);
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}

/// Whether the relation has a column of this name now.
pub fn has_column(relation: Oid, name: &Ident) -> bool {
    let Ok(name) = std::ffi::CString::new(name.as_str()) else {
        return false;
    };
    // SAFETY: a look-up inside a transaction; it returns 0 (InvalidAttrNumber) where there is none.
    unsafe { pg_sys::get_attnum(relation, name.as_ptr()) != 0 }
}

/// Returns the name of a relation, from the session's catalog cache; None if it is gone.
pub fn relation_name(oid: Oid) -> Option<QualifiedName> {
    // SAFETY: catalog look-ups inside a transaction; both return null or a C string in the current memory context.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return None;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        if schema.is_null() {
            return None;
        }
        let text = |s| std::ffi::CStr::from_ptr(s).to_string_lossy().into_owned();
        Some(QualifiedName::new(&text(schema), &text(name)))
    }
}

/// Returns the schema of pg_mig's own tables and functions, in which only the extension's owner can make any; None where there is none.
pub fn schema_of_extension() -> Option<Oid> {
    // SAFETY: a catalog look-up inside a transaction.
    let found = unsafe { pg_sys::get_namespace_oid(c"mig".as_ptr(), true) };
    (found != Oid::INVALID).then_some(found)
}

/// Returns the schema of a relation; None if the relation is gone.
pub fn schema_of(relation: Oid) -> Option<Oid> {
    // SAFETY: a catalog look-up inside a transaction.
    let found = unsafe { pg_sys::get_rel_namespace(relation) };
    (found != Oid::INVALID).then_some(found)
}

/// Returns the role's name unquoted; its oid where the role is gone.
pub fn role_name(role: Oid) -> String {
    // SAFETY: a catalog look-up that returns a C string, or null for a dropped role; the string is copied here.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_u32().to_string();
        }
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    }
}

/// Checks whether `member` has the privileges of `role` (INHERIT rules, superuser included).
pub fn has_privileges_of(member: Oid, role: Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}

/// Returns the role whose rights this backend has now.
pub fn current_role() -> Oid {
    // SAFETY: reads the current user of this backend.
    unsafe { pg_sys::GetUserId() }
}
