//! The search_path that the application's own code sees where it runs inside statements of ours: functions in expressions, defaults, checks,
//! generated columns, indexes and domains. Most of them name objects without a schema. Our own statements are parsed under the pinned
//! path (`guc::SAFE`), so no name in them means something else; then they are planned and run under the migration's path.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::pg::guc::{self, SettingsGuard};
use crate::pg::{own_statement, syscache};
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgList, PgSqlErrorCode};
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::Rc;

thread_local! {
    static CURRENT: RefCell<Option<Rc<CStr>>> = const { RefCell::new(None) };
}

/// While it lives, the application's code sees this path. An ERROR that unwinds drops it, too.
pub struct PathGuard {
    outer: Option<Rc<CStr>>,
}

/// None: the code sees the pinned path.
pub fn enter(path: Option<Rc<CStr>>) -> PathGuard {
    PathGuard {
        outer: CURRENT.replace(path),
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        CURRENT.set(self.outer.take());
    }
}

/// Returns the path, for another process.
pub fn current() -> Option<String> {
    CURRENT.with_borrow(|path| path.as_ref().map(|p| p.to_string_lossy().into_owned()))
}

/// Sets search_path to the application's path until the guard is dropped, where there is one.
pub fn switch() -> Option<SettingsGuard> {
    let path = CURRENT.with_borrow(Clone::clone)?;
    Some(guc::pin(&[(c"search_path", &path)]))
}

/// Pins all settings for the application's code, for writes below SQL.
pub fn pin_for_code() -> (Option<SettingsGuard>, Option<SettingsGuard>) {
    // Dropped in this order.
    let safe = guc::pin_names();
    (switch(), safe)
}

/// As `switch`, if one of the relations is of a user. What reads only catalogs and our own tables prints names as under the pinned path.
pub fn switch_for(relations: impl IntoIterator<Item = Oid>) -> Option<SettingsGuard> {
    if CURRENT.with_borrow(Option::is_none) {
        return None;
    }
    let own = syscache::schema_of_extension();
    let of_user = |relation: Oid| {
        relation.to_u32() >= pg_sys::FirstNormalObjectId && syscache::schema_of(relation) != own
    };
    relations.into_iter().any(of_user).then(switch).flatten()
}

/// Sets search_path to the application's path until the guard is dropped, for a statement of ours over users' tables.
///
/// # Safety
/// The query is ready to start, or started.
pub unsafe fn switch_for_query(query: *mut pg_sys::QueryDesc) -> Option<SettingsGuard> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if !own_statement::is_text((*query).sourceText) {
            return None;
        }
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg((*(*query).plannedstmt).rtable);
        switch_for(tables.iter_ptr().map(|t| (*t).relid))
    }
}

/// Returns a path as it means schemas now: `"$user"` is the current role's, pg_temp comes last, and pg_catalog first, as by default. With
/// `strict`, each schema must exist. Errors: 22023 for what is no list of names, 3F000.
pub fn resolve(path: &str, strict: bool) -> Result<String> {
    let mut found: Vec<String> = Vec::new();
    for name in split(path)? {
        let name = match name.as_str() {
            "pg_catalog" | "pg_temp" => continue,
            "$user" => syscache::role_name(syscache::current_role()),
            _ => name,
        };
        let quoted = Ident::new(name.clone()).to_string();
        if schema_exists(&name)? {
            if !found.contains(&quoted) {
                found.push(quoted);
            }
        } else if strict && name != syscache::role_name(syscache::current_role()) {
            return Err(Error::sql(
                PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
                format!("schema {quoted} does not exist"),
                Some(format!("It is in search_path: {path}.")),
            ));
        }
    }
    found.push("pg_temp".into());
    Ok(found.join(", "))
}

fn schema_exists(name: &str) -> Result<bool> {
    let name = c_string(name)?;
    // SAFETY: a catalog look-up inside a transaction.
    Ok(unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) } != Oid::INVALID)
}

/// Returns the names in a path. Errors: 22023.
pub fn split(path: &str) -> Result<Vec<String>> {
    let text = c_string(path)?;
    // SAFETY: the text is a copy that the function may change; the names in the list are parts of it, and are copied out.
    unsafe {
        let copy = pg_sys::pstrdup(text.as_ptr());
        let mut list: *mut pg_sys::List = std::ptr::null_mut();
        let comma = b',' as std::ffi::c_char;
        if !pg_sys::SplitIdentifierString(copy, comma, &mut list) {
            return Err(Error::bad_option(
                "search_path".into(),
                format!("\"{path}\" is no list of schema names."),
                Some("Write names with commas between them: \"app, extensions\".".into()),
            ));
        }
        let names = PgList::<std::ffi::c_char>::from_pg(list);
        Ok(names
            .iter_ptr()
            .map(|n| CStr::from_ptr(n).to_string_lossy().into_owned())
            .collect())
    }
}

/// Returns the path as `enter` takes it.
pub fn to_c_string(path: &str) -> Result<Rc<CStr>> {
    Ok(Rc::from(c_string(path)?.as_c_str()))
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::internal("NUL in a search_path".into()))
}
