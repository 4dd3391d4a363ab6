//! A row that several old tables have a part of. Whoever writes a part goes to the whole row then, and reads all parts when he holds
//! it. So the last one there sees what all before him have written; whoever is not committed yet has not been there, and comes after.

use super::EventWriter;
use super::event::{RowEvent, TriggerEvent};
use super::types::{MergePlans, Mirror};
use crate::error::{Error, Result};
use pgrx::prelude::*;

impl Mirror {
    /// The tables that one of the new table's rows goes back to. A part may refer to the leading one: that comes first, and goes last.
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

/// Between two looks the row may come or go.
const TRIES: usize = 10;

impl EventWriter<'_> {
    /// Makes the row of this key what all its parts are.
    pub(super) fn meet(&self, merged: &MergePlans, key: &mut [pg_sys::Datum]) -> Result<()> {
        let (connection, mirror) = (self.connection, self.mirror);
        for _ in 0..TRIES {
            if connection.run_latest(&merged.hold, key)? > 0 {
                return self.settle(merged, key);
            }
            if !self.may_put_in(merged, key)? {
                return Ok(());
            }
            // It waits for whoever is about to put the row in.
            if self.write(&mirror.insert, key)? > 0 {
                return self.settle(merged, key);
            }
            if connection.run_latest(&mirror.exists, key)? == 0 {
                return Ok(());
            }
        }
        Err(Error::Sql {
            code: PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            message: format!("the row cannot be mirrored to {}", mirror.written_name),
            detail: Some(format!("{} The write is refused.", mirror.refused)),
        })
    }

    /// There is no row yet, and another part of it may be in somebody's hands: a row of parts that were not locked when they were read
    /// could be wrong for ever. Before the backfill has come by that is left to the job, because whoever waits here for the other part
    /// may be waited for; later it is rare.
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

    /// The row is held: what is read now is all that others have committed.
    fn settle(&self, merged: &MergePlans, key: &mut [pg_sys::Datum]) -> Result<()> {
        let gone = self.write(&merged.settle, key)? == 0
            && self.connection.run_latest(&self.mirror.exists, key)? == 0;
        if gone {
            self.write(&self.mirror.delete, key)?;
        }
        Ok(())
    }

    /// A part has another key now. Where it is the one that decides, the whole row moves with it: to delete it would run the actions of
    /// foreign keys that refer to it.
    pub(super) fn meet_both(
        &self,
        merged: &MergePlans,
        old: &mut [pg_sys::Datum],
        new: &mut [pg_sys::Datum],
    ) -> Result<()> {
        if let Some(rekey) = &self.mirror.rekey {
            let mut both: Vec<_> = old.iter().chain(new.iter()).copied().collect();
            self.write(rekey, &mut both)?;
        }
        self.meet(merged, old)?;
        self.meet(merged, new)
    }
}
