//! Rules for a row that the application writes, for columns that are kept in step: which columns to set, and which writes to refuse.

use crate::model::column_change::SyncStage;
use crate::pg::datum_equality::DatumImage;
use crate::pg::slot::{Slot, merge};
use crate::row_writer::column_exprs::{
    ColumnSync, ColumnValue, ComputedColumn, EvalContext, OldColumn,
};
use pgrx::pg_sys;

pub enum ColumnOutcome {
    Set(Vec<ColumnValue>),
    /// Old and new columns are both written, and contradict each other.
    Contradiction,
    /// The computed column is written with a value that differs from the computed one.
    Computed,
    /// The old column is written after it has been replaced.
    Replaced,
}

impl ColumnOutcome {
    fn keep() -> Self {
        ColumnOutcome::Set(Vec::new())
    }
}

impl ColumnSync {
    /// Whether an UPDATE concerns none of these columns.
    ///
    /// # Safety
    /// As `decide_update`.
    pub unsafe fn is_untouched(
        &self,
        before: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
    ) -> bool {
        // SAFETY: guaranteed by the caller.
        let kept = |(number, image): (i16, DatumImage)| unsafe {
            has_same_value(before, new, number, image)
        };
        let mut columns = self.new.iter().chain(self.old.iter().map(|o| &o.made));
        let untouched = columns.all(|m| {
            kept((m.number, m.image))
                && (stage == SyncStage::New || m.reads.iter().all(|r| kept(*r)))
        });
        // SAFETY: guaranteed by the caller.
        let unfilled = |m: &ComputedColumn| unsafe { Slot::value(new, m.number).1 };
        untouched && (stage != SyncStage::Old || !self.new.iter().any(unfilled))
    }

    /// # Safety
    /// `new` holds the row to insert.
    pub unsafe fn decide_insert(
        &self,
        new: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
    ) -> ColumnOutcome {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let context = EvalContext::new();
            let written = self.new.iter().any(|m| !Slot::value(new, m.number).1);
            if let (SyncStage::New, Some(old)) = (stage, &self.old) {
                return self.follow(&context, new, old.is_unnamed(&context, new));
            }
            let ups = self.find_wrong_columns(&context, new);
            if !written || ups.is_empty() {
                return ColumnOutcome::Set(ups);
            }
            let unnamed = |old: &OldColumn| old.is_unnamed(&context, new);
            self.go_back(&context, new, stage, unnamed)
        }
    }

    /// # Safety
    /// `before` and `new` hold the old and the new version of the row.
    pub unsafe fn decide_update(
        &self,
        before: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
    ) -> ColumnOutcome {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let changed =
                |number: i16, image: DatumImage| !has_same_value(before, new, number, image);
            let new_changed = self.new.iter().any(|m| changed(m.number, m.image));
            let context = EvalContext::new();
            if let (SyncStage::New, Some(old)) = (stage, &self.old) {
                let untouched = !changed(old.made.number, old.made.image);
                if untouched && !new_changed {
                    return ColumnOutcome::keep();
                }
                return self.follow(&context, new, untouched);
            }
            let moved = |m: &ComputedColumn| m.reads.iter().any(|(n, image)| changed(*n, *image));
            if !new_changed {
                let unfilled =
                    |m: &ComputedColumn| stage == SyncStage::Old && Slot::value(new, m.number).1;
                let due = self.new.iter().filter(|m| moved(m) || unfilled(m));
                return ColumnOutcome::Set(
                    due.filter_map(|m| m.correct_value(&context, new)).collect(),
                );
            }
            if self.find_wrong_columns(&context, new).is_empty() {
                return ColumnOutcome::keep();
            }
            let untouched = |_: &OldColumn| !self.new.iter().any(moved);
            // One of several new columns is written before the backfill has reached the row: the others get their value from the old
            // column.
            let lacking = self.new.iter().filter(|m| {
                stage == SyncStage::Old
                    && !changed(m.number, m.image)
                    && Slot::value(new, m.number).1
            });
            let mut set: Vec<ColumnValue> = lacking
                .filter_map(|m| m.correct_value(&context, new))
                .collect();
            if set.is_empty() {
                return self.go_back(&context, new, stage, untouched);
            }
            let filled = Slot::of_row((*new).tts_tupleDescriptor);
            merge(new, &set, &filled);
            match self.go_back(&context, filled.0, stage, untouched) {
                ColumnOutcome::Set(down) => {
                    set.extend(down);
                    ColumnOutcome::Set(set)
                }
                refused => refused,
            }
        }
    }

    /// Handles written new columns that differ from what the old column gives: the old column is set from them, unless it is written too.
    ///
    /// # Safety
    /// As `decide_insert`.
    unsafe fn go_back(
        &self,
        context: &EvalContext,
        new: *mut pg_sys::TupleTableSlot,
        stage: SyncStage,
        untouched: impl FnOnce(&OldColumn) -> bool,
    ) -> ColumnOutcome {
        let Some(old) = &self.old else {
            return if stage == SyncStage::Old {
                ColumnOutcome::Computed
            } else {
                ColumnOutcome::keep()
            };
        };
        // SAFETY: guaranteed by the caller.
        match unsafe { old.made.correct_value(context, new) } {
            None => ColumnOutcome::keep(),
            Some(down) if untouched(old) => ColumnOutcome::Set(vec![down]),
            Some(_) => ColumnOutcome::Contradiction,
        }
    }

    /// Sets the old column from the new ones; any other write to it is refused.
    ///
    /// # Safety
    /// As `decide_insert`.
    unsafe fn follow(
        &self,
        context: &EvalContext,
        new: *mut pg_sys::TupleTableSlot,
        untouched: bool,
    ) -> ColumnOutcome {
        let Some(old) = &self.old else {
            return ColumnOutcome::keep();
        };
        // SAFETY: guaranteed by the caller.
        match unsafe { old.made.correct_value(context, new) } {
            None => ColumnOutcome::keep(),
            Some(down) if untouched => ColumnOutcome::Set(vec![down]),
            Some(_) => ColumnOutcome::Replaced,
        }
    }
}

/// # Safety
/// Both slots hold rows of one table.
unsafe fn has_same_value(
    a: *mut pg_sys::TupleTableSlot,
    b: *mut pg_sys::TupleTableSlot,
    number: i16,
    image: DatumImage,
) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let ((a, no_a), (b, no_b)) = (Slot::value(a, number), Slot::value(b, number));
        no_a == no_b && (no_a || image.is_same_stored(a, b))
    }
}
