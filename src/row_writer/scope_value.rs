//! A column that has the same value in all rows of a scope.

use crate::pg::datum_equality::DatumImage;
use crate::pg::slot::Slot;
use crate::row_writer::items;
use pgrx::pg_sys;

/// The scope's column, and its value in all rows of this scope.
pub struct ScopeValue {
    pub number: i16,
    pub value: pg_sys::Datum,
    image: DatumImage,
}

impl ScopeValue {
    /// `kind` is the type of the column.
    pub fn new(number: i16, value: pg_sys::Datum, kind: pg_sys::Oid) -> Self {
        Self {
            number,
            value,
            image: DatumImage::for_type(kind),
        }
    }

    /// Whether the row has the value.
    ///
    /// # Safety
    /// `row` holds a row of the column's table.
    pub unsafe fn is_in(&self, row: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: guaranteed by the caller; both values are of the column's type.
        unsafe {
            let (value, null) = Slot::value(row, self.number);
            !null && self.image.is_same(value, self.value)
        }
    }
}

/// Returns the column that the condition compares with a constant of the column's type, and that constant; None if it is anything else.
///
/// # Safety
/// `condition` is null or a planned expression over the touched table, which lives as long as the result.
pub unsafe fn find_compared(condition: *mut pg_sys::Expr) -> Option<ScopeValue> {
    // SAFETY: guaranteed by the caller; a node's tag gives its type.
    unsafe {
        let tag = |node: *mut pg_sys::Node| (*node).type_;
        if condition.is_null() || tag(condition.cast()) != pg_sys::NodeTag::T_OpExpr {
            return None;
        }
        let mut sides = items::<pg_sys::Node>((*condition.cast::<pg_sys::OpExpr>()).args);
        let (column, constant) = (sides.next()?, sides.next()?);
        if tag(column) != pg_sys::NodeTag::T_Var || tag(constant) != pg_sys::NodeTag::T_Const {
            return None;
        }
        let (column, constant) = (
            &*column.cast::<pg_sys::Var>(),
            &*constant.cast::<pg_sys::Const>(),
        );
        let fits =
            column.varattno > 0 && column.vartype == constant.consttype && !constant.constisnull;
        fits.then(|| ScopeValue::new(column.varattno, constant.constvalue, column.vartype))
    }
}
