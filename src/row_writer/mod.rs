//! One row written below SQL: the touched row, which the trigger has in its hands, is made into a row of the written
//! table, and that is put in, changed or taken away by the server's own functions, as logical replication's apply does
//! (execReplication.c). No plan is started for it.
//!
//! Only what is certain goes this way: where a row is not as expected (changed again since, not there, there already,
//! of another scope, written by somebody else meanwhile) nothing is done, and the caller's statements decide.

mod apply;
mod block_scan;
pub mod column_exprs;
pub mod column_fill;
pub mod column_rules;
mod eligibility;
mod index_insert;
mod index_lookup;
mod lookahead;
mod modify;
mod projection;
mod row_change;
mod scope_fk;
mod slice_copy;
mod table_cache;
mod target;

use crate::error::Result;
use crate::ident::Ident;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::slot::Slot;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::scope_pin;
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

/// What happened to the touched row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEvent {
    Insert,
    /// Its key is the same.
    Update,
    Delete,
}

/// The two tables, the view between them, and names of columns.
struct FlowRelations {
    touched: pg_sys::Oid,
    view: pg_sys::Oid,
    written: pg_sys::Oid,
    /// Columns of the written table that a row sets, by the same names in the view.
    columns: Vec<CString>,
    /// The touched table's key.
    key: Vec<CString>,
    /// The written table's column that has one value in all rows that are ours; None where all are.
    scope: Option<CString>,
    /// The columns that `ON CONFLICT` names.
    arbiter: Vec<CString>,
}

/// What is known of both tables as long as neither changes. It holds no lock and no resource of a transaction.
pub struct Direct {
    context: pg_sys::MemoryContext,
    written: pg_sys::Oid,
    row: Projection,
    /// The touched table's key.
    key: KeyColumns,
    /// Find the row of a key in the touched table, and in the written one.
    touched_key: KeyIndex,
    written_key: KeyIndex,
    parents: Vec<ScopeParent>,
    kept: TableCache,
    plain: bool,
    copies: bool,
    ahead: RefCell<Lookahead>,
}

impl Direct {
    /// For a flow between two tables: keys are as they were, and no two rows share one. None where rows of these tables
    /// cannot be written this way.
    pub fn for_flow(
        flow: &Flow,
        touched: pg_sys::Oid,
        view: pg_sys::Oid,
        written: pg_sys::Oid,
    ) -> Result<Option<Self>> {
        let made = Self::of_flow(flow, touched, view, written);
        let Some(mut made) = made else {
            return Ok(None);
        };
        if let Some(scope) = &made.row.scope {
            let anchor = scope_pin::name(flow.mapping);
            made.parents =
                scope_fk::find_scope_parents(written, scope.number, scope.value, &anchor)?;
        }
        Ok(Some(made))
    }

    fn of_flow(
        flow: &Flow,
        touched: pg_sys::Oid,
        view: pg_sys::Oid,
        written: pg_sys::Oid,
    ) -> Option<Self> {
        let scope = flow.marks.first();
        if flow.way == Direction::Reverse
            || flow.deferrable
            || flow.merged
            || flow.marks.len() > 1
            || flow.own.is_some() != scope.is_some()
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
            arbiter: texts(&flow.arbiter)?,
        })
    }

    fn for_relations(parties: &FlowRelations) -> Option<Self> {
        // SAFETY: all three relations are locked by the caller's use of them.
        in_memory(c"pg_mig direct", |context| unsafe {
            Self::build(context, parties)
        })
    }

    /// # Safety
    /// `context` is the current one and lives as long as the value.
    unsafe fn build(context: pg_sys::MemoryContext, parties: &FlowRelations) -> Option<Self> {
        let [touched, view, written] =
            [parties.touched, parties.view, parties.written].map(OpenRelation::read);
        // SAFETY: the relations are open.
        unsafe {
            if !eligibility::table(written.0, &parties.columns)
                || !index_lookup::is_table(touched.0)
            {
                return None;
            }
            let key = projection::numbers_in(touched.0, &parties.key)?;
            let row = Projection::from_view(view.0, written.0, parties, &key)?;
            Some(Self {
                context,
                written: parties.written,
                plain: row.is_plain() && eligibility::is_plain(written.0),
                copies: eligibility::tells_at_once(written.0),
                kept: TableCache::load(written.0),
                parents: Vec::new(),
                ahead: RefCell::default(),
                key: projection::key_columns(touched.0, &key),
                row,
                touched_key: KeyIndex::find_index(touched.0, &key)?,
                written_key: KeyIndex::find_index(
                    written.0,
                    &projection::numbers_in(written.0, &parties.arbiter)?,
                )?,
            })
        }
    }

    /// No code but the server's own runs, so that nothing depends on the session's settings.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether the row of this event was written together with one before it.
    ///
    /// # Safety
    /// `data` belongs to a row trigger on the touched table that is running.
    pub unsafe fn was_written(&self, data: &pg_sys::TriggerData) -> bool {
        if self.ahead.borrow().is_idle() {
            return false;
        }
        // SAFETY: as the caller says.
        match unsafe { RowChange::from_trigger(data) } {
            Some((deed, place)) => self.ahead.borrow_mut().take(deed, place),
            None => false,
        }
    }

    /// False where nothing was done.
    ///
    /// # Safety
    /// `data` belongs to a row trigger on the touched table that is running, and `key` is that of its row.
    pub unsafe fn write(
        &self,
        data: &pg_sys::TriggerData,
        key: &[pg_sys::Datum],
        event: WriteEvent,
    ) -> Result<bool> {
        let spared = self.list_needless_fks(event)?;
        // SAFETY: inside a transaction.
        unsafe {
            pg_sys::CommandCounterIncrement();
            Ok(RowApplier::begin(self, data.tg_relation, &spared).event(data, key, event))
        }
    }

    /// Foreign keys that need no check, because the parent is held. Where only this transaction holds it, a change of a row is left
    /// to PostgreSQL: it checks the new version where the old one was put in by the same transaction (RI_FKey_fk_upd_check_required).
    fn list_needless_fks(&self, event: WriteEvent) -> Result<Vec<pg_sys::Oid>> {
        let Some(scope) = &self.row.scope else {
            return Ok(Vec::new());
        };
        let mut spared = Vec::with_capacity(self.parents.len());
        for parent in &self.parents {
            if parent.anchored || event == WriteEvent::Insert && parent.is_held(scope.value)? {
                spared.push(parent.constraint);
            }
        }
        Ok(spared)
    }

    /// Waits until nobody is about to put the copy of a row in: its own statements would not see it.
    ///
    /// # Safety
    /// Inside a transaction; `key` is one of the touched table.
    pub unsafe fn await_copy(&self, key: &[pg_sys::Datum]) {
        // SAFETY: as the caller says.
        unsafe {
            let written = OpenRelation::read(self.written);
            let found = Slot::of_table(written.0);
            let mut search = self.written_key.search(written.0);
            search.find(&self.row.key(key), &found);
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: everything in it is ours, and nobody uses it any more.
            unsafe { pg_sys::MemoryContextDelete(self.context) };
        }
    }
}

/// What `make` makes in a memory context of its own, which is the current one meanwhile, lives until somebody deletes that, and goes
/// if nothing comes of it. An ERROR in between leaks it, once.
fn in_memory<T>(
    name: &'static CStr,
    make: impl FnOnce(pg_sys::MemoryContext) -> Option<T>,
) -> Option<T> {
    // SAFETY: a new context below the one that is never deleted; the old current one is put back.
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

/// A relation open for a look. The lock stays to the transaction's end.
struct OpenRelation(pg_sys::Relation);

impl OpenRelation {
    fn read(oid: pg_sys::Oid) -> Self {
        // SAFETY: inside a transaction; closed on drop, or by the abort that unwinds it.
        Self(unsafe { pg_sys::relation_open(oid, pg_sys::AccessShareLock as i32) })
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `read`.
            unsafe { pg_sys::relation_close(self.0, pg_sys::NoLock as i32) };
        }
    }
}

/// Names as PostgreSQL takes them.
fn texts<'a>(names: impl IntoIterator<Item = &'a Ident>) -> Option<Vec<CString>> {
    let text = |name: &Ident| CString::new(name.as_str()).ok();
    names.into_iter().map(text).collect()
}

/// Items of a List of pointers.
///
/// # Safety
/// `list` is null or a list of pointers to `T`.
unsafe fn items<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as the caller says.
    let length = unsafe { list.as_ref() }.map_or(0, |l| l.length);
    // SAFETY: as the caller says; `n` is below its length.
    (0..length).map(move |n| unsafe { (*pg_sys::list_nth_cell(list, n)).ptr_value.cast() })
}
