//! What a role may see of tables, as PostgreSQL checks before it shows a row that a constraint refuses.

use super::error_context::VisibleParts;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Incremented when a role or a role membership changes.
    static ROLES: Cell<u32> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The writing role and what it may see of some tables, cached while the role stays the same. The owner of this value watches for
/// changes of rights on the tables themselves.
#[derive(Default)]
pub struct WritingRole {
    known: Cell<Option<(pg_sys::Oid, u32, VisibleParts)>>,
}

impl WritingRole {
    /// Returns what `role` may see of an error that rows of these tables cause.
    pub fn visible_parts(&self, role: pg_sys::Oid, tables: &[pg_sys::Oid]) -> VisibleParts {
        match self.known.get() {
            Some((known, roles, shows)) if known == role && roles == ROLES.get() => shows,
            _ => self.look(role, tables),
        }
    }

    fn look(&self, role: pg_sys::Oid, tables: &[pg_sys::Oid]) -> VisibleParts {
        register();
        let roles = ROLES.get();
        // SAFETY: a look-up in the session's catalog caches, inside a transaction.
        let shows = if unsafe { pg_sys::superuser_arg(role) } {
            VisibleParts::Everything
        } else if tables.iter().all(|t| may_read(role, *t)) {
            VisibleParts::Rows
        } else {
            VisibleParts::Names
        };
        self.known.set(Some((role, roles, shows)));
        shows
    }
}

/// Checks whether the role may read every column of every row: no policy hides any row from it.
pub fn may_read(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    let (ok, all) = (
        pg_sys::AclResult::ACLCHECK_OK,
        pg_sys::AclMaskHow::ACLMASK_ALL,
    );
    let select = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
    let hides = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
    let mut gone = false;
    // SAFETY: look-ups in the session's catalog caches, inside a transaction.
    unsafe {
        pg_sys::check_enable_rls(table, role, true) != hides
            && (pg_sys::pg_class_aclcheck_ext(table, role, select, &mut gone) == ok
                || pg_sys::pg_attribute_aclcheck_all(table, role, select, all) == ok)
    }
}

fn register() {
    if !REGISTERED.replace(true) {
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
        ] {
            // SAFETY: the callback lives as long as the library, which is never unloaded.
            unsafe {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(forget_roles), 0.into());
            }
        }
    }
}

#[pg_guard]
extern "C-unwind" fn forget_roles(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    ROLES.set(ROLES.get().wrapping_add(1));
}
