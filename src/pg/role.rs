//! Running as another role, the way foreign-key triggers do (ri_triggers.c): the security context forbids
//! SET ROLE inside, and an abort puts the old role back by itself.

use crate::ident::Ident;
use pgrx::pg_sys;

pub struct RoleGuard {
    user: pg_sys::Oid,
    context: i32,
}

/// Until the guard is dropped, permission checks are made as `role`, and FORCE ROW LEVEL SECURITY does not
/// hide the owner's own rows.
pub fn act_as(role: pg_sys::Oid) -> RoleGuard {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both functions only read and write this backend's current user; the guard restores it.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
    }
    RoleGuard { user, context }
}

impl Drop for RoleGuard {
    fn drop(&mut self) {
        // While an ERROR unwinds, the (sub)transaction's abort restores the role.
        if !std::thread::panicking() {
            // SAFETY: restores what GetUserIdAndSecContext gave.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}

/// Whether a foreign key's action runs, or one of our own writes: only those set SECURITY_NOFORCE_RLS (ri_triggers.c).
pub fn acts_for_a_key() -> bool {
    // SAFETY: reads this backend's security context.
    unsafe { pg_sys::InNoForceRLSOperation() }
}

pub fn current() -> pg_sys::Oid {
    // SAFETY: reads the current user of this backend.
    unsafe { pg_sys::GetUserId() }
}

/// Its name, quoted.
pub fn name(role: pg_sys::Oid) -> String {
    // SAFETY: a catalog look-up that returns a C string, or null for a role that is gone; both are copied here.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_u32().to_string();
        }
        let name = std::ffi::CStr::from_ptr(name).to_string_lossy();
        Ident::new(name.into_owned()).to_string()
    }
}

/// Whether `member` may do what `role` may do (INHERIT rules, superuser included).
pub fn has_privileges_of(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}
