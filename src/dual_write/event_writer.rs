//! Mirrors an event by statements: for each touched key they read the touched table under the latest snapshot, and make the written table match.

use super::event::RowEvent;
use super::types::{Mirror, PendingNote};
use crate::error::{Error, Result};
use crate::pg::{guc, own_writes, prepared, tx};
use crate::sqlgen::direction::Direction;
use crate::store::pending_rows;
use pgrx::prelude::*;

/// Writes of one trigger call.
pub(super) struct EventWriter<'a> {
    pub(super) connection: &'a prepared::Connection,
    pub(super) mirror: &'a Mirror,
}

impl EventWriter<'_> {
    /// Runs a write. If the written table is mirrored too, the triggers of this write fire after those of the application's statement: only
    /// when each row of that statement is mirrored does the action of a foreign key on one side match its counterpart on the other.
    pub(super) fn write(
        &self,
        plan: &prepared::PreparedPlan,
        values: &mut [pg_sys::Datum],
    ) -> Result<u64> {
        if !self.mirror.both_ways {
            return self.connection.run_latest(plan, values);
        }
        own_writes::note_next_command();
        // The apply worker of logical replication closes only its own table after the trigger queue, and runs no actions of foreign keys.
        if guc::is_replica() {
            self.connection.run_latest(plan, values)
        } else {
            self.connection.run_latest_queueing(plan, values)
        }
    }

    /// Mirrors the row, or lists it as pending. While the written table is brought up to date, it may refuse a row because another row is
    /// not there yet, or not deleted yet. Then the application's write succeeds, and the key is noted for the job in the same transaction.
    pub(super) fn now_or_later(
        &self,
        keys: &mut [&mut [pg_sys::Datum]],
        came: RowEvent,
    ) -> Result<()> {
        let Some(later) = &self.mirror.deferred_write else {
            return self.mirror_keys(keys, came);
        };
        let written = tx::subtransaction(|| {
            self.mirror_keys(keys, came)?;
            for plan in later.early.iter().flatten() {
                self.connection.run_latest(plan, &mut [])?;
            }
            Ok(())
        });
        match written {
            Err(e) if e.is_about_data() => {
                for key in keys {
                    self.note(&later.note, key)?;
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Lists the row of this key as pending, for the job.
    pub(super) fn note(&self, note: &PendingNote, key: &mut [pg_sys::Datum]) -> Result<()> {
        let _exact = guc::pin(&guc::EXACT);
        let texts = self
            .connection
            .latest_value::<Vec<String>>(&note.texts, key)?;
        pending_rows::add(note.mapping, &[texts.unwrap_or_default()])
    }

    fn mirror_keys(&self, keys: &mut [&mut [pg_sys::Datum]], came: RowEvent) -> Result<()> {
        if let Some(direct) = &self.mirror.direct {
            for key in keys.iter() {
                // SAFETY: inside a transaction; the key is that of a touched row.
                unsafe { direct.await_copy(key) };
            }
        }
        if !self.give_ids(keys)? {
            return Ok(());
        }
        match keys {
            [old, new] => self.mirror_key_change(old, new),
            [key] => self.reconcile(key, came),
            _ => Ok(()),
        }
    }

    /// Assigns new ids to the rows and to the rows that they refer to. False if the rows were left to the job instead.
    fn give_ids(&self, keys: &mut [&mut [pg_sys::Datum]]) -> Result<bool> {
        let (connection, mirror) = (self.connection, self.mirror);
        if let (Some(lock), true) = (
            &mirror.lock,
            mirror.give.is_some() || mirror.missing_ids.is_some(),
        ) {
            // A batch assigns ids for a row of this key under the lock on that row.
            for key in &mut *keys {
                connection.run_latest(lock, key)?;
            }
        }
        if let Some(names) = &mirror.missing_ids {
            let mut unready = false;
            for key in &mut *keys {
                unready |= connection.run_latest(&names.unready, key)? > 0;
            }
            if let (true, Some(note)) = (unready, &names.note) {
                for key in &mut *keys {
                    self.note(note, key)?;
                }
                return Ok(false);
            }
            for key in keys.iter_mut().filter(|_| unready) {
                for plan in &names.give {
                    connection.run_latest(plan, key)?;
                }
            }
        }
        for key in keys {
            if let Some(plan) = &mirror.give {
                connection.run_latest(plan, key)?;
            }
        }
        Ok(true)
    }

    /// Mirrors a change of the key. The written row is moved to the new key if possible: deleting it would run the ON DELETE actions of
    /// foreign keys, although nothing was deleted in the touched table.
    ///
    /// If another touched row has the old key by now, its own event comes later or has already come; both rows are left to that event. The
    /// touched table took the keys one after the other, and the mirror does the same: inserting that row at once would violate a second
    /// unique key that its old written row still holds. Only a deferrable key lets two rows have one key at a time.
    fn mirror_key_change(
        &self,
        old: &mut [pg_sys::Datum],
        new: &mut [pg_sys::Datum],
    ) -> Result<()> {
        if let Some(merged) = &self.mirror.merged {
            return self.move_merged(merged, old, new);
        }
        let mut both: Vec<_> = old.iter().chain(new.iter()).copied().collect();
        let moved = match &self.mirror.rekey {
            Some(rekey) => self.write(rekey, &mut both)? > 0,
            None if self.mirror.way == Direction::Reverse => return Err(self.key_is_fixed()),
            None => false,
        };
        if self.mirror.lock.is_some() {
            self.reconcile(old, RowEvent::Changed)?;
        } else if moved {
            return self.come_forth(new);
        } else if self.connection.run_latest(&self.mirror.exists, old)? == 0 {
            self.write(&self.mirror.delete, old)?;
        }
        self.reconcile(new, RowEvent::Changed)
    }

    /// The old table's key is GENERATED ALWAYS: it cannot be updated there, and deleting the row would delete the rows that refer to it.
    fn key_is_fixed(&self) -> Error {
        Error::sql(
            PgSqlErrorCode::ERRCODE_GENERATED_ALWAYS,
            format!("the key of {} cannot change", self.mirror.touched_name),
            Some(format!(
                "It is GENERATED ALWAYS in {}, which is still kept equal.",
                self.mirror.written_name
            )),
        )
    }

    /// Makes the written row of this key match the touched row. `came` is what the application did to the row: the most likely write is
    /// tried first.
    fn reconcile(&self, key: &mut [pg_sys::Datum], came: RowEvent) -> Result<()> {
        let (connection, mirror) = (self.connection, self.mirror);
        if let Some(merged) = &mirror.merged {
            return self.write_merged(merged, key);
        }
        if let Some(same) = mirror.same.as_ref().filter(|_| came != RowEvent::Gone)
            && connection.run_latest(same, key)? > 0
        {
            return Ok(());
        }
        if let Some(lock) = &mirror.lock {
            // Only the lock on the row of a key keeps a batch away, and a second row with the same key is another row to lock.
            connection.run_latest(lock, key)?;
        }
        let gone = came == RowEvent::Gone && connection.run_latest(&mirror.exists, key)? == 0;
        if !gone && self.upsert(key, came)? {
            return self.come_forth(key);
        }
        self.write(&mirror.delete, key)?;
        // Nothing was written although the touched table has the row, or the row was not deleted.
        let kept = match &mirror.round_trip {
            Some(forth) => connection.run_latest(&forth.exists, key)? > 0,
            None => false,
        };
        if kept || !gone && connection.run_latest(&mirror.exists, key)? > 0 {
            return Err(Error::sql(
                PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
                format!("the row cannot be mirrored to {}", mirror.written_name),
                Some(format!("{} The write is refused.", mirror.refused)),
            ));
        }
        Ok(())
    }

    /// Inserts or updates the row. False if the touched table has no such row, or if another scope has its key.
    fn upsert(&self, key: &mut [pg_sys::Datum], came: RowEvent) -> Result<bool> {
        let (insert, update) = (&self.mirror.insert, &self.mirror.update);
        let order = if came == RowEvent::New {
            [insert, update]
        } else {
            [update, insert]
        };
        for plan in order {
            if self.write(plan, key)? > 0 {
                return Ok(true);
            }
        }
        // The application or a batch may have inserted the row between the two statements.
        Ok(self.write(update, key)? > 0)
    }

    /// Checks the round trip of a row that was written back. The mapping defines the new row. If the old row maps forward to a different row, the touched row is set to that row. If it maps forward to none, the
    /// write is refused. Otherwise the two sides would differ from now on. Errors: 44000.
    fn come_forth(&self, key: &mut [pg_sys::Datum]) -> Result<()> {
        let Some(forth) = &self.mirror.round_trip else {
            return Ok(());
        };
        if self.connection.run_latest(&forth.returns, key)? > 0 {
            return Ok(());
        }
        if self.connection.run_latest(&forth.exists, key)? > 0 && self.write(&forth.again, key)? > 0
        {
            return Ok(());
        }
        Err(Error::sql(
            PgSqlErrorCode::ERRCODE_WITH_CHECK_OPTION_VIOLATION,
            format!(
                "the row of {} does not survive the way back",
                self.mirror.touched_name
            ),
            Some(format!(
                "What {} would hold gives no row of this key, by the mapping's filter.",
                self.mirror.written_name
            )),
        ))
    }
}
