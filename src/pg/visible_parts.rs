//! What a role may see of tables, as PostgreSQL asks before it tells of a row that a constraint refuses.

use super::error_context::VisibleParts;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Rises when a role, or what it is a member of, changes.
    static ROLES: Cell<u32> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The role that writes and what it may see of some tables, kept as long as it is the same one. Rights on the tables
/// themselves are the keeper's to watch.
#[derive(Default)]
pub struct WritingRole {
    known: Cell<Option<(pg_sys::Oid, u32, VisibleParts)>>,
}

impl WritingRole {
    /// What `role` sees of an error that rows of these tables make.
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

/// Whether the role may read every column of every row: no policy hides any from it.
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
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(changed), 0.into());
            }
        }
    }
}

#[pg_guard]
extern "C-unwind" fn changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    ROLES.set(ROLES.get().wrapping_add(1));
}
