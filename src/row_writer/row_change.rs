//! What one command did to one row, as its event tells, and other rows on the same page to which it did the same: PostgreSQL
//! writes the number of the command into each row that it puts in, changes or deletes (t_cid), and gives none twice in a transaction.

use crate::pg::command_id;
use crate::row_writer::WriteEvent;
use pgrx::itemptr::{item_pointer_set_all, item_pointer_to_u64};
use pgrx::pg_sys;

/// Where a row stands: block and offset, in this order.
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
    /// The deed of a running row trigger, and where it was done: the new row's place, or the old one's for a change. None where
    /// others hold the row, too.
    ///
    /// # Safety
    /// `data` belongs to an AFTER row trigger that is running.
    pub unsafe fn from_trigger(data: &pg_sys::TriggerData) -> Option<(Self, Tid)> {
        // SAFETY: the tuple is that of the event, as stored. Its command is known as long as its transaction runs.
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

    /// Adds the places of rows behind `after` on one page to which the same was done, `most` at the most.
    ///
    /// # Safety
    /// The buffer is pinned and holds a page of a heap; the command's transaction runs.
    pub unsafe fn on_page(
        &self,
        buffer: pg_sys::Buffer,
        after: Tid,
        most: usize,
        places: &mut Vec<Tid>,
    ) {
        // SAFETY: as the caller says; an ERROR lets go of the buffer's lock.
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

    /// # Safety
    /// `row` is stored at `place`, on a page that nobody changes meanwhile.
    unsafe fn is_of(&self, row: pg_sys::HeapTupleHeader, place: Tid) -> bool {
        // SAFETY: as the caller says. Only a transaction's own numbers of commands are asked for.
        unsafe {
            let head = &*row;
            let stamps = head.t_choice.t_heap;
            if self.event == WriteEvent::Insert {
                return stamps.t_xmin == self.transaction
                    && !has_flag(head, pg_sys::HEAP_COMBOCID)
                    && stamps.t_field3.t_cid == self.command
                    && has_flag(head, pg_sys::HEAP_XMAX_INVALID)
                    // Not a new version of a row that was there.
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
