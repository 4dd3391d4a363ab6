//! Inserts the index entries of many rows, one index after the other, each in its own order. Entries that belong on the same index page
//! then find it in the processor's caches. The result is the same in any order.

use crate::pg::slot::{Slot, catch_error};
use crate::row_writer::target::TargetTable;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// The entries of one index, one for each row.
struct IndexEntries {
    columns: usize,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl IndexEntries {
    fn columns_of_row(&self, row: usize) -> std::ops::Range<usize> {
        row * self.columns..(row + 1) * self.columns
    }
}

impl TargetTable<'_> {
    /// Inserts the rows' index entries, without waiting. Returns the numbers of the rows that conflict, or may come to conflict, with
    /// another row in a unique index.
    ///
    /// # Safety
    /// The slots hold rows that are already in the table.
    pub unsafe fn index_all(&self, new: &[Slot]) -> Vec<usize> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.open_indexes();
            let Some(known) = &self.kept.indexes else {
                let in_the_way = |n: &usize| !self.index_unless_there(&new[*n]);
                return (0..new.len()).filter(in_the_way).collect();
            };
            let mut doubles = Vec::new();
            for (n, (_, info)) in known.iter().enumerate() {
                // As ExecInsertIndexTuples(): an index that is being built concurrently may not even have its first page.
                if !(**info).ii_ReadyForInserts {
                    continue;
                }
                let index = *(*self.result).ri_IndexRelationDescs.add(n);
                self.index_in_order(index, *info, new, &mut doubles);
            }
            doubles.sort_unstable();
            doubles.dedup();
            doubles
        }
    }

    /// # Safety
    /// As `index_all`; the index is open.
    unsafe fn index_in_order(
        &self,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        new: &[Slot],
        doubles: &mut Vec<usize>,
    ) {
        // SAFETY: guaranteed by the caller; each entry has room for each column.
        unsafe {
            let unique = (*(*index).rd_index).indisunique;
            let check = match unique {
                true => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL,
                false => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
            };
            let mut entries = self.entries(info, new);
            for row in order(index, &entries, new.len()) {
                let at = entries.columns_of_row(row);
                let alone = pg_sys::index_insert(
                    index,
                    entries.values[at.clone()].as_mut_ptr(),
                    entries.nulls[at].as_mut_ptr(),
                    &raw mut (*new[row].0).tts_tid,
                    self.relation,
                    check,
                    false,
                    info,
                );
                if unique && !alone {
                    doubles.push(row);
                }
            }
        }
    }

    /// # Safety
    /// As `index_all`.
    unsafe fn entries(&self, info: *mut pg_sys::IndexInfo, new: &[Slot]) -> IndexEntries {
        // SAFETY: guaranteed by the caller; each entry has room for each column.
        unsafe {
            let columns = usize::try_from((*info).ii_NumIndexAttrs).unwrap_or(0);
            let mut entries = IndexEntries {
                columns,
                values: vec![pg_sys::Datum::null(); columns * new.len()],
                nulls: vec![false; columns * new.len()],
            };
            for (row, slot) in new.iter().enumerate() {
                let at = entries.columns_of_row(row);
                pg_sys::FormIndexDatum(
                    info,
                    slot.0,
                    self.estate,
                    entries.values[at.clone()].as_mut_ptr(),
                    entries.nulls[at].as_mut_ptr(),
                );
            }
            entries
        }
    }
}

/// Returns the row numbers in index order if that order is cheap to compute, otherwise in the given order.
///
/// # Safety
/// The index is an open btree index; the entries belong to it.
unsafe fn order(index: pg_sys::Relation, entries: &IndexEntries, rows: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    // SAFETY: guaranteed by the caller.
    unsafe {
        if let Some(mut columns) = comparisons(index) {
            // A stable sort: rows with equal keys stay in tid order.
            order.sort_by(|a, b| {
                compare(
                    &mut columns,
                    entries,
                    entries.columns_of_row(*a).start,
                    entries.columns_of_row(*b).start,
                )
            });
        }
    }
    order
}

/// How the index compares its key columns. None if a comparison may cost more than it saves, as for text with a collation.
///
/// # Safety
/// The index is an open btree index; the current memory context lives as long as the value.
unsafe fn comparisons(index: pg_sys::Relation) -> Option<Vec<pg_sys::SortSupportData>> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let keys = usize::try_from((*(*index).rd_index).indnkeyatts).ok()?;
        let order = |n: usize| {
            let options = u32::from(*(*index).rd_indoption.add(n) as u16);
            let kind = *(*index).rd_opcintype.add(n);
            if pg_sys::get_typlen(kind) <= 0 {
                return None;
            }
            let mut order = pg_sys::SortSupportData {
                ssup_cxt: pg_sys::CurrentMemoryContext,
                ssup_collation: *(*index).rd_indcollation.add(n),
                ssup_nulls_first: options & pg_sys::INDOPTION_NULLS_FIRST != 0,
                ssup_attno: n as i16 + 1,
                ..Default::default()
            };
            let strategy = if options & pg_sys::INDOPTION_DESC != 0 {
                pg_sys::BTGreaterStrategyNumber
            } else {
                pg_sys::BTLessStrategyNumber
            };
            pg_sys::PrepareSortSupportFromIndexRel(index, strategy as i16, &mut order);
            Some(order)
        };
        (0..keys).map(order).collect()
    }
}

/// Compares the entries that begin at offsets `a` and `b`.
///
/// # Safety
/// The columns are those of the entries' index.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
unsafe fn compare(
    columns: &mut [pg_sys::SortSupportData],
    entries: &IndexEntries,
    a: usize,
    b: usize,
) -> Ordering {
    for (n, column) in columns.iter_mut().enumerate() {
        let found = match (entries.nulls[a + n], entries.nulls[b + n]) {
            (false, false) => {
                let Some(comparator) = column.comparator else {
                    return Ordering::Equal;
                };
                let (a, b) = (entries.values[a + n], entries.values[b + n]);
                // SAFETY: guaranteed by the caller; the same as ApplySortComparator() in sortsupport.h.
                let sign = unsafe { catch_error(|| comparator(a, b, column)) };
                if column.ssup_reverse {
                    0.cmp(&sign)
                } else {
                    sign.cmp(&0)
                }
            }
            (x, y) if column.ssup_nulls_first => y.cmp(&x),
            (x, y) => x.cmp(&y),
        };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}
