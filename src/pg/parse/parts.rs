//! The parts of an expression or a query. A tree may be as deep as its text is long, so nothing here is recursive: nodes still to
//! be visited are kept in a list.

use super::node::{Node, items, range, strings, tag, text};
use crate::model::lint::statement::WrittenName;
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// The names in it, each as often as it is written, in the order of the text. Columns and calls are unqualified.
#[derive(Default)]
pub struct NameParts {
    pub columns: Vec<String>,
    pub calls: Vec<String>,
    /// Without those that a WITH names.
    pub tables: Vec<WrittenName>,
    /// Tables that a WITH inserts into, updates or deletes from.
    pub written: Vec<WrittenName>,
    /// FOR UPDATE, FOR SHARE and the like.
    pub locks_rows: bool,
    named: Vec<String>,
}

impl NameParts {
    /// # Safety
    /// `node` is a parser node or null.
    pub unsafe fn from_node(node: Node) -> Self {
        let mut parts = Self::default();
        let mut waiting = vec![node];
        while let Some(node) = waiting.pop() {
            // SAFETY: upheld by the caller; each node is cast according to its tag.
            unsafe {
                parts.take(node);
                let first = waiting.len();
                collect_children(node, &mut waiting);
                waiting[first..].reverse();
            }
        }
        let named = std::mem::take(&mut parts.named);
        parts
            .tables
            .retain(|t| t.schema.is_some() || !named.contains(&t.name));
        parts
    }

    /// # Safety
    /// `node` is a parser node or null.
    unsafe fn take(&mut self, node: Node) {
        // SAFETY: each node is cast according to its tag.
        unsafe {
            match tag(node) {
                NodeTag::T_ColumnRef => {
                    let fields = strings((*node.cast::<pg_sys::ColumnRef>()).fields);
                    self.columns.extend(fields.into_iter().next_back());
                }
                NodeTag::T_FuncCall => {
                    let name = strings((*node.cast::<pg_sys::FuncCall>()).funcname);
                    self.calls.extend(name.into_iter().next_back());
                }
                NodeTag::T_RangeVar => self.tables.push(range(node.cast())),
                NodeTag::T_CommonTableExpr => {
                    let name = (*node.cast::<pg_sys::CommonTableExpr>()).ctename;
                    self.named.extend(text(name));
                }
                NodeTag::T_InsertStmt => self
                    .written
                    .push(range((*node.cast::<pg_sys::InsertStmt>()).relation)),
                NodeTag::T_UpdateStmt => self
                    .written
                    .push(range((*node.cast::<pg_sys::UpdateStmt>()).relation)),
                NodeTag::T_DeleteStmt => self
                    .written
                    .push(range((*node.cast::<pg_sys::DeleteStmt>()).relation)),
                NodeTag::T_SelectStmt => {
                    let s = &*node.cast::<pg_sys::SelectStmt>();
                    self.locks_rows |= !s.lockingClause.is_null();
                }
                _ => {}
            }
        }
    }
}

/// Collects the direct children of a node, in their order.
///
/// # Safety
/// `node` is a parser node or null.
unsafe fn collect_children(node: Node, found: &mut Vec<Node>) {
    // SAFETY: each node is cast according to its tag.
    unsafe {
        match tag(node) {
            NodeTag::T_FuncCall => found.extend(items((*node.cast::<pg_sys::FuncCall>()).args)),
            NodeTag::T_A_Expr => {
                let e = &*node.cast::<pg_sys::A_Expr>();
                found.extend([e.lexpr, e.rexpr]);
            }
            NodeTag::T_TypeCast => found.push((*node.cast::<pg_sys::TypeCast>()).arg),
            NodeTag::T_BoolExpr => found.extend(items((*node.cast::<pg_sys::BoolExpr>()).args)),
            NodeTag::T_CoalesceExpr => {
                found.extend(items((*node.cast::<pg_sys::CoalesceExpr>()).args));
            }
            NodeTag::T_MinMaxExpr => {
                found.extend(items((*node.cast::<pg_sys::MinMaxExpr>()).args));
            }
            NodeTag::T_NullTest => found.push((*node.cast::<pg_sys::NullTest>()).arg.cast()),
            NodeTag::T_CaseExpr => {
                let case = &*node.cast::<pg_sys::CaseExpr>();
                found.push(case.arg.cast());
                found.extend(items(case.args));
                found.push(case.defresult.cast());
            }
            NodeTag::T_CaseWhen => {
                let when = &*node.cast::<pg_sys::CaseWhen>();
                found.extend([when.expr.cast(), when.result.cast()]);
            }
            NodeTag::T_A_ArrayExpr => {
                found.extend(items((*node.cast::<pg_sys::A_ArrayExpr>()).elements));
            }
            NodeTag::T_ResTarget => found.push((*node.cast::<pg_sys::ResTarget>()).val),
            NodeTag::T_SubLink => found.push((*node.cast::<pg_sys::SubLink>()).subselect),
            NodeTag::T_List => found.extend(items(node.cast())),
            NodeTag::T_JoinExpr => {
                let join = &*node.cast::<pg_sys::JoinExpr>();
                found.extend([join.larg, join.rarg, join.quals]);
            }
            NodeTag::T_RangeSubselect => {
                found.push((*node.cast::<pg_sys::RangeSubselect>()).subquery);
            }
            NodeTag::T_SelectStmt => of_select(&*node.cast::<pg_sys::SelectStmt>(), found),
            NodeTag::T_CommonTableExpr => {
                found.push((*node.cast::<pg_sys::CommonTableExpr>()).ctequery);
            }
            NodeTag::T_InsertStmt => {
                let s = &*node.cast::<pg_sys::InsertStmt>();
                found.extend(of_with(s.withClause));
                found.push(s.selectStmt);
            }
            NodeTag::T_UpdateStmt => {
                let s = &*node.cast::<pg_sys::UpdateStmt>();
                found.extend(of_with(s.withClause));
                found.extend(items(s.fromClause));
                found.push(s.whereClause);
            }
            NodeTag::T_DeleteStmt => {
                let s = &*node.cast::<pg_sys::DeleteStmt>();
                found.extend(of_with(s.withClause));
                found.extend(items(s.usingClause));
                found.push(s.whereClause);
            }
            _ => {}
        }
    }
}

/// # Safety
/// `s` is a parser node.
unsafe fn of_select(s: &pg_sys::SelectStmt, found: &mut Vec<Node>) {
    // SAFETY: upheld by the caller.
    unsafe {
        found.extend(of_with(s.withClause));
        found.extend(items(s.targetList));
        found.extend(items(s.fromClause));
        found.extend([s.whereClause, s.larg.cast(), s.rarg.cast()]);
    }
}

/// # Safety
/// `with` is a parser node or null.
unsafe fn of_with(with: *mut pg_sys::WithClause) -> Vec<Node> {
    // SAFETY: upheld by the caller.
    unsafe { with.as_ref().map_or_else(Vec::new, |w| items(w.ctes)) }
}
