//! The change that one command made to one row, as its event shows it, and other rows on the same page with the same change. PostgreSQL
//! stores the command id in each row that a command inserts, updates or deletes (t_cid), and uses no id twice in a transaction.

use crate::pg::command_id;
use crate::row_writer::WriteEvent;
use pgrx::itemptr::{item_pointer_set_all, item_pointer_to_u64};
use pgrx::pg_sys;

/// The tid of a row: block number in the high half, offset in the low half.
pub type Tid = u64;

pub fn block_of(place: Tid) -> pg_sys::BlockNumber {
    (place >> 32) as pg_sys::BlockNumber
}

pub fn pointer_to(place: Tid) -> pg_sys::ItemPointerData {
    let mut pointer = pg_sys::ItemPointerData::default();
    item_pointer_set_all(&mut pointer, block_of(place), place as u16);
    pointer
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowChange {
    pub event: WriteEvent,
    transaction: pg_sys::TransactionId,
    command: pg_sys::CommandId,
}

impl RowChange {
    /// Returns the change of a running row trigger, and its tid: that of the new row for an INSERT, of the old one otherwise. None if other
    /// transactions hold the row, too.
    ///
    /// # Safety
    /// `data` belongs to a running AFTER row trigger.
    pub unsafe fn from_trigger(data: &pg_sys::TriggerData) -> Option<(Self, Tid)> {
        // SAFETY: the tuple is that of the event, as stored. Its command id is known as long as its transaction runs.
        unsafe {
            let tuple = &*data.tg_trigtuple;
            let row = &*tuple.t_data;
            let stamps = row.t_choice.t_heap;
            let deed = match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
                pg_sys::TRIGGER_EVENT_INSERT => Self {
                    event: WriteEvent::Insert,
                    transaction: stamps.t_xmin,
                    command: command_id::cmin(tuple.t_data),
                },
                _ if has_flag(row, pg_sys::HEAP_XMAX_IS_MULTI) => return None,
                kind => Self {
                    event: match kind {
                        pg_sys::TRIGGER_EVENT_UPDATE => WriteEvent::Update,
                        _ => WriteEvent::Delete,
                    },
                    transaction: stamps.t_xmax,
                    command: command_id::cmax(tuple.t_data),
                },
            };
            Some((deed, item_pointer_to_u64(tuple.t_self)))
        }
    }

    /// Adds the tids of rows behind `after` on one page that have the same change, up to `most` in all.
    ///
    /// # Safety
    /// The buffer is pinned and holds a heap page; the command's transaction is running.
    pub unsafe fn on_page(
        &self,
        buffer: pg_sys::Buffer,
        after: Tid,
        most: usize,
        places: &mut Vec<Tid>,
    ) {
        // SAFETY: guaranteed by the caller; an ERROR releases the buffer lock.
        unsafe {
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let page = pg_sys::BufferGetPage(buffer);
            let last = pg_sys::PageGetMaxOffsetNumber(page);
            for offset in after as u16 + 1..=last {
                let item = pg_sys::PageGetItemId(page, offset);
                let place = after & !0xffff_ffff | u64::from(offset);
                if places.len() == most {
                    break;
                }
                if (*item).lp_flags() == pg_sys::LP_NORMAL
                    && self.is_of(pg_sys::PageGetItem(page, item).cast(), place)
                {
                    places.push(place);
                }
            }
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        }
    }

    /// Whether the row has this change.
    ///
    /// # Safety
    /// `row` is stored at `place`, on a page that does not change meanwhile.
    unsafe fn is_of(&self, row: pg_sys::HeapTupleHeader, place: Tid) -> bool {
        // SAFETY: guaranteed by the caller. Only command ids of the own transaction are read.
        unsafe {
            let head = &*row;
            let stamps = head.t_choice.t_heap;
            if self.event == WriteEvent::Insert {
                return stamps.t_xmin == self.transaction
                    && !has_flag(head, pg_sys::HEAP_COMBOCID)
                    && stamps.t_field3.t_cid == self.command
                    && has_flag(head, pg_sys::HEAP_XMAX_INVALID)
                    // Not a new version of an existing row.
                    && !has_flag(head, pg_sys::HEAP_UPDATED);
            }
            let doubtful = pg_sys::HEAP_XMAX_INVALID
                | pg_sys::HEAP_XMAX_IS_MULTI
                | pg_sys::HEAP_XMAX_LOCK_ONLY;
            let deleted = item_pointer_to_u64(head.t_ctid) == place;
            stamps.t_xmax == self.transaction
                && !has_flag(head, doubtful)
                && deleted == (self.event == WriteEvent::Delete)
                && command_id::cmax(row) == self.command
        }
    }
}

fn has_flag(row: &pg_sys::HeapTupleHeaderData, any_of: u32) -> bool {
    u32::from(row.t_infomask) & any_of != 0
}
