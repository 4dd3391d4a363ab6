//! Commands that must run at the top level (CREATE INDEX CONCURRENTLY), in a worker: SPI refuses them.

use crate::error::{Error, Result};
use crate::pg::{application_path, catch, guc, role};
use pgrx::pg_sys;
use std::ffi::{CString, c_char};

/// Runs, as `role`, one utility command that starts and commits transactions by itself. It runs as that role because its text may
/// call the role's functions, which see `path` as search_path; None for the pinned one. No transaction may be open before, and none is open afterwards, whether the command succeeded or not.
/// Errors: 42501 unless the current role has the privileges of `role`, as after a change of the table's owner.
pub fn run_top_level(sql: &str, role: pg_sys::Oid, path: Option<&str>) -> Result<()> {
    let text = CString::new(sql).map_err(|_| Error::internal("NUL in SQL text".into()))?;
    let mine = role::current();
    let outcome = catch::catch(|| {
        // SAFETY: no transaction is open, as this function requires.
        unsafe { execute(&text, role, path) }
    });
    // SAFETY: a transaction that an ERROR left open is aborted as the server's main loop would do. The abort restores the role that
    // the innermost transaction began with, which is the command's; so this process's own role is set again.
    unsafe {
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::SetUserIdAndSecContext(mine, 0);
    }
    outcome
}

/// # Safety
/// No transaction is open.
unsafe fn execute(text: &CString, role: pg_sys::Oid, path: Option<&str>) -> Result<()> {
    // SAFETY: the steps of exec_simple_query() in postgres.c for one utility statement. The parse tree and the parse state live in
    // a memory context of their own, because the command commits transactions while it runs.
    unsafe {
        pg_sys::StartTransactionCommand();
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_mig utility".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        role::require(role)?;
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if parsed.is_null() || (*parsed).length != 1 {
            return Err(Error::internal("not one statement".into()));
        }
        let statement = pg_sys::list_nth(parsed, 0) as *mut pg_sys::RawStmt;
        let plan = plan_utility(statement, text);
        if !role::is_whole_session(role) {
            let flags =
                pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
            pg_sys::SetUserIdAndSecContext(role, flags as i32);
        }
        resolve_index(plan, text);
        // For the session: the command commits transactions, and settings of one of them end with it.
        guc::set_for_session(c"search_path", &path_text(path)?);
        process(
            plan,
            text,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
        );
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::MemoryContextDelete(context);
    }
    Ok(())
}

fn path_text(path: Option<&str>) -> Result<CString> {
    let path = path.unwrap_or("pg_catalog, pg_temp");
    CString::new(path).map_err(|_| Error::internal("NUL in a search_path".into()))
}

unsafe extern "C-unwind" {
    /// parse_utilcmd.h, for which pgrx has no binding.
    fn transformIndexStmt(
        relation: pg_sys::Oid,
        statement: *mut pg_sys::IndexStmt,
        text: *const c_char,
    ) -> *mut pg_sys::IndexStmt;
}

/// Looks up the names in a CREATE INDEX under the pinned path: the functions that the build calls see another one.
///
/// # Safety
/// `plan` was made from `text`, in a transaction.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
unsafe fn resolve_index(plan: *mut pg_sys::PlannedStmt, text: &CString) {
    let _names = guc::pin_names();
    // SAFETY: guaranteed by the caller; the node's tag says what it is. The lock is that of ProcessUtilitySlow() (utility.c).
    unsafe {
        let statement = (*plan).utilityStmt;
        if (*statement).type_ != pg_sys::NodeTag::T_IndexStmt {
            return;
        }
        let index = statement.cast::<pg_sys::IndexStmt>();
        let mode = if (*index).concurrent {
            pg_sys::ShareUpdateExclusiveLock
        } else {
            pg_sys::ShareLock
        };
        let relation = pg_sys::RangeVarGetRelidExtended(
            (*index).relation,
            mode as i32,
            0,
            None,
            std::ptr::null_mut(),
        );
        let resolved = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            transformIndexStmt(relation, index, text.as_ptr())
        });
        (*plan).utilityStmt = resolved.cast();
    }
}

/// Runs CREATE INDEX inside the transaction. The functions that it calls see the application's search_path.
pub fn build_index(sql: &str) -> Result<()> {
    let text = CString::new(sql).map_err(|_| Error::internal("NUL in SQL text".into()))?;
    // SAFETY: inside a transaction; the text outlives the call.
    unsafe {
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if parsed.is_null() || (*parsed).length != 1 {
            return Err(Error::internal("not one statement".into()));
        }
        let plan = plan_utility(pg_sys::list_nth(parsed, 0).cast(), &text);
        resolve_index(plan, &text);
        let _path = application_path::switch();
        process(
            plan,
            &text,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY,
        );
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

/// Runs a utility statement inside the transaction.
///
/// # Safety
/// `statement` was parsed from `text`, and is a utility statement.
pub unsafe fn run_parsed(statement: *mut pg_sys::RawStmt, text: &CString) {
    // SAFETY: upheld by the caller.
    unsafe {
        let plan = plan_utility(statement, text);
        process(
            plan,
            text,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY,
        );
        pg_sys::CommandCounterIncrement();
    }
}

/// # Safety
/// `statement` was parsed from `text`, and is a utility statement.
unsafe fn plan_utility(
    statement: *mut pg_sys::RawStmt,
    text: &CString,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: upheld by the caller; one utility statement has one plan.
    unsafe {
        let queries = analyze(statement, text);
        let plans = pg_sys::pg_plan_queries(queries, text.as_ptr(), 0, std::ptr::null_mut());
        pg_sys::list_nth(plans, 0) as *mut pg_sys::PlannedStmt
    }
}

/// # Safety
/// `plan` was made from `text`, and a snapshot is active.
unsafe fn process(
    plan: *mut pg_sys::PlannedStmt,
    text: &CString,
    context: pg_sys::ProcessUtilityContext::Type,
) {
    // SAFETY: upheld by the caller.
    unsafe {
        pg_sys::ProcessUtility(
            plan,
            text.as_ptr(),
            false,
            context,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
    }
}

#[cfg(not(feature = "pg14"))]
unsafe fn analyze(statement: *mut pg_sys::RawStmt, text: &CString) -> *mut pg_sys::List {
    // SAFETY: the statement was just parsed from `text`, and has no parameters.
    unsafe {
        pg_sys::pg_analyze_and_rewrite_fixedparams(
            statement,
            text.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
        )
    }
}

#[cfg(feature = "pg14")]
unsafe fn analyze(statement: *mut pg_sys::RawStmt, text: &CString) -> *mut pg_sys::List {
    // SAFETY: the statement was just parsed from `text`, and has no parameters.
    unsafe {
        pg_sys::pg_analyze_and_rewrite(
            statement,
            text.as_ptr(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        )
    }
}
