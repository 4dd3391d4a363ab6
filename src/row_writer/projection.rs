//! Projection: computes the row that the mapping's view gives for a touched row, without running the view. The view's target list is
//! planned once, as the planner does when it pulls the view up, and evaluated over the touched row.

use crate::pg::datum_equality::DatumImage;
use crate::pg::slot::{Slot, catch_error};
use crate::row_writer::attributes::{self, attribute, number_in, numbers_in};
use crate::row_writer::scope_value::{self, ScopeValue};
use crate::row_writer::target::TargetTable;
use crate::row_writer::{FlowRelations, items};
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// The origin of a value.
#[derive(Clone, Copy)]
enum ValueSource {
    /// A column of the touched table.
    Column(i16),
    Const(pg_sys::Datum, bool),
    /// A planned expression, allocated in the memory context of the `Projection`.
    Expression(*mut pg_sys::Expr),
}

/// The origin of a value of the written key.
#[derive(Clone, Copy)]
enum KeyPart {
    Key(usize),
    Const(pg_sys::Datum),
}

pub struct Projection {
    columns: Vec<(i16, ValueSource, DatumImage)>,
    /// Columns of the written table that the mapping leaves alone.
    others: Vec<i16>,
    filter: *mut pg_sys::Expr,
    key: Vec<KeyPart>,
    /// The written key's columns.
    arbiter: Vec<i16>,
    pub scope: Option<ScopeValue>,
    /// The column and value of the rows of the touched table that are followed.
    follows: Option<ScopeValue>,
}

impl Projection {
    /// Returns None if the view does more than read one row of the touched table.
    ///
    /// # Safety
    /// Both relations are open; the current memory context lives as long as the value.
    pub unsafe fn from_view(
        view: pg_sys::Relation,
        written: pg_sys::Relation,
        parties: &FlowRelations,
        key: &[i16],
    ) -> Option<Self> {
        // SAFETY: the query belongs to the open view; the planner copies the parts that are kept.
        unsafe {
            let query = &*pg_sys::get_view_query(view);
            if !reads_one(query, parties.touched) {
                return None;
            }
            let numbers = numbers_in(written, &parties.columns)?;
            let columns = parties.columns.iter().zip(numbers);
            let columns: Vec<(i16, ValueSource, DatumImage)> = columns
                .map(|(name, number)| {
                    let image = DatumImage::for_type(attribute(written, number).atttypid);
                    Some((number, value(query, name, written, number)?, image))
                })
                .collect::<Option<_>>()?;
            let of = |name: &CString| {
                let number = number_in(written, name)?;
                columns
                    .iter()
                    .find(|c| c.0 == number)
                    .map(|c| (number, c.1))
            };
            let part = |name: &CString| match of(name)?.1 {
                ValueSource::Column(from) => {
                    Some(KeyPart::Key(key.iter().position(|k| *k == from)?))
                }
                ValueSource::Const(value, false) => Some(KeyPart::Const(value)),
                _ => None,
            };
            let scope = |name: &CString| match of(name)? {
                (number, ValueSource::Const(value, false)) => {
                    let kind = attribute(written, number).atttypid;
                    Some(ScopeValue::new(number, value, kind))
                }
                _ => None,
            };
            let quals = match (*query.jointree).quals {
                quals if quals.is_null() => std::ptr::null_mut(),
                quals => plan_expression(quals.cast()),
            };
            let follows = match parties.follows {
                false => None,
                true => Some(scope_value::find_compared(quals)?),
            };
            Some(Self {
                key: parties.arbiter.iter().map(part).collect::<Option<_>>()?,
                arbiter: numbers_in(written, &parties.arbiter)?,
                scope: match &parties.scope {
                    None => None,
                    Some(name) => Some(scope(name)?),
                },
                filter: match follows {
                    Some(_) => std::ptr::null_mut(),
                    None => quals,
                },
                follows,
                others: attributes::all_but(written, columns.iter().map(|c| c.0)),
                columns,
            })
        }
    }

    /// Whether there is no expression to evaluate.
    pub fn is_plain(&self) -> bool {
        self.filter.is_null()
            && !self
                .columns
                .iter()
                .any(|(_, v, _)| matches!(v, ValueSource::Expression(_)))
    }

    /// Returns the written table's key for a key of the touched table.
    pub fn key(&self, touched: &[pg_sys::Datum]) -> Vec<pg_sys::Datum> {
        let value = |p: &KeyPart| match p {
            KeyPart::Key(n) => touched[*n],
            KeyPart::Const(value) => *value,
        };
        self.key.iter().map(value).collect()
    }

    /// Whether a row of the written table belongs to this scope.
    ///
    /// # Safety
    /// `found` holds a row of the written table.
    pub unsafe fn is_ours(&self, found: &Slot) -> bool {
        // SAFETY: guaranteed by the caller.
        self.scope
            .as_ref()
            .is_none_or(|s| unsafe { s.is_in(found.0) })
    }

    /// Whether a row of the touched table belongs to the scope that is followed.
    ///
    /// # Safety
    /// `row` holds a row of the touched table.
    pub unsafe fn is_followed(&self, row: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: guaranteed by the caller.
        self.follows
            .as_ref()
            .is_none_or(|s| unsafe { s.is_in(row) })
    }

    /// The number of the touched table's column that has the same value in all rows that are followed.
    pub fn follows(&self) -> Option<i16> {
        self.follows.as_ref().map(|s| s.number)
    }

    /// Whether both rows of the written table have the same values, as they are stored. False where one is stored out of line.
    ///
    /// # Safety
    /// Both slots hold rows of the written table.
    pub unsafe fn is_same(&self, a: &Slot, b: &Slot) -> bool {
        // SAFETY: guaranteed by the caller; both values are of the column's type.
        self.columns.iter().all(|(number, _, image)| unsafe {
            match (Slot::value(a.0, *number), Slot::value(b.0, *number)) {
                ((_, true), (_, true)) => true,
                ((x, false), (y, false)) => image.is_same(x, y),
                _ => false,
            }
        })
    }

    /// Fills `new` with the row that the written table should have; false if the filter excludes the row.
    ///
    /// # Safety
    /// `source` holds a row of the touched table; `new` is a slot for the written table.
    pub unsafe fn fill(
        &self,
        written: &TargetTable,
        source: *mut pg_sys::TupleTableSlot,
        new: &Slot,
    ) -> bool {
        // SAFETY: guaranteed by the caller; the slot has as many values as the table has columns, and each is set.
        unsafe {
            if !self.is_followed(source) {
                return false;
            }
            let evaluated = |expression| evaluate(written.expression_context(), expression, source);
            if !self.filter.is_null() {
                let (passes, null) = evaluated(self.filter);
                if null || passes.value() == 0 {
                    return false;
                }
            }
            pg_sys::ExecClearTuple(new.0);
            let new = &mut *new.0;
            let width = (*new.tts_tupleDescriptor).natts as usize;
            std::slice::from_raw_parts_mut(new.tts_isnull, width).fill(true);
            for (number, value, _) in &self.columns {
                let (value, null) = match *value {
                    ValueSource::Column(from) => Slot::value(source, from),
                    ValueSource::Const(value, null) => (value, null),
                    ValueSource::Expression(expression) => evaluated(expression),
                };
                let at = *number as usize - 1;
                *new.tts_values.add(at) = value;
                *new.tts_isnull.add(at) = null;
            }
            pg_sys::ExecStoreVirtualTuple(new);
            true
        }
    }

    /// Gives `new` the values of `stored` in the columns that the mapping leaves alone.
    ///
    /// # Safety
    /// `fill` has filled `new`; `stored` holds the row as it is, and keeps its values for as long as `new` is used.
    pub unsafe fn keep_others(&self, stored: &Slot, new: &Slot) {
        for number in &self.others {
            // SAFETY: guaranteed by the caller; a virtual slot has its values in these arrays.
            unsafe {
                let (value, null) = Slot::value(stored.0, *number);
                let at = *number as usize - 1;
                *(*new.0).tts_values.add(at) = value;
                *(*new.0).tts_isnull.add(at) = null;
            }
        }
    }

    /// Returns the key of a row of the written table.
    ///
    /// # Safety
    /// `row` holds a row of the written table.
    pub unsafe fn key_of(&self, row: &Slot) -> Vec<pg_sys::Datum> {
        // SAFETY: guaranteed by the caller; key columns are not null.
        let value = |n: &i16| unsafe { Slot::value(row.0, *n).0 };
        self.arbiter.iter().map(value).collect()
    }
}

/// Whether the query reads the touched table only, row by row.
///
/// # Safety
/// The query belongs to a view.
unsafe fn reads_one(query: &pg_sys::Query, touched: pg_sys::Oid) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let number = only_range(query).and_then(|n| usize::try_from(n - 1).ok());
        let mut tables = items::<pg_sys::RangeTblEntry>(query.rtable);
        let table = number.and_then(|n| tables.nth(n));
        table
            .is_some_and(|t| (*t).rtekind == pg_sys::RTEKind::RTE_RELATION && (*t).relid == touched)
    }
}

/// Returns the range table index of the one thing that the query reads row by row; None with a join, an aggregate, a subquery or a set
/// operation.
///
/// # Safety
/// The query belongs to a view.
pub(super) unsafe fn only_range(query: &pg_sys::Query) -> Option<i32> {
    let simple = !query.hasSubLinks
        && !query.hasAggs
        && !query.hasWindowFuncs
        && !query.hasTargetSRFs
        && !query.hasDistinctOn
        && query.distinctClause.is_null()
        && query.groupClause.is_null()
        && query.limitCount.is_null()
        && query.cteList.is_null()
        && query.setOperations.is_null();
    // SAFETY: the FROM clause of a query is a list of nodes; a RangeTblRef counts tables from 1.
    unsafe {
        let mut from = items::<pg_sys::Node>((*query.jointree).fromlist);
        let (Some(first), None) = (from.next(), from.next()) else {
            return None;
        };
        let is_table = (*first).type_ == pg_sys::NodeTag::T_RangeTblRef;
        (simple && is_table).then(|| (*first.cast::<pg_sys::RangeTblRef>()).rtindex)
    }
}

/// Returns the origin of a column's value. None if the type in the view is not exactly the column's type: an assignment would convert the
/// value.
///
/// # Safety
/// The query belongs to a view, and the table is open.
unsafe fn value(
    query: &pg_sys::Query,
    name: &CStr,
    written: pg_sys::Relation,
    number: i16,
) -> Option<ValueSource> {
    // SAFETY: guaranteed by the caller; a node's tag gives its type.
    unsafe {
        let entry = items::<pg_sys::TargetEntry>(query.targetList).find(|e| {
            let named = (**e).resname;
            !named.is_null() && CStr::from_ptr(named) == name
        })?;
        let given = (*entry).expr;
        let column = attribute(written, number);
        let (kind, modifier) = (
            pg_sys::exprType(given.cast()),
            pg_sys::exprTypmod(given.cast()),
        );
        if kind != column.atttypid || column.atttypmod != -1 && column.atttypmod != modifier {
            return None;
        }
        let expression = plan_expression(given);
        Some(match (*expression.cast::<pg_sys::Node>()).type_ {
            pg_sys::NodeTag::T_Var if (*expression.cast::<pg_sys::Var>()).varattno > 0 => {
                ValueSource::Column((*expression.cast::<pg_sys::Var>()).varattno)
            }
            pg_sys::NodeTag::T_Const => {
                let constant = &*expression.cast::<pg_sys::Const>();
                ValueSource::Const(constant.constvalue, constant.constisnull)
            }
            _ => ValueSource::Expression(expression),
        })
    }
}

/// # Safety
/// `expression` is an analyzed expression; the result is allocated in the current memory context.
pub unsafe fn plan_expression(expression: *mut pg_sys::Expr) -> *mut pg_sys::Expr {
    // SAFETY: guaranteed by the caller. The planner modifies its input in place, so it gets a copy.
    unsafe {
        let copy = pg_sys::copyObjectImpl(expression.cast_const().cast());
        pg_sys::expression_planner(copy.cast())
    }
}

/// # Safety
/// `source` holds a row of the touched table.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
unsafe fn evaluate(
    context: *mut pg_sys::ExprContext,
    expression: *mut pg_sys::Expr,
    source: *mut pg_sys::TupleTableSlot,
) -> (pg_sys::Datum, bool) {
    // SAFETY: guaranteed by the caller. The state is built for each row, because functions may keep data in it that belongs to this
    // transaction.
    unsafe {
        (*context).ecxt_scantuple = source;
        let state = pg_sys::ExecInitExpr(expression, std::ptr::null_mut());
        let mut null = false;
        let value = match (*state).evalfunc {
            Some(run) => catch_error(|| run(state, context, &mut null)),
            None => return (pg_sys::Datum::from(0), true),
        };
        (value, null)
    }
}
