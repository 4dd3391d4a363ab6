//! Settings that pg_mig's statements depend on, pinned for as long as a guard lives.

use pgrx::pg_sys;
use std::ffi::CStr;

pub struct SettingsGuard {
    level: i32,
}

/// Settings for every internal statement: names resolve in pg_catalog only, temporary objects come last, and row-level security
/// raises an error instead of hiding rows. JIT is off: compiling pg_mig's statements takes longer than running them, by seconds
/// where planner settings make every plan look expensive; a check of a million rows is as fast without it.
pub const SAFE: [(&CStr, &CStr); 3] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"row_security", c"off"),
    (c"jit", c"off"),
];

/// Settings for keys, which are stored as text: that text must not depend on the settings of the sessions that write and read it.
pub const EXACT: [(&CStr, &CStr); 5] = [
    (c"datestyle", c"ISO, YMD"),
    (c"intervalstyle", c"postgres"),
    (c"timezone", c"UTC"),
    (c"extra_float_digits", c"1"),
    (c"bytea_output", c"hex"),
];

/// Settings for statements that find rows by tid, and related rows by key: a few index look-ups for each row, whatever the
/// statistics of recently empty tables say. Otherwise a batch may read a whole table for a thousand rows.
pub const BY_PLACE: [(&CStr, &CStr); 3] = [
    (c"enable_seqscan", c"off"),
    (c"enable_hashjoin", c"off"),
    (c"enable_mergejoin", c"off"),
];

/// Settings for another extension's table that shows each role its own rows.
pub const OWN_ROWS: [(&CStr, &CStr); 1] = [(c"row_security", c"on")];

/// Sets `settings` until the guard is dropped or the (sub)transaction aborts.
pub fn pin(settings: &[(&CStr, &CStr)]) -> SettingsGuard {
    // SAFETY: opens a GUC nesting level, which the guard closes; names and values are C strings.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        set(name, value);
    }
    SettingsGuard { level }
}

/// Tables that are made are the server's own heap, whatever the session's default is.
pub fn pin_heap() -> SettingsGuard {
    pin(&[(c"default_table_access_method", c"heap")])
}

/// While it lives, settings may be changed. When it is dropped, all of them are restored, whatever changed them
/// (AtEOXact_GUC(false), as ANALYZE does around users' functions).
pub struct Sandbox {
    level: i32,
}

pub fn sandbox() -> Sandbox {
    Sandbox {
        // SAFETY: opens a GUC nesting level, which the guard closes.
        level: unsafe { pg_sys::NewGUCNestLevel() },
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An abort restores the settings by itself.
        if !std::thread::panicking() {
            // SAFETY: closes the level opened by `sandbox`; guards are dropped innermost first.
            unsafe { pg_sys::AtEOXact_GUC(false, self.level) };
        }
    }
}

/// Refuses statements that write for as long as the enclosing sandbox lives.
pub fn forbid_writes() {
    set(c"transaction_read_only", c"on");
}

/// Keeps scans out of the cumulative statistics for as long as the enclosing sandbox lives.
pub fn count_no_scans() {
    // Only superusers may set it (PGC_SUSET), because it hides what a session does; this hides reads of our own.
    set_by(
        c"track_counts",
        c"off",
        pg_sys::GucContext::PGC_SUSET,
        pg_sys::GucAction::GUC_ACTION_SAVE,
    );
}

/// Whether the transaction may not write, rows' locks included.
pub fn is_read_only() -> bool {
    // SAFETY: reads a flag of this backend.
    unsafe { pg_sys::XactReadOnly }
}

/// Whether names resolve as `SAFE` says.
pub fn is_path_pinned() -> bool {
    // SAFETY: reads a global of this backend; the path is a C string once the server is up.
    unsafe {
        !pg_sys::namespace_search_path.is_null()
            && CStr::from_ptr(pg_sys::namespace_search_path) == SAFE[0].1
    }
}

/// Pins `SAFE`, unless the session has these settings already: saves setting three variables for each mirrored row.
pub fn pin_names() -> Option<SettingsGuard> {
    // SAFETY: reads two globals of this backend.
    let others = unsafe { !pg_sys::row_security && !pg_sys::jit_enabled };
    (!others || !is_path_pinned()).then(|| pin(&SAFE))
}

fn set(name: &CStr, value: &CStr) {
    // The old value is kept for the nesting level.
    let action = pg_sys::GucAction::GUC_ACTION_SAVE;
    set_by(name, value, pg_sys::GucContext::PGC_USERSET, action);
}

fn set_by(
    name: &CStr,
    value: &CStr,
    context: pg_sys::GucContext::Type,
    action: pg_sys::GucAction::Type,
) {
    // SAFETY: names and values are C strings; the context is that of the variable, so any role may set it from here.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            context,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

/// Sets a setting for the rest of the session, if the transaction commits. For processes of our own.
pub fn set_for_session(name: &CStr, value: &CStr) {
    let action = pg_sys::GucAction::GUC_ACTION_SET;
    set_by(name, value, pg_sys::GucContext::PGC_USERSET, action);
}

/// Returns `work_mem` in bytes.
pub fn work_mem() -> i64 {
    // SAFETY: reads a setting of this session.
    i64::from(unsafe { pg_sys::work_mem }) * 1024
}

/// Sets `lock_timeout` to `ms` milliseconds for the life of the guard.
pub fn lock_timeout(ms: i32) -> SettingsGuard {
    let value = std::ffi::CString::new(ms.to_string()).unwrap_or_default();
    pin(&[(c"lock_timeout", value.as_c_str())])
}

/// Returns the session's search_path.
pub fn own_search_path() -> String {
    // SAFETY: a setting of this backend, a C string once the server is up.
    unsafe {
        let path = pg_sys::namespace_search_path;
        if path.is_null() {
            return String::new();
        }
        CStr::from_ptr(path).to_string_lossy().into_owned()
    }
}

/// Returns the search_path that the session began with, which RESET brings back.
pub fn search_path_at_start() -> String {
    // SAFETY: the setting exists, and is a C string.
    unsafe {
        let path = pg_sys::GetConfigOptionResetString(c"search_path".as_ptr());
        if path.is_null() {
            return String::new();
        }
        CStr::from_ptr(path).to_string_lossy().into_owned()
    }
}

/// Sets search_path to a caller's path for the life of the guard.
pub fn search_path(path: &str) -> SettingsGuard {
    let value = std::ffi::CString::new(path).unwrap_or_default();
    pin(&[(c"search_path", value.as_c_str())])
}

impl SettingsGuard {
    /// Gives the nesting level to a frame that must have nothing to drop.
    pub fn into_level(self) -> i32 {
        let level = self.level;
        std::mem::forget(self);
        level
    }
}

/// Returns the guard of a level that `into_level` gave.
pub fn from_level(level: i32) -> SettingsGuard {
    SettingsGuard { level }
}

impl Drop for SettingsGuard {
    fn drop(&mut self) {
        // An abort restores the settings by itself.
        if !std::thread::panicking() {
            // SAFETY: closes the level opened by `pin`; guards are dropped innermost first.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}

/// Foreign keys of the tables that are written work, as long as the guard lives: in a session whose session_replication_role is `replica` none would.
pub fn pin_keys() -> Option<SettingsGuard> {
    is_replica().then(|| {
        let guard = pin(&[]);
        enforce_keys();
        guard
    })
}

/// The same for as long as the enclosing sandbox lives.
pub fn enforce_keys() {
    if is_replica() {
        // Only superusers may set it (PGC_SUSET), because it switches triggers off; this switches them on.
        set_by(
            c"session_replication_role",
            c"origin",
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucAction::GUC_ACTION_SAVE,
        );
    }
}

/// Whether session_replication_role is `replica`.
pub fn is_replica() -> bool {
    // SAFETY: reads a setting of this session.
    let role = unsafe { pg_sys::SessionReplicationRole };
    role == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32
}
