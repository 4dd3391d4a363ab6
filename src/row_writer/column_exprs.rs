//! The value that each column of a column change should have: the new columns, and the old column that they replace. The view of the column
//! change defines the values (`sqlgen::columns`). Its target list is planned once and evaluated over the row itself, in a trigger or in a
//! batch.

use crate::model::column_change::SyncStage;
use crate::pg::datum_equality::DatumImage;
pub use crate::pg::slot::ColumnValue;
use crate::pg::slot::Slot;
use crate::pg::slot::catch_error;
use crate::row_writer::OpenRelation;
use crate::row_writer::attributes::attribute;
use crate::row_writer::in_memory;
use crate::row_writer::items;
use crate::row_writer::projection::plan_expression;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;

/// A column, and the expression that computes it.
pub(super) struct ComputedColumn {
    pub number: i16,
    pub image: DatumImage,
    from: *mut pg_sys::Expr,
    /// Columns that the expression reads.
    pub reads: Vec<(i16, DatumImage)>,
}

/// The value that an INSERT which omits a column leaves in it.
pub(super) enum OmittedValue {
    Null,
    Default(*mut pg_sys::Expr),
    /// A different value each time.
    Anything,
}

impl OmittedValue {
    fn is_constant(&self) -> bool {
        match self {
            // SAFETY: a planned expression, allocated in the memory context of the `ColumnSync`.
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

/// What is known about a column change as long as neither view nor table changes. It holds no lock.
pub struct ColumnSync {
    memory: pg_sys::MemoryContext,
    pub relation: pg_sys::Oid,
    pub view: pg_sys::Oid,
    /// The expressions use only immutable built-in functions, so that their result depends on no role's privileges and on no setting.
    pub plain: bool,
    pub(super) new: Vec<ComputedColumn>,
    pub(super) old: Option<OldColumn>,
}

impl ColumnSync {
    /// Returns None if the view is not one that pg_mig created.
    pub fn load(view: pg_sys::Oid) -> Option<Self> {
        // SAFETY: `memory` is the current context, and lives as long as the value.
        in_memory(c"pg_mig columns", |memory| unsafe {
            Self::build(memory, view)
        })
    }

    /// # Safety
    /// `memory` is the current context and lives as long as the value.
    unsafe fn build(memory: pg_sys::MemoryContext, view: pg_sys::Oid) -> Option<Self> {
        let opened = OpenRelation::read(view);
        // SAFETY: the view is open; its query lives in the relation cache, and the parts that are kept are copied.
        unsafe {
            if (*(*opened.0).rd_rel).relkind as u8 != pg_sys::RELKIND_VIEW {
                return None;
            }
            let query = &*pg_sys::get_view_query(opened.0);
            let (number, relation) = the_table(query)?;
            let table = OpenRelation::read(relation);
            if !super::index_lookup::is_table(table.0) {
                return None;
            }
            let entry = |name: &str| {
                let named = |e: &*mut pg_sys::TargetEntry| {
                    let text = (**e).resname;
                    !text.is_null() && CStr::from_ptr(text).to_bytes() == name.as_bytes()
                };
                items::<pg_sys::TargetEntry>(query.targetList)
                    .find(named)
                    .map(|e| (*e).expr)
            };
            let pair = |is: &str, should: &str| {
                let column = column_of(entry(is)?, number, table.0)?;
                let from = entry(should)?;
                if pg_sys::exprType(from.cast()) != attribute(table.0, column).atttypid {
                    return None;
                }
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
                unnamed: omitted_value(table.0, made.number),
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

    /// The numbers of the columns that the expressions set.
    pub fn numbers(&self) -> Vec<i16> {
        self.new.iter().map(|m| m.number).collect()
    }

    /// Returns the new columns that do not have their correct value, with that value.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub(super) unsafe fn find_wrong_columns(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Vec<ColumnValue> {
        // SAFETY: guaranteed by the caller.
        self.new
            .iter()
            .filter_map(|m| unsafe { m.correct_value(context, row) })
            .collect()
    }

    /// Returns the values that the backfill has to set in a row written before the trigger was installed; the same rule as
    /// `sqlgen::columns::compare::wrong`.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub unsafe fn lacks(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
    ) -> Vec<ColumnValue> {
        // SAFETY: guaranteed by the caller.
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
    /// Returns the value that the column should have, or None if the column has it.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub(super) unsafe fn correct_value(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Option<ColumnValue> {
        // SAFETY: guaranteed by the caller; both values are of the column's type.
        unsafe {
            let (value, null) = context.evaluate(self.from, row);
            let (is, is_null) = Slot::value(row, self.number);
            let same = null == is_null && (null || self.image.is_same_stored(is, value));
            (!same).then_some((self.number, value, null))
        }
    }
}

impl OldColumn {
    /// Whether the row may come from an INSERT that omitted the column.
    ///
    /// # Safety
    /// `row` holds a row of the table.
    pub(super) unsafe fn is_unnamed(
        &self,
        context: &EvalContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: guaranteed by the caller.
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
            // SAFETY: everything in the context belongs to this value, and nothing uses it any more.
            unsafe { pg_sys::MemoryContextDelete(self.memory) };
        }
    }
}

/// A context in which expressions are evaluated, with the executor's state for each. It lives for one call or one batch, because functions
/// may keep data there that belongs to this transaction. Results are allocated in the caller's memory context.
pub struct EvalContext {
    context: *mut pg_sys::ExprContext,
    states: RefCell<Vec<(*mut pg_sys::Expr, *mut pg_sys::ExprState)>>,
}

impl EvalContext {
    /// The value lives no longer than the current memory context.
    pub fn new() -> Self {
        Self {
            // SAFETY: inside a transaction; freed on drop, or with the memory context when an ERROR unwinds.
            context: unsafe { pg_sys::CreateStandaloneExprContext() },
            states: RefCell::default(),
        }
    }

    /// # Safety
    /// `expression` is a planned expression over rows of the table, and `row` holds one.
    #[allow(ffi_unwind_calls, reason = "the call is guarded")]
    unsafe fn evaluate(
        &self,
        expression: *mut pg_sys::Expr,
        row: *mut pg_sys::TupleTableSlot,
    ) -> (pg_sys::Datum, bool) {
        // SAFETY: guaranteed by the caller.
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
        // SAFETY: guaranteed by the caller; the state lives as long as the context.
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

/// Returns the range table index and the oid of the one table that the view reads.
///
/// # Safety
/// The query belongs to a view.
unsafe fn the_table(query: &pg_sys::Query) -> Option<(i32, pg_sys::Oid)> {
    // SAFETY: the FROM clause of a query is a list of nodes; a RangeTblRef counts tables from 1.
    unsafe {
        let number = super::projection::only_range(query)?;
        let mut tables = items::<pg_sys::RangeTblEntry>(query.rtable);
        let table = tables.nth(usize::try_from(number - 1).ok()?)?;
        let is_relation = (*table).rtekind == pg_sys::RTEKind::RTE_RELATION;
        is_relation.then_some((number, (*table).relid))
    }
}

/// Returns the number of the table's column that the expression is; None if it is anything else. The view's owner can give it another
/// definition, so nothing of it is taken for granted.
///
/// # Safety
/// `expression` is an analyzed expression, and the table is open.
unsafe fn column_of(
    expression: *mut pg_sys::Expr,
    number: i32,
    table: pg_sys::Relation,
) -> Option<i16> {
    // SAFETY: guaranteed by the caller; a node's tag gives its type.
    unsafe {
        if (*expression.cast::<pg_sys::Node>()).type_ != pg_sys::NodeTag::T_Var {
            return None;
        }
        let variable = &*expression.cast::<pg_sys::Var>();
        let columns = (*(*table).rd_att).natts;
        let is_column = variable.varno as i64 == i64::from(number)
            && variable.varlevelsup == 0
            && (1..=columns).contains(&i32::from(variable.varattno));
        if !is_column {
            return None;
        }
        let column = attribute(table, variable.varattno);
        let same = !column.attisdropped && column.atttypid == variable.vartype;
        same.then_some(variable.varattno)
    }
}

/// Returns the columns of the table that the expression reads.
///
/// # Safety
/// `expression` is an analyzed expression over the table, whose range table index is `number`.
unsafe fn reads(
    expression: *mut pg_sys::Expr,
    number: i32,
    table: pg_sys::Relation,
) -> Vec<(i16, DatumImage)> {
    let mut found = Vec::new();
    let mut set = std::ptr::null_mut();
    // SAFETY: guaranteed by the caller; members are counted from the lowest system column (pull_varattnos in var.c).
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

/// Returns the value that an INSERT which omits the column leaves in it.
///
/// # Safety
/// The table is open and has the column; the result is allocated in the current memory context.
unsafe fn omitted_value(table: pg_sys::Relation, number: i16) -> OmittedValue {
    // SAFETY: guaranteed by the caller.
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
