//! Recognizes pg_mig's own writes. A mirror's write to the other table fires that table's mirror, and must not be mirrored back;
//! every other write must be, also that of an application's trigger or a foreign key's action. So each command that a mirror runs
//! is recorded by its command id. Command ids count through the whole transaction, subtransactions included, and no id is used
//! twice (CommandCounterIncrement, xact.c), so neither a savepoint nor an error confuses the record.

use super::command_id;
use super::tx::local_number as transaction;
use crate::model::ranges::Ranges;
use pgrx::pg_sys;
use std::cell::RefCell;

/// Commands of this transaction.
#[derive(Default)]
struct OwnCommands {
    transaction: u32,
    /// Those of mirrors.
    mirrors: Ranges,
    /// Those whose events are bracketed, see `silent_triggers`.
    bracketed: Ranges,
}

thread_local! {
    static NOTED: RefCell<OwnCommands> = RefCell::default();
}

/// Records the next command as a mirror's, or as one that repairs what a mirror should have written.
pub fn note_next_command() {
    // SAFETY: inside a transaction. The new id is unused when it is read, so the executor, which increments only a used id, gives
    // the next statement this one.
    let command = unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::GetCurrentCommandId(false)
    };
    note(|noted| noted.mirrors.add(command));
}

/// Records a command whose events are bracketed.
pub fn note_bracketed(command: pg_sys::CommandId) {
    note(|noted| noted.bracketed.add(command));
}

fn note(add: impl FnOnce(&mut OwnCommands)) {
    NOTED.with_borrow_mut(|noted| {
        if noted.transaction != transaction() {
            *noted = OwnCommands {
                transaction: transaction(),
                ..OwnCommands::default()
            };
        }
        add(noted);
    });
}

/// Checks whether this row event comes from a command of a mirror.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn is_ours(data: &pg_sys::TriggerData) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { is_of(data, |noted| &noted.mirrors) }
}

/// Checks whether this row event is bracketed.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
pub unsafe fn is_bracketed(data: &pg_sys::TriggerData) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { is_of(data, |noted| &noted.bracketed) }
}

/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
unsafe fn is_of(data: &pg_sys::TriggerData, commands: impl Fn(&OwnCommands) -> &Ranges) -> bool {
    NOTED.with_borrow(|noted| {
        // SAFETY: guaranteed by the caller.
        noted.transaction == transaction() && commands(noted).contains(unsafe { command_of(data) })
    })
}

/// The id of the command that caused the event.
///
/// # Safety
/// `data` is the TriggerData of a row trigger that is running.
unsafe fn command_of(data: &pg_sys::TriggerData) -> pg_sys::CommandId {
    // SAFETY: the tuples are those of the event, as stored: its command wrote the inserted or the new tuple; a deleted tuple
    // carries the command id as cmax.
    unsafe {
        match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => command_id::cmin((*data.tg_trigtuple).t_data),
            pg_sys::TRIGGER_EVENT_UPDATE => command_id::cmin((*data.tg_newtuple).t_data),
            _ => command_id::cmax((*data.tg_trigtuple).t_data),
        }
    }
}
