//! Merge: a row of the new table that combines parts from several old tables. A transaction that has written a part locks the merged row
//! and then reads all parts. So the last transaction to lock it sees what all earlier ones have written; a transaction that has not
//! committed yet has not locked the row yet, and comes later.

use super::event::{RowEvent, TriggerEvent};
use super::event_writer::EventWriter;
use super::types::{MergePlans, Mirror};
use crate::error::{Error, Result};
use pgrx::prelude::*;

impl Mirror {
    /// The mirrors of all old tables that a row of the new table goes back to. A part may refer to the part of the leading table, so that
    /// table comes first; for deletions it comes last.
    pub fn in_order<'a>(&'a self, touched: &TriggerEvent) -> Vec<&'a Mirror> {
        let mut all: Vec<&Mirror> = vec![self];
        all.extend(&self.partners);
        if matches!(
            touched,
            TriggerEvent::Row(_, RowEvent::Gone) | TriggerEvent::All
        ) {
            all.reverse();
        }
        all
    }
}

/// Attempts: between two of them the row may be inserted or deleted by others.
const TRIES: usize = 10;

impl EventWriter<'_> {
    /// Makes the merged row of this key match all its parts.
    pub(super) fn write_merged(
        &self,
        merged: &MergePlans,
        key: &mut [pg_sys::Datum],
    ) -> Result<()> {
        let (connection, mirror) = (self.connection, self.mirror);
        for _ in 0..TRIES {
            if connection.run_latest(&merged.hold, key)? > 0 {
                return self.settle_row(merged, key);
            }
            if !self.may_put_in(merged, key)? {
                return Ok(());
            }
            // The INSERT waits for a transaction that is about to insert the row.
            if self.write(&mirror.insert, key)? > 0 {
                return self.settle_row(merged, key);
            }
            if connection.run_latest(&mirror.exists, key)? == 0 {
                return Ok(());
            }
        }
        Err(Error::sql(
            PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            format!("the row cannot be mirrored to {}", mirror.written_name),
            Some(format!("{} The write is refused.", mirror.refused)),
        ))
    }

    /// Whether the merged row may be inserted; false if it is left to the job. There is no row to lock yet, and another transaction may be
    /// writing another part: a row made from parts that were read without a lock could stay wrong for ever. So the other parts are locked.
    /// Before the backfill has reached the row it is left to the job instead, because waiting here for another part can end in a deadlock;
    /// after the backfill that is rare.
    fn may_put_in(&self, merged: &MergePlans, key: &mut [pg_sys::Datum]) -> Result<bool> {
        for other in &merged.others {
            match &merged.note {
                None => {
                    self.connection.run_latest(&other.keep, key)?;
                }
                Some(note) if self.connection.run_latest(&other.there, key)? > 0 => {
                    self.note(note, key)?;
                    return Ok(false);
                }
                Some(_) => {}
            }
        }
        Ok(true)
    }

    /// Makes the locked row match its parts. The lock is held, so the read sees everything that others have committed.
    fn settle_row(&self, merged: &MergePlans, key: &mut [pg_sys::Datum]) -> Result<()> {
        let gone = self.write(&merged.settle, key)? == 0
            && self.connection.run_latest(&self.mirror.exists, key)? == 0;
        if gone {
            self.write(&self.mirror.delete, key)?;
        }
        Ok(())
    }

    /// Mirrors a part whose key has changed. If this part decides, the merged row moves to the new key: deleting it would run the actions
    /// of foreign keys that refer to it.
    pub(super) fn move_merged(
        &self,
        merged: &MergePlans,
        old: &mut [pg_sys::Datum],
        new: &mut [pg_sys::Datum],
    ) -> Result<()> {
        if let Some(rekey) = &self.mirror.rekey {
            let mut both: Vec<_> = old.iter().chain(new.iter()).copied().collect();
            self.write(rekey, &mut both)?;
        }
        self.write_merged(merged, old)?;
        self.write_merged(merged, new)
    }
}
