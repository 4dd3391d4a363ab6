//! Finds the row of a key by an index, and helpers that inspect tables, indexes and slots.

use crate::pg::slot::{Slot, catch_error};
use pgrx::pg_sys;

/// A unique index over the columns of a key, and how each column is compared.
pub struct KeyIndex {
    index: pg_sys::Oid,
    columns: Vec<KeyIndexColumn>,
}

struct KeyIndexColumn {
    /// The position of the column's value in the key.
    value: usize,
    equals: pg_sys::RegProcedure,
    /// The type of the values that are looked for; invalid if it is the index's own.
    kind: pg_sys::Oid,
    collation: pg_sys::Oid,
}

impl KeyIndex {
    /// Finds the unique index over `attributes`. None if `table` has none, or only one that lets two rows have the same key for a while.
    ///
    /// # Safety
    /// `table` is open.
    pub unsafe fn find_index(table: pg_sys::Relation, attributes: &[i16]) -> Option<Self> {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::find_where(table, attributes, |_| true) }
    }

    /// # Safety
    /// `index` is open.
    unsafe fn from_index(index: pg_sys::Relation, attributes: &[i16]) -> Option<Self> {
        // SAFETY: an index has all of these for each of its key columns (relcache.c).
        unsafe {
            let form = &*(*index).rd_index;
            let numbers = form
                .indkey
                .values
                .as_slice(usize::try_from(form.indnkeyatts).ok()?);
            // Not RelationGetIndexPredicate(), which runs functions of constants.
            let predicate = pg_sys::Anum_pg_index_indpred as i32;
            let whole =
                pg_sys::heap_attisnull((*index).rd_indextuple, predicate, std::ptr::null_mut());
            let certain = form.indisunique && form.indimmediate && form.indisvalid && whole;
            if !certain
                || (*(*index).rd_rel).relam != pg_sys::BTREE_AM_OID
                || numbers.len() != attributes.len()
            {
                return None;
            }
            let columns = numbers.iter().enumerate().map(|(n, number)| {
                let input = *(*index).rd_opcintype.add(n);
                let operator = pg_sys::get_opfamily_member(
                    *(*index).rd_opfamily.add(n),
                    input,
                    input,
                    pg_sys::BTEqualStrategyNumber as i16,
                );
                Some(KeyIndexColumn {
                    value: attributes.iter().position(|a| a == number)?,
                    equals: pg_sys::get_opcode(operator),
                    kind: pg_sys::InvalidOid,
                    collation: *(*index).rd_indcollation.add(n),
                })
            });
            Some(Self {
                index: (*index).rd_id,
                columns: columns.collect::<Option<_>>()?,
            })
        }
    }

    /// Finds the unique index that a foreign key to these columns goes by, if it uses built-in comparisons only: none of the parent's owner's
    /// code may run.
    ///
    /// # Safety
    /// `parent` is open.
    pub unsafe fn of_parent(parent: pg_sys::Relation, attributes: &[i16]) -> Option<Self> {
        // SAFETY: guaranteed by the caller; the index is open while it is asked.
        unsafe { Self::find_where(parent, attributes, |index| supports_are_plain(index)) }
    }

    /// As `find_index`, among the indexes for which `is_fit` holds.
    ///
    /// # Safety
    /// `table` is open.
    unsafe fn find_where(
        table: pg_sys::Relation,
        attributes: &[i16],
        is_fit: impl Fn(pg_sys::Relation) -> bool,
    ) -> Option<Self> {
        let mut key = None;
        // SAFETY: guaranteed by the caller.
        unsafe {
            all_indexes(table, |index| {
                if is_fit(index) {
                    key = Self::from_index(index, attributes);
                }
                key.is_none()
            });
        }
        key
    }

    /// Compares by the operators of a foreign key, whose referring columns have these types. None if an operator is not built in, or takes
    /// values of another type.
    pub fn compared_by(mut self, operators: &[pg_sys::Oid], types: &[pg_sys::Oid]) -> Option<Self> {
        for column in &mut self.columns {
            let (operator, given) = (operators[column.value], types[column.value]);
            let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            // SAFETY: catalog look-ups inside a transaction.
            let fits = unsafe {
                pg_sys::op_input_types(operator, &mut left, &mut right);
                column.equals = pg_sys::get_opcode(operator);
                given == right || pg_sys::IsBinaryCoercible(given, right)
            };
            if !fits || column.equals.to_u32() >= pg_sys::FirstNormalObjectId {
                return None;
            }
            column.kind = if left == right {
                pg_sys::InvalidOid
            } else {
                right
            };
        }
        Some(self)
    }

    /// Opens a search that also sees uncommitted rows.
    ///
    /// # Safety
    /// `table` is the index's table, open for longer than the value lives.
    pub unsafe fn search(&self, table: pg_sys::Relation) -> KeySearch<'_> {
        let mut dirty = Box::new(dirty());
        let snapshot = &raw mut *dirty;
        // SAFETY: guaranteed by the caller; the snapshot lives in the value.
        unsafe { KeySearch::open(self, table, snapshot, dirty) }
    }

    /// Fetches the row of the key into `slot`; false if there is none. It sees what is committed now and what this transaction has written
    /// (HeapTupleSatisfiesSelf), and leaves no predicate lock.
    ///
    /// # Safety
    /// As `search`; `values` are those of the key's columns, and `slot` is for rows of the table.
    pub unsafe fn find_now(
        &self,
        table: pg_sys::Relation,
        values: &[pg_sys::Datum],
        slot: &Slot,
    ) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let own = &raw mut pg_sys::SnapshotSelfData;
            KeySearch::open(self, table, own, Box::default()).look(values, slot)
        }
    }
}

/// An open index scan for key lookups.
pub struct KeySearch<'a> {
    key: &'a KeyIndex,
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    /// The dirty snapshot, with the transactions that the last lookup found in progress.
    dirty: Box<pg_sys::SnapshotData>,
}

impl<'a> KeySearch<'a> {
    /// # Safety
    /// As `KeyIndex::search`; the snapshot is valid as long as the value lives.
    unsafe fn open(
        key: &'a KeyIndex,
        table: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        dirty: Box<pg_sys::SnapshotData>,
    ) -> Self {
        // SAFETY: guaranteed by the caller; closed on drop, or by the abort that unwinds the scan.
        unsafe {
            let index = pg_sys::index_open(key.index, pg_sys::AccessShareLock as i32);
            let count = key.columns.len() as i32;
            Self {
                key,
                index,
                scan: pg_sys::index_beginscan(table, index, snapshot, count, 0),
                dirty,
            }
        }
    }

    /// Fetches the row of the key into `slot`; false if there is none. Waits for transactions that have just inserted the row or are about
    /// to delete it, as RelationFindReplTupleByIndex() in execReplication.c.
    ///
    /// # Safety
    /// `values` are those of the key's columns; `slot` is for rows of the table.
    pub unsafe fn find(&mut self, values: &[pg_sys::Datum], slot: &Slot) -> bool {
        // SAFETY: guaranteed by the caller. The wait ends with the other transaction, by an ERROR, or by a timeout.
        unsafe {
            while self.look(values, slot) {
                let Some(other) = self.in_progress() else {
                    return true;
                };
                pg_sys::ExecClearTuple(slot.0);
                pg_sys::XactLockTableWait(
                    other,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    pg_sys::XLTW_Oper::XLTW_None,
                );
            }
            false
        }
    }

    /// As `find`, without waiting; `in_progress` then names the transaction to wait for.
    ///
    /// # Safety
    /// As `find`.
    pub unsafe fn look(&mut self, values: &[pg_sys::Datum], slot: &Slot) -> bool {
        let mut keys = [pg_sys::ScanKeyData::default(); pg_sys::INDEX_MAX_KEYS as usize];
        // SAFETY: guaranteed by the caller.
        unsafe {
            for (n, c) in self.key.columns.iter().enumerate() {
                pg_sys::ScanKeyEntryInitialize(
                    &mut keys[n],
                    0,
                    n as i16 + 1,
                    pg_sys::BTEqualStrategyNumber as u16,
                    c.kind,
                    c.collation,
                    c.equals,
                    values[c.value],
                );
            }
            let count = self.key.columns.len() as i32;
            pg_sys::index_rescan(self.scan, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            pg_sys::index_getnext_slot(
                self.scan,
                pg_sys::ScanDirection::ForwardScanDirection,
                slot.0,
            )
        }
    }

    /// The transaction, still in progress, that wrote the row found last.
    pub fn in_progress(&self) -> Option<pg_sys::TransactionId> {
        in_progress(&self.dirty)
    }
}

impl Drop for KeySearch<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`.
            unsafe {
                pg_sys::index_endscan(self.scan);
                pg_sys::index_close(self.index, pg_sys::NoLock as i32);
            }
        }
    }
}

/// Returns a dirty snapshot, which sees uncommitted rows and reports their transactions (HeapTupleSatisfiesDirty).
pub fn dirty() -> pg_sys::SnapshotData {
    pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    }
}

/// The transaction, still in progress, that wrote the row which `dirty` saw last.
pub fn in_progress(dirty: &pg_sys::SnapshotData) -> Option<pg_sys::TransactionId> {
    [dirty.xmin, dirty.xmax]
        .into_iter()
        .find(|x| *x != pg_sys::InvalidTransactionId)
}

/// Whether `table` is an ordinary table: not partitioned, not a partition, without inheritance children.
///
/// # Safety
/// `table` is open.
pub unsafe fn is_table(table: pg_sys::Relation) -> bool {
    // SAFETY: guaranteed by the caller.
    let form = unsafe { &*(*table).rd_rel };
    form.relkind as u8 == pg_sys::RELKIND_RELATION
        && form.relam == pg_sys::HEAP_TABLE_AM_OID
        && !form.relispartition
        && !form.relhassubclass
}

/// Whether `slot` is one for rows on heap pages.
///
/// # Safety
/// `slot` is null or a slot.
pub unsafe fn is_stored(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: guaranteed by the caller.
    !slot.is_null() && unsafe { (*slot).tts_ops == &raw const pg_sys::TTSOpsBufferHeapTuple }
}

/// Whether this transaction wrote this row version, and none after it. The version is then current under any snapshot, and no other
/// transaction can see it.
///
/// # Safety
/// `slot` holds a row as stored.
pub unsafe fn is_own(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: guaranteed by the caller; other kinds of slots have no tuple header to read.
    unsafe {
        if !is_stored(slot) {
            return false;
        }
        let tuple = (*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple;
        let row = &*(*tuple).t_data;
        u32::from(row.t_infomask) & pg_sys::HEAP_XMAX_INVALID != 0
            && pg_sys::TransactionIdIsCurrentTransactionId(row.t_choice.t_heap.t_xmin)
    }
}

/// Whether this row version is visible under the snapshot.
///
/// # Safety
/// `slot` holds a row of `table`, as stored.
#[allow(ffi_unwind_calls, reason = "the call is guarded")]
pub unsafe fn is_visible(
    table: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: guaranteed by the caller; other kinds of slots have no buffer to read.
    unsafe {
        if !is_stored(slot) {
            return false;
        }
        match (*(*table).rd_tableam).tuple_satisfies_snapshot {
            None => false,
            Some(satisfies) => catch_error(|| satisfies(table, slot, snapshot)),
        }
    }
}

/// Whether the table's indexes use only built-in comparisons, and none has an expression or a predicate.
///
/// # Safety
/// `table` is open.
pub unsafe fn indexes_are_plain(table: pg_sys::Relation) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        all_indexes(table, |index| {
            supports_are_plain(index)
                && pg_sys::RelationGetIndexPredicate(index).is_null()
                && pg_sys::RelationGetIndexExpressions(index).is_null()
        })
    }
}

/// Whether the index compares by built-in functions only.
///
/// # Safety
/// `index` is open.
unsafe fn supports_are_plain(index: pg_sys::Relation) -> bool {
    let own = |f: &pg_sys::RegProcedure| f.to_u32() < pg_sys::FirstNormalObjectId;
    // SAFETY: guaranteed by the caller; an index has that many support functions for each key column (relcache.c).
    unsafe {
        let supports = usize::from((*(*index).rd_indam).amsupport)
            * usize::try_from((*(*index).rd_index).indnkeyatts).unwrap_or(0);
        std::slice::from_raw_parts((*index).rd_support, supports)
            .iter()
            .all(own)
    }
}

/// Whether `is_so` holds for all indexes of the table.
///
/// # Safety
/// `table` is open.
pub unsafe fn all_indexes(
    table: pg_sys::Relation,
    mut is_so: impl FnMut(pg_sys::Relation) -> bool,
) -> bool {
    // SAFETY: guaranteed by the caller; each index is open while `is_so` runs.
    unsafe {
        let list = pg_sys::RelationGetIndexList(table);
        let length = list.as_ref().map_or(0, |l| l.length);
        (0..length).all(|n| {
            let oid = (*pg_sys::list_nth_cell(list, n)).oid_value;
            let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
            let so = is_so(index);
            pg_sys::index_close(index, pg_sys::NoLock as i32);
            so
        })
    }
}
