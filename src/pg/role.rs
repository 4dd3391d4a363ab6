//! Running as another role, the way foreign-key triggers do (ri_triggers.c): the security context forbids SET ROLE inside, and an
//! abort restores the old role by itself.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::pg::guc::{self, Sandbox};
pub use crate::pg::syscache::{
    current_role as current, has_privileges_of, role_name as plain_name,
};
use crate::pg::{spi, visible_parts};
use pgrx::{PgSqlErrorCode, pg_sys};

pub struct RoleGuard {
    user: pg_sys::Oid,
    context: i32,
}

/// Until the guard is dropped, permission checks are made as `role`, and FORCE ROW LEVEL SECURITY does not hide the owner's own
/// rows. For pg_mig's own statements only: functions of `role` that they call may leave something behind in the session, see
/// `confine`.
pub fn act_as(role: pg_sys::Oid) -> RoleGuard {
    switch(role, pg_sys::SECURITY_NOFORCE_RLS)
}

/// As `act_as`, in a security-restricted operation for every role.
pub fn act_restricted(role: pg_sys::Oid) -> RoleGuard {
    switch(role, pg_sys::SECURITY_RESTRICTED_OPERATION)
}

fn switch(role: pg_sys::Oid, flags: u32) -> RoleGuard {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both functions only read and write this backend's current user; the guard restores it.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | flags;
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
    }
    RoleGuard { user, context }
}

impl Drop for RoleGuard {
    fn drop(&mut self) {
        // While an ERROR unwinds, the (sub)transaction's abort restores the role.
        if !std::thread::panicking() {
            // SAFETY: restores the values that GetUserIdAndSecContext returned.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}

/// The role and the settings of `confine`. Fields are dropped in this order: settings first, as they were set last.
pub struct ConfinedRole {
    _settings: Sandbox,
    _role: RoleGuard,
}

/// Runs another role's code (its triggers, its functions in expressions, defaults and checks) with that role's rights, and leaves
/// nothing behind in the caller's session: no setting, no temporary table, no open cursor, no deferred trigger that would fire at
/// commit with the caller's rights. PostgreSQL's own commands that run other roles' functions do the same (security-restricted
/// operation; CVE-2020-25695). Foreign keys work, whatever the session's replication role is. Nothing is restricted where the session belongs to that role. Errors: 42501 where the caller lacks
/// the role's privileges: nothing runs with rights that the caller does not have.
pub fn confine(role: pg_sys::Oid) -> Result<ConfinedRole> {
    require(role)?;
    Ok(confine_for_key(role))
}

/// Errors with 42501 unless the caller has the role's privileges.
pub fn require(role: pg_sys::Oid) -> Result<()> {
    if has_privileges_of(current(), role) {
        return Ok(());
    }
    Err(Error::not_member(name(role), name(current())))
}

/// Errors with 42501 unless the caller may read the whole table.
pub fn require_reading(table: pg_sys::Oid, name: &QualifiedName) -> Result<()> {
    if visible_parts::may_read(current(), table) {
        return Ok(());
    }
    Err(Error::sql(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {}", name.plain()),
        Some(format!(
            "Role {} may not read every row of it.",
            self::name(current())
        )),
    ))
}

/// As `confine`, and the code that runs may only read. Its reads are not counted: who looks whether an old table is still in use must not find
/// pg_mig's own.
pub fn confine_reading(role: pg_sys::Oid) -> Result<ConfinedRole> {
    let confined = confine(role)?;
    guc::forbid_writes();
    guc::count_no_scans();
    Ok(confined)
}

/// As `confine`, for a role that the caller need not be a member of: what a foreign key does in the table that it refers to, as
/// that table's owner (ri_triggers.c). For statements that run no code of that role or of the caller.
pub fn confine_for_key(role: pg_sys::Oid) -> ConfinedRole {
    let restricted = if is_whole_session(role) {
        0
    } else {
        pg_sys::SECURITY_RESTRICTED_OPERATION
    };
    let confined = ConfinedRole {
        _role: switch(role, pg_sys::SECURITY_NOFORCE_RLS | restricted),
        _settings: guc::sandbox(),
    };
    guc::enforce_keys();
    confined
}

/// Whether the session's user has the rights of the role that this backend acts as now.
pub fn session_has_rights_of_current() -> bool {
    // SAFETY: reads the session's user of this backend.
    let user = unsafe { pg_sys::GetSessionUserId() };
    has_privileges_of(user, current())
}

/// Checks whether the session belongs to the role alone. A session that only switched to the role (SET ROLE, or a setting of the
/// database) could be switched back by the role's code, at commit at the latest.
pub fn is_whole_session(role: pg_sys::Oid) -> bool {
    // SAFETY: reads this backend's users.
    let session = unsafe { [pg_sys::GetSessionUserId(), pg_sys::GetAuthenticatedUserId()] };
    role == current() && session == [role; 2]
}

/// Resets the session to the role that it was opened as, so that no setting of a role or a database makes it another role's.
pub fn own_session() -> Result<()> {
    spi::run("SET SESSION AUTHORIZATION DEFAULT", &[])?;
    spi::run("SET ROLE NONE", &[])?;
    // SAFETY: reads this backend's user.
    if is_whole_session(unsafe { pg_sys::GetAuthenticatedUserId() }) {
        return Ok(());
    }
    Err(Error::internal("the session is another role's".into()))
}

/// Checks whether a foreign key's action or one of pg_mig's own writes is running: only those set SECURITY_NOFORCE_RLS
/// (ri_triggers.c).
pub fn acts_for_a_key() -> bool {
    // SAFETY: reads this backend's security context.
    unsafe { pg_sys::InNoForceRLSOperation() }
}

/// Returns the role's name, quoted.
pub fn name(role: pg_sys::Oid) -> String {
    Ident::new(plain_name(role)).to_string()
}
