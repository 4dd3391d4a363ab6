//! What a session caches of the written table between rows, so that a row that is written alone does not pay for it again.

use crate::pg::trigger_kind::{self, TriggerKind};
use crate::row_writer::index_lookup;
use pgrx::pg_sys;

pub struct TableCache {
    /// Oids, and how rows become entries; None if an index needs more than the columns of a row.
    pub indexes: Option<Vec<(pg_sys::Oid, *mut pg_sys::IndexInfo)>>,
    /// The constraints that have triggers.
    constraints: Vec<pg_sys::Oid>,
}

impl TableCache {
    /// # Safety
    /// `table` is open; the current memory context lives as long as the value.
    pub unsafe fn load(table: pg_sys::Relation) -> Self {
        let mut indexes = Vec::new();
        // SAFETY: guaranteed by the caller.
        unsafe {
            // Expressions and predicates keep their state in the executor's memory, other access methods keep theirs in the IndexInfo.
            let plain = index_lookup::all_indexes(table, |index| {
                indexes.push(((*index).rd_id, pg_sys::BuildIndexInfo(index)));
                (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                    && pg_sys::RelationGetIndexPredicate(index).is_null()
                    && pg_sys::RelationGetIndexExpressions(index).is_null()
            });
            let triggers = trigger_kind::triggers_of((*table).trigdesc);
            let kinds = trigger_kind::list_kinds(triggers);
            let of_constraints = triggers
                .iter()
                .zip(kinds)
                .filter(|(_, kind)| *kind == TriggerKind::Constraint);
            Self {
                indexes: plain.then_some(indexes),
                constraints: of_constraints.map(|(t, _)| t.tgconstraint).collect(),
            }
        }
    }

    /// Returns the constraints that have triggers, except `constraints`.
    pub fn all_but(&self, constraints: &[pg_sys::Oid]) -> Vec<pg_sys::Oid> {
        let others = self.constraints.iter();
        others
            .copied()
            .filter(|c| !constraints.contains(c))
            .collect()
    }

    /// Whether all triggers of constraints belong to the foreign keys `skipped_fks`.
    pub fn is_quiet(&self, skipped_fks: &[pg_sys::Oid]) -> bool {
        self.constraints.iter().all(|c| skipped_fks.contains(c))
    }
}
