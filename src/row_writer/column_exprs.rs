//! New columns of a row, and the old one that they replace: what each should be. The view says so (`sqlgen::rework`); its target
//! list is planned once and evaluated over the row itself, in a trigger or in a batch.

use crate::model::column_change::SyncStage;
use crate::pg::datum_equality::DatumImage;
pub use crate::pg::slot::ColumnValue;
use crate::pg::slot::Slot;
use crate::pg::slot::catch_error;
use crate::row_writer::OpenRelation;
use crate::row_writer::in_memory;
use crate::row_writer::items;
use crate::row_writer::projection::attribute;
use crate::row_writer::projection::plan_expression;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;

/// A column, and the expression that makes it.
pub(super) struct ComputedColumn {
    pub number: i16,
    pub image: DatumImage,
    from: *mut pg_sys::Expr,
    /// Columns that the expression reads.
    pub reads: Vec<(i16, DatumImage)>,
}

/// What an INSERT that does not name a column leaves in it.
pub(super) enum OmittedValue {
    Null,
    Default(*mut pg_sys::Expr),
    /// Another value each time.
    Anything,
}

impl OmittedValue {
    fn is_constant(&self) -> bool {
        match self {
            // SAFETY: planned, in the memory of the whole.
            OmittedValue::Default(text) => unsafe {
                (*text.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_Const
            },
            _ => true,
        }
    }
}

pub(super) struct OldColumn {
    pub made: ComputedColumn,
    unnamed: OmittedValue,
}

/// What is known as long as neither view nor table changes. It holds no lock.
pub struct ColumnSync {
    memory: pg_sys::MemoryContext,
    pub relation: pg_sys::Oid,
    pub view: pg_sys::Oid,
    /// Nothing in the expressions but what the server brings along and what always answers the same: nobody's rights and no
    /// setting have a say in it.
    pub plain: bool,
    pub(super) new: Vec<ComputedColumn>,
    pub(super) old: Option<OldColumn>,
}

impl ColumnSync {
    /// None if the view is not one of ours.
    pub fn load(view: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the memory is the current one, and lives as long as the value.
        in_memory(c"pg_mig columns", |memory| unsafe {
            Self::build(memory, view)
        })
    }

    /// # Safety
    /// `memory` is the current context and lives as long as the value.
    unsafe fn build(memory: pg_sys::MemoryContext, view: pg_sys::Oid) -> Option<Self> {
        let opened = OpenRelation::read(view);
        // SAFETY: the view is open; its query lives in the relation cache, and what is kept of it is copied.
        unsafe {
            if (*(*opened.0).rd_rel).relkind as u8 != pg_sys::RELKIND_VIEW {
                return None;
            }
            let query = &*pg_sys::get_view_query(opened.0);
            let (number, relation) = the_table(query)?;
            let table = OpenRelation::read(relation);
            let entry = |name: &str| {
                items::<pg_sys::TargetEntry>(query.targetList)
                    .find(|e| CStr::from_ptr((**e).resname).to_bytes() == name.as_bytes())
                    .map(|e| (*e).expr)
            };
            let pair = |is: &str, should: &str| {
                let column = (*entry(is)?.cast::<pg_sys::Var>()).varattno;
                let from = entry(should)?;
                Some(ComputedColumn {
                    number: column,
                    image: DatumImage::for_type(attribute(table.0, column).atttypid),
                    reads: reads(from, number, table.0),
                    from: plan_expression(from),
                })
            };
            let mut new = Vec::new();
            while let Some(made) = pair(
                &format!("new:{}", new.len() + 1),
                &format!("up:{}", new.len() + 1),
            ) {
                new.push(made);
            }
            let old = pair("old", "down").map(|made| OldColumn {
                unnamed: constraint_without_name(table.0, made.number),
                made,
            });
            let mut all = new.iter().chain(old.as_ref().map(|o| &o.made));
            let plain = all.all(|m| !pg_sys::contain_mutable_functions(m.from.cast()))
                && old.as_ref().is_none_or(|o| o.unnamed.is_constant());
            (!new.is_empty()).then(|| Self {
                memory,
                plain,
                relation,
                view,
                new,
                old,
            })
        }
    }

    /// Columns that the expressions set.
    pub fn numbers(&self) -> Vec<i16> {
        self.new.iter().map(|m| m.number).collect()
    }

    /// New columns that are not what they should be, with what they should be.
    ///
    /// # Safety
    /// As `inserted`.
    pub(super) unsafe fn find_wrong_columns(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Vec<ColumnValue> {
        // SAFETY: as the caller says.
        self.new
            .iter()
            .filter_map(|m| unsafe { m.correct_value(context, row) })
            .collect()
    }

    /// What a row that was there before the trigger lacks; as `sqlgen::rework::compare::wrong` has it.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub unsafe fn lacks(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
    ) -> Vec<ColumnValue> {
        // SAFETY: as the caller says.
        unsafe {
            let off = self.find_wrong_columns(context, row);
            let Some(old) = self.old.as_ref().filter(|_| !off.is_empty()) else {
                return off;
            };
            let unfilled =
                stage == SyncStage::Old && off.iter().any(|(n, ..)| Slot::value(row, *n).1);
            if unfilled || old.made.correct_value(context, row).is_some() {
                off
            } else {
                Vec::new()
            }
        }
    }
}

impl ComputedColumn {
    /// What the column should be, where it is not.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub(super) unsafe fn correct_value(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Option<ColumnValue> {
        // SAFETY: as the caller says; both values are of the column's type.
        unsafe {
            let (value, null) = context.evaluate(self.from, row);
            let (is, is_null) = Slot::value(row, self.number);
            let same = null == is_null && (null || self.image.is_same_stored(is, value));
            (!same).then_some((self.number, value, null))
        }
    }
}

impl OldColumn {
    /// Whether this may be an INSERT that did not name the column.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub(super) unsafe fn is_unnamed(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let (is, is_null) = Slot::value(row, self.made.number);
            match self.unnamed {
                OmittedValue::Anything => true,
                OmittedValue::Null => is_null,
                OmittedValue::Default(text) => {
                    let (value, null) = context.evaluate(text, row);
                    is_null || !null && self.made.image.is_same_stored(is, value)
                }
            }
        }
    }
}

impl Drop for ColumnSync {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: everything in it is ours, and nobody uses it any more.
            unsafe { pg_sys::MemoryContextDelete(self.memory) };
        }
    }
}

/// Where expressions are evaluated, and what the executor has made of them: for one call or one batch, because what functions keep
/// there may hold on to this transaction. Values are made in the caller's memory.
pub struct EvalContext {
    context: *mut pg_sys::ExprContext,
    states: RefCell<Vec<(*mut pg_sys::Expr, *mut pg_sys::ExprState)>>,
}

impl EvalContext {
    /// It lives no longer than the current memory context.
    pub fn new() -> Self {
        Self {
            // SAFETY: inside a transaction; freed on drop, or with the memory of whoever is unwound.
            context: unsafe { pg_sys::CreateStandaloneExprContext() },
            states: RefCell::default(),
        }
    }

    /// # Safety
    /// `expression` is a planned one over rows of the table, and `row` holds one.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn evaluate(
        &self,
        expression: *mut pg_sys::Expr,
        row: *mut pg_sys::TupleTableSlot,
    ) -> (pg_sys::Datum, bool) {
        // SAFETY: as the caller says.
        unsafe {
            (*self.context).ecxt_scantuple = row;
            let state = self.state(expression);
            let mut null = false;
            match (*state).evalfunc {
                Some(run) => (catch_error(|| run(state, self.context, &mut null)), null),
                None => (pg_sys::Datum::from(0), true),
            }
        }
    }

    /// # Safety
    /// As `evaluate`.
    unsafe fn state(&self, expression: *mut pg_sys::Expr) -> *mut pg_sys::ExprState {
        let mut states = self.states.borrow_mut();
        if let Some((_, state)) = states.iter().find(|(e, _)| *e == expression) {
            return *state;
        }
        // SAFETY: as the caller says; the state lives as long as the context.
        let state = unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_query_memory);
            let state = pg_sys::ExecInitExpr(expression, std::ptr::null_mut());
            pg_sys::MemoryContextSwitchTo(before);
            state
        };
        states.push((expression, state));
        state
    }
}

impl Drop for EvalContext {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made by `new`.
            unsafe { pg_sys::FreeExprContext(self.context, true) };
        }
    }
}

/// Number and oid of the one table that the view reads.
///
/// # Safety
/// The query is a view's.
unsafe fn the_table(query: &pg_sys::Query) -> Option<(i32, pg_sys::Oid)> {
    // SAFETY: the FROM clause of a query is a list of nodes; a RangeTblRef counts tables from 1.
    unsafe {
        let first = items::<pg_sys::Node>((*query.jointree).fromlist).next()?;
        if (*first).type_ != pg_sys::NodeTag::T_RangeTblRef {
            return None;
        }
        let number = (*first.cast::<pg_sys::RangeTblRef>()).rtindex;
        let mut tables = items::<pg_sys::RangeTblEntry>(query.rtable);
        let table = tables.nth(usize::try_from(number - 1).ok()?)?;
        Some((number, (*table).relid))
    }
}

/// # Safety
/// `expression` is a checked one over the table, which has this number in it.
unsafe fn reads(
    expression: *mut pg_sys::Expr,
    number: i32,
    table: pg_sys::Relation,
) -> Vec<(i16, DatumImage)> {
    let mut found = Vec::new();
    let mut set = std::ptr::null_mut();
    // SAFETY: as the caller says; numbers are counted from the lowest system column (pull_varattnos in var.c).
    unsafe {
        pg_sys::pull_varattnos(expression.cast(), number as u32, &mut set);
        let mut member = -1;
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                break;
            }
            let column = (member + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16;
            if column > 0 {
                found.push((
                    column,
                    DatumImage::for_type(attribute(table, column).atttypid),
                ));
            }
        }
    }
    found
}

/// # Safety
/// The table is open and has the column; what is returned is in the current memory context.
unsafe fn constraint_without_name(table: pg_sys::Relation, number: i16) -> OmittedValue {
    // SAFETY: as the caller says.
    unsafe {
        let default = pg_sys::build_column_default(table, i32::from(number));
        if attribute(table, number).attidentity != 0 {
            OmittedValue::Anything
        } else if default.is_null() {
            OmittedValue::Null
        } else if pg_sys::contain_volatile_functions(default) {
            OmittedValue::Anything
        } else {
            OmittedValue::Default(plan_expression(default.cast()))
        }
    }
}
