//! Writes single rows below SQL. The touched row, which the trigger already has in memory, is converted into a row of the written table.
//! That row is inserted, updated or deleted with the server's own functions, as the apply worker of logical replication does
//! (execReplication.c). No plan is run.
//!
//! Only certain cases are handled here. If a row is not as expected (changed again since, missing, already present, of another scope,
//! written by another transaction meanwhile), nothing is done, and the caller's statements decide.

mod apply;
mod attributes;
mod block_scan;
pub mod column_exprs;
pub mod column_fill;
pub mod column_rules;
mod eligibility;
mod index_insert;
mod index_lookup;
mod lookahead;
mod modify;
pub mod parents;
mod projection;
mod row_change;
mod scope_fk;
mod scope_value;
mod slice_copy;
mod table_cache;
mod target;

use crate::error::Result;
use crate::ident::Ident;
use crate::pg::application_path;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::slot::Slot;
use crate::pg::{guc, own_writes, prepared};
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::{plan_probe, scope_pin};
use apply::RowApplier;
use index_lookup::KeyIndex;
use lookahead::Lookahead;
use pgrx::pg_sys;
use projection::Projection;
use row_change::RowChange;
use scope_fk::ScopeParent;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use table_cache::TableCache;
use target::EventOrder;

/// What happened to the touched row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEvent {
    Insert,
    /// The key is unchanged.
    Update,
    Delete,
}

/// The two tables, the view between them, and column names.
struct FlowRelations {
    touched: pg_sys::Oid,
    view: pg_sys::Oid,
    written: pg_sys::Oid,
    /// Columns of the written table that a row sets; the view has them by the same names.
    columns: Vec<CString>,
    /// The touched table's key.
    key: Vec<CString>,
    /// The column of the written table that has the same value in all rows of this scope; None if all rows belong to the migration.
    scope: Option<CString>,
    /// Only rows of the scope are followed: the view's condition says which.
    follows: bool,
    /// The written table is mirrored, too.
    both_ways: bool,
    /// The columns that `ON CONFLICT` names.
    arbiter: Vec<CString>,
}

/// What is known about both tables as long as neither changes. It holds no lock and no resource of a transaction.
pub struct DirectWriter {
    context: pg_sys::MemoryContext,
    written: pg_sys::Oid,
    row: Projection,
    /// The touched table's key.
    key: KeyColumns,
    /// The touched table's key as `touched_key` has it: in the target of a scope, with the scope's column.
    touched_columns: KeyColumns,
    both_ways: bool,
    /// Indexes that find the row of a key in the touched table, and in the written one.
    touched_key: KeyIndex,
    written_key: KeyIndex,
    parents: Vec<ScopeParent>,
    kept: TableCache,
    plain: bool,
    copies: bool,
    ahead: RefCell<Lookahead>,
}

impl DirectWriter {
    /// Builds the writer for a flow between two tables whose keys stay the same and are unique. `both_ways`: the written table is mirrored,
    /// too. None if rows of these tables cannot be written this way.
    pub fn for_flow(
        flow: &Flow,
        touched: pg_sys::Oid,
        view: pg_sys::Oid,
        written: pg_sys::Oid,
        both_ways: bool,
    ) -> Result<Option<Self>> {
        // What is read of the tables holds their functions in SQL, with the names in them looked up.
        let _code = application_path::switch();
        let made = Self::of_flow(flow, [touched, view, written], both_ways);
        let Some(mut made) = made else {
            return Ok(None);
        };
        if !sql_writes_there(flow, written)? {
            return Ok(None);
        }
        if let Some(scope) = &made.row.scope {
            let anchor = scope_pin::name(flow.mapping);
            made.parents =
                scope_fk::find_scope_parents(written, scope.number, scope.value, &anchor)?;
        }
        Ok(Some(made))
    }

    fn of_flow(
        flow: &Flow,
        [touched, view, written]: [pg_sys::Oid; 3],
        both_ways: bool,
    ) -> Option<Self> {
        let scope = flow.marks.first();
        let chosen = match flow.direction {
            Direction::Forward => flow.own.is_some() != scope.is_some(),
            // A filter, or an expression: what is written may map forward to another row.
            Direction::Reverse => flow.own.is_some() || !flow.kept.is_empty(),
        };
        if chosen
            || flow.deferrable
            || flow.merged
            || flow.marks.len() > 1
            || flow.follows.len() > 1
        {
            return None;
        }
        Self::for_relations(&FlowRelations {
            touched,
            view,
            written,
            columns: texts(&flow.columns)?,
            key: texts(flow.key.iter().map(|k| &k.touched))?,
            scope: texts(scope)?.pop(),
            follows: !flow.follows.is_empty(),
            both_ways,
            arbiter: texts(&flow.arbiter)?,
        })
    }

    fn for_relations(parties: &FlowRelations) -> Option<Self> {
        // SAFETY: all three relations are locked, because the caller uses them.
        in_memory(c"pg_mig direct", |context| unsafe {
            Self::build(context, parties)
        })
    }

    /// # Safety
    /// `context` is the current memory context and lives as long as the value.
    unsafe fn build(context: pg_sys::MemoryContext, parties: &FlowRelations) -> Option<Self> {
        let [touched, view, written] =
            [parties.touched, parties.view, parties.written].map(OpenRelation::read);
        // SAFETY: the relations are open.
        unsafe {
            if !eligibility::table(written.0, &parties.columns, parties.both_ways)
                || !index_lookup::is_table(touched.0)
            {
                return None;
            }
            let key = attributes::numbers_in(touched.0, &parties.key)?;
            let row = Projection::from_view(view.0, written.0, parties, &key)?;
            let (touched_key, indexed) = touched_index(touched.0, &key, row.follows())?;
            Some(Self {
                context,
                written: parties.written,
                plain: row.is_plain() && eligibility::is_plain(written.0),
                copies: eligibility::tells_at_once(written.0),
                kept: TableCache::load(written.0),
                parents: Vec::new(),
                ahead: RefCell::default(),
                key: attributes::key_columns(touched.0, &key),
                touched_columns: attributes::key_columns(touched.0, &indexed),
                both_ways: parties.both_ways,
                row,
                touched_key,
                written_key: KeyIndex::find_index(
                    written.0,
                    &attributes::numbers_in(written.0, &parties.arbiter)?,
                )?,
            })
        }
    }

    /// Whether only built-in code runs, so that nothing depends on the session's settings.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether the row of this event was already written together with an earlier one.
    ///
    /// # Safety
    /// `data` belongs to a running row trigger on the touched table.
    pub unsafe fn was_written(&self, data: &pg_sys::TriggerData) -> bool {
        if self.ahead.borrow().is_idle() {
            return false;
        }
        // SAFETY: guaranteed by the caller.
        match unsafe { RowChange::from_trigger(data) } {
            Some((deed, place)) => self.ahead.borrow_mut().take(deed, place),
            None => false,
        }
    }

    /// Mirrors the row of an event; false if nothing was done.
    ///
    /// # Safety
    /// `data` belongs to a running row trigger on the touched table, and `key` is that of its row.
    pub unsafe fn write(
        &self,
        data: &pg_sys::TriggerData,
        key: &[pg_sys::Datum],
        event: WriteEvent,
    ) -> Result<bool> {
        let skipped_fks = self.list_needless_fks(event)?;
        let order = self.event_order();
        // SAFETY: inside a transaction.
        unsafe {
            if order == EventOrder::Queued {
                own_writes::note_next_command();
                // Used, also where nothing is written: no command of the application may get the id.
                pg_sys::GetCurrentCommandId(true);
            } else {
                pg_sys::CommandCounterIncrement();
            }
            let applier = RowApplier::begin(self, data.tg_relation, &skipped_fks, order);
            if applier.written.brackets {
                own_writes::note_bracketed(pg_sys::GetCurrentCommandId(false));
            }
            Ok(applier.apply_event(data, key, event))
        }
    }

    /// The apply worker of logical replication closes only its own table after the trigger queue, and runs no actions of foreign keys.
    fn event_order(&self) -> EventOrder {
        if self.both_ways && !guc::is_replica() {
            EventOrder::Queued
        } else {
            EventOrder::AtOnce
        }
    }

    /// Lists the foreign keys whose check is skipped. A scope pin holds the parent row: none is checked. Only this transaction's lock holds
    /// it: inserts are not checked; an UPDATE is, because PostgreSQL checks a new version whose old one the same transaction inserted
    /// (RI_FKey_fk_upd_check_required).
    fn list_needless_fks(&self, event: WriteEvent) -> Result<Vec<pg_sys::Oid>> {
        let Some(scope) = &self.row.scope else {
            return Ok(Vec::new());
        };
        let mut skipped_fks = Vec::with_capacity(self.parents.len());
        for parent in &self.parents {
            if parent.anchored || event == WriteEvent::Insert && parent.is_held(scope.value)? {
                skipped_fks.push(parent.constraint);
            }
        }
        Ok(skipped_fks)
    }

    /// Waits until no other transaction is about to insert the copy of this row: the mirror's own statements would not see that copy.
    ///
    /// # Safety
    /// Inside a transaction; `key` is a key of the touched table.
    pub unsafe fn await_copy(&self, key: &[pg_sys::Datum]) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let written = OpenRelation::read(self.written);
            let found = Slot::of_table(written.0);
            let mut search = self.written_key.search(written.0);
            search.find(&self.row.key(key), &found);
        }
    }
}

/// Finds the unique index of the touched table's key, and its columns. In the target of a scope the scope's column may be one of them.
///
/// # Safety
/// `touched` is open.
unsafe fn touched_index(
    touched: pg_sys::Relation,
    key: &[i16],
    follows: Option<i16>,
) -> Option<(KeyIndex, Vec<i16>)> {
    let with_scope = || {
        let mut all = key.to_vec();
        all.push(follows?);
        Some(all)
    };
    // SAFETY: guaranteed by the caller.
    let find =
        |columns: Vec<i16>| unsafe { KeyIndex::find_index(touched, &columns) }.zip(Some(columns));
    find(key.to_vec()).or_else(|| find(with_scope()?))
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: everything in the context belongs to this value, and nothing uses it any more.
            unsafe { pg_sys::MemoryContextDelete(self.context) };
        }
    }
}

/// Runs `make` in a new memory context, which is the current one meanwhile. The context lives until it is deleted explicitly, or is deleted
/// at once if `make` returns None. An ERROR in between leaks the context, once.
fn in_memory<T>(
    name: &'static CStr,
    make: impl FnOnce(pg_sys::MemoryContext) -> Option<T>,
) -> Option<T> {
    // SAFETY: a new context below TopMemoryContext, which is never deleted; the previous context is restored.
    unsafe {
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            name.as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
        );
        let before = pg_sys::MemoryContextSwitchTo(context);
        let made = make(context);
        pg_sys::MemoryContextSwitchTo(before);
        if made.is_none() {
            pg_sys::MemoryContextDelete(context);
        }
        made
    }
}

/// A relation opened for reading. The lock lasts to the end of the transaction.
struct OpenRelation(pg_sys::Relation);

impl OpenRelation {
    fn read(oid: pg_sys::Oid) -> Self {
        Self::open(oid, pg_sys::AccessShareLock)
    }

    fn open(oid: pg_sys::Oid, lock: u32) -> Self {
        // SAFETY: inside a transaction; closed on drop, or by the abort that unwinds it.
        Self(unsafe { pg_sys::relation_open(oid, lock as i32) })
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`.
            unsafe { pg_sys::relation_close(self.0, pg_sys::NoLock as i32) };
        }
    }
}

/// Whether statements on the written table would write that very table.
fn sql_writes_there(flow: &Flow, written: pg_sys::Oid) -> Result<bool> {
    let connection = prepared::connect()?;
    for sql in plan_probe::statements(&flow.written) {
        if !connection.prepare(&sql, &[])?.writes_only(written)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names as C strings.
fn texts<'a>(names: impl IntoIterator<Item = &'a Ident>) -> Option<Vec<CString>> {
    let text = |name: &Ident| CString::new(name.as_str()).ok();
    names.into_iter().map(text).collect()
}

/// The items of a List of pointers.
///
/// # Safety
/// `list` is null or a list of pointers to `T`.
unsafe fn items<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: guaranteed by the caller.
    let length = unsafe { list.as_ref() }.map_or(0, |l| l.length);
    // SAFETY: guaranteed by the caller; `n` is below the length of the list.
    (0..length).map(move |n| unsafe { (*pg_sys::list_nth_cell(list, n)).ptr_value.cast() })
}
