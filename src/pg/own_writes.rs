//! Which writes are our own. A mirror's write to the other table fires that table's mirror, and must not come back;
//! every other write must, be it a trigger's of the application or a foreign key's action. So each command that a mirror
//! runs is noted by its number: commands are counted through the whole transaction, subtransactions included, and a
//! number is never given twice (CommandCounterIncrement, xact.c), so neither a savepoint nor an error confuses it.

use super::command_id;
use super::tx::local_number as transaction;
use crate::model::ranges::Ranges;
use pgrx::pg_sys;
use std::cell::RefCell;

/// This transaction's own commands.
#[derive(Default)]
struct OwnCommands {
    transaction: u32,
    commands: Ranges,
}

thread_local! {
    static NOTED: RefCell<OwnCommands> = RefCell::default();
}

/// The command that comes next is a mirror's, or one that mends what a mirror should have done.
pub fn note_next_command() {
    // SAFETY: inside a transaction. Nobody has used the new number when it is read, so the executor, which increments
    // a used number only, gives the next statement this one.
    let command = unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::GetCurrentCommandId(false)
    };
    NOTED.with_borrow_mut(|noted| {
        if noted.transaction != transaction() {
            noted.transaction = transaction();
            noted.commands.clear();
        }
        noted.commands.add(command);
    });
}

/// Whether this row event comes from a command of a mirror.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn is_ours(data: &pg_sys::TriggerData) -> bool {
    // SAFETY: the tuples are those of the event, as stored: the inserted and the new one were written by its command,
    // the deleted one carries it as cmax.
    let command = unsafe {
        match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => command_id::cmin((*data.tg_trigtuple).t_data),
            pg_sys::TRIGGER_EVENT_UPDATE => command_id::cmin((*data.tg_newtuple).t_data),
            _ => command_id::cmax((*data.tg_trigtuple).t_data),
        }
    };
    NOTED
        .with_borrow(|noted| noted.transaction == transaction() && noted.commands.contains(command))
}
