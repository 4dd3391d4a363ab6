//! Prepared plans that run under the latest snapshot, which PL/pgSQL cannot do and a correct mirror needs.

use crate::error::{Error, Result};
use crate::pg::document::JsonText;
use crate::pg::own_statement::RunningGuard;
use crate::pg::{plan_guard, spi};
use pgrx::PgList;
use pgrx::pg_sys;
use std::cell::{Cell, OnceCell};
use std::ffi::CString;

/// A statement that is parsed when it is first run, and planned once for the life of the session. Most mirrors write their rows
/// below SQL, and never need most of their statements.
pub struct PreparedPlan {
    text: CString,
    types: Vec<pg_sys::Oid>,
    /// Null before the first run.
    plan: Cell<pg_sys::SPIPlanPtr>,
}

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, statements are parsed when they are prepared, so that an error in one shows before the statement is needed.
pub struct EagerPlanning(bool);

pub fn at_once() -> EagerPlanning {
    EagerPlanning(AT_ONCE.replace(true))
}

impl Drop for EagerPlanning {
    fn drop(&mut self) {
        AT_ONCE.set(self.0);
    }
}

/// An open SPI connection; closed on drop, or by the abort that an ERROR leads to.
pub struct Connection(());

pub fn connect() -> Result<Connection> {
    // SAFETY: paired with SPI_finish in Drop.
    match unsafe { pg_sys::SPI_connect() } {
        code if code == pg_sys::SPI_OK_CONNECT as i32 => Ok(Connection(())),
        code => Err(Error::internal(format!("SPI_connect returned {code}"))),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the connection that `connect` opened.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

impl Connection {
    /// Prepares `sql`, with parameters of `types`. Names in it are looked up when it is first run (but see `at_once`).
    pub fn prepare(&self, sql: &str, types: &[pg_sys::Oid]) -> Result<PreparedPlan> {
        let kept = PreparedPlan {
            text: spi::one_statement(sql)?,
            types: types.to_vec(),
            plan: Cell::new(std::ptr::null_mut()),
        };
        if AT_ONCE.get() {
            kept.ready()?;
        }
        Ok(kept)
    }

    /// Runs the plan under a snapshot that sees this command's own rows and everything committed up to now, whatever the
    /// transaction's isolation level: as ri_triggers.c does for its checks (ri_PerformCheck).
    pub fn run_latest(&self, plan: &PreparedPlan, values: &mut [pg_sys::Datum]) -> Result<u64> {
        execute(plan, values, true)
    }

    /// As `run_latest`, but the statement's AFTER triggers fire after those of the calling statement, as they do for the actions of
    /// foreign keys (ri_PerformCheck: fire_triggers is false).
    pub fn run_latest_queueing(
        &self,
        plan: &PreparedPlan,
        values: &mut [pg_sys::Datum],
    ) -> Result<u64> {
        execute(plan, values, false)
    }
}

impl Connection {
    /// Returns the one value of a statement of one row and one column, run as by `run_latest`; None where it is null or there is no
    /// row.
    pub fn latest_value<T: pgrx::FromDatum>(
        &self,
        plan: &PreparedPlan,
        values: &mut [pg_sys::Datum],
    ) -> Result<Option<T>> {
        if self.run_latest(plan, values)? == 0 {
            return Ok(None);
        }
        // SAFETY: the statement returned a row of one column; the value is copied out before the connection closes.
        Ok(unsafe {
            let table = &*pg_sys::SPI_tuptable;
            let mut null = false;
            let datum = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, 1, &mut null);
            let value = T::from_datum(datum, null);
            pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable);
            value
        })
    }
}

impl PreparedPlan {
    /// The parameters of a statement that has some are a key.
    fn watch(&self) -> RunningGuard<'_> {
        if self.types.is_empty() {
            plan_guard::watch(&self.text)
        } else {
            plan_guard::watch_look_up(&self.text)
        }
    }

    /// Returns the plan, which the first call makes. The caller has connected to SPI.
    fn ready(&self) -> Result<pg_sys::SPIPlanPtr> {
        if self.plan.get().is_null() {
            let mut types = self.types.clone();
            // SAFETY: connected to SPI; text and types live through the call, and SPI copies what it keeps. keepplan is only called
            // on a plan that SPI_prepare returned.
            unsafe {
                let count = types.len() as i32;
                let plan = pg_sys::SPI_prepare(self.text.as_ptr(), count, types.as_mut_ptr());
                if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                    return Err(Error::internal("SPI_prepare failed".into()));
                }
                self.plan.set(plan);
            }
        }
        Ok(self.plan.get())
    }
}

impl PreparedPlan {
    /// Whether the server would run the statement as a plain write of this very relation. Another extension's planner may send it elsewhere:
    /// to another table, or to another server.
    pub fn writes_only(&self, relation: pg_sys::Oid) -> Result<bool> {
        let _watched = self.watch();
        let plan = self.ready()?;
        // SAFETY: connected to SPI, as `ready` requires; the cached plan is released before the function returns, or by its resource
        // owner if an ERROR unwinds.
        unsafe {
            let cached = pg_sys::SPI_plan_get_cached_plan(plan);
            if cached.is_null() {
                return Ok(false);
            }
            let statements = PgList::<pg_sys::PlannedStmt>::from_pg((*cached).stmt_list);
            let plain = statements.len() == 1
                && statements
                    .get_ptr(0)
                    .is_some_and(|s| writes_plainly(s, relation));
            pg_sys::ReleaseCachedPlan(cached, pg_sys::CurrentResourceOwner);
            Ok(plain)
        }
    }
}

/// # Safety
/// `statement` is a planned statement.
unsafe fn writes_plainly(statement: *mut pg_sys::PlannedStmt, relation: pg_sys::Oid) -> bool {
    // SAFETY: guaranteed by the caller; the tag says what the node is, and indexes into the range table begin with 1.
    unsafe {
        let tree = (*statement).planTree;
        if tree.is_null() || (*tree).type_ != pg_sys::NodeTag::T_ModifyTable {
            return false;
        }
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg((*statement).rtable);
        let written = PgList::<i32>::from_pg((*statement).resultRelations);
        let write = &*tree.cast::<pg_sys::ModifyTable>();
        written.len() == 1
            && pg_sys::bms_is_empty(write.fdwDirectModifyPlans)
            && written.iter_int().all(|index| {
                let place = usize::try_from(index).unwrap_or(0).saturating_sub(1);
                tables
                    .get_ptr(place)
                    .is_some_and(|t| (*t).relid == relation)
            })
    }
}

fn execute(plan: &PreparedPlan, values: &mut [pg_sys::Datum], fire_triggers: bool) -> Result<u64> {
    let _watched = plan.watch();
    let plan = plan.ready()?;
    // SAFETY: the snapshot is registered for the length of the call (if an ERROR unwinds, the resource owner releases it); `values`
    // has one datum for each parameter, none of them null (key columns).
    let code = unsafe {
        pg_sys::CommandCounterIncrement();
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let code = pg_sys::SPI_execute_snapshot(
            plan,
            values.as_mut_ptr(),
            std::ptr::null(),
            snapshot,
            std::ptr::null_mut(),
            false,
            fire_triggers,
            0,
        );
        pg_sys::UnregisterSnapshot(snapshot);
        code
    };
    if code < 0 {
        return Err(Error::internal(format!(
            "SPI_execute_snapshot returned {code}"
        )));
    }
    // SAFETY: set by the call above.
    Ok(unsafe { pg_sys::SPI_processed })
}

impl Drop for PreparedPlan {
    fn drop(&mut self) {
        // While an ERROR unwinds nothing is freed: a leaked plan is better than a call into a broken session.
        if !std::thread::panicking() && !self.plan.get().is_null() {
            // SAFETY: the plan was kept by SPI_keepplan, and has no other holder.
            unsafe { pg_sys::SPI_freeplan(self.plan.get()) };
        }
    }
}

/// Returns the first row of `sql` as JSON, under the latest snapshot: catalog and state as they are now, even in a transaction
/// whose own snapshot is older.
pub fn first_latest<T: serde::de::DeserializeOwned>(
    sql: &str,
    types: &[pg_sys::Oid],
    values: &mut [pg_sys::Datum],
) -> Result<Option<T>> {
    let connection = connect()?;
    let plan = connection.prepare(
        &format!("SELECT pg_catalog.to_jsonb(q) FROM ({sql}) q"),
        types,
    )?;
    let row = connection.latest_value::<JsonText>(&plan, values)?;
    row.map(|r| r.decode()).transpose()
}

/// A statement whose plan a session keeps: for one that is planned longer than it runs. It is never freed.
pub type KeptPlan = OnceCell<&'static PreparedPlan>;

/// As `first_latest`, with the plan that `kept` has, or gets now.
pub fn first_kept<T: serde::de::DeserializeOwned>(
    kept: &KeptPlan,
    sql: &str,
    types: &[pg_sys::Oid],
    values: &mut [pg_sys::Datum],
) -> Result<Option<T>> {
    let connection = connect()?;
    let plan = match kept.get() {
        Some(plan) => plan,
        None => {
            let text = format!("SELECT pg_catalog.to_jsonb(q) FROM ({sql}) q");
            let made = Box::leak(Box::new(connection.prepare(&text, types)?));
            kept.get_or_init(|| made)
        }
    };
    let row = connection.latest_value::<JsonText>(plan, values)?;
    row.map(|r| r.decode()).transpose()
}
