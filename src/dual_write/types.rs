//! What one mirror trigger needs to run: plans, names and flags.

use crate::error::Result;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::error_context::{ErrorTexts, VisibleParts};
use crate::pg::relcache_flag::InvalidationFlag;
use crate::pg::visible_parts::WritingRole;
use crate::pg::{prepared, role};
use crate::row_writer::DirectWriter;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::mirror::{self, MergeSql};
use pgrx::prelude::*;
use std::ffi::CStr;
use std::rc::Rc;

/// A mirror: everything that its trigger needs to run.
pub struct Mirror {
    pub(super) touched: pg_sys::Oid,
    /// `tgtype` of the trigger.
    pub(super) fires: i16,
    pub(super) written: pg_sys::Oid,
    /// Raised when a table or view that the mirror was built from changes.
    pub(super) changed: Rc<InvalidationFlag>,
    /// The owner of the written table.
    pub owner: pg_sys::Oid,
    /// The search_path of the application's code.
    pub path: Option<Rc<CStr>>,
    pub written_name: String,
    pub touched_name: String,
    /// Texts that are added to an ERROR.
    pub error_texts: ErrorTexts,
    pub reader: WritingRole,
    /// Why the written table may have skipped a row without an error.
    pub refused: &'static str,
    /// The statement that the operator can run instead of TRUNCATE.
    pub clear_touched: String,
    pub way: Direction,
    /// The written table is mirrored, too.
    pub both_ways: bool,
    /// The touched table's key.
    pub key: KeyColumns,
    /// Writes single rows below SQL.
    pub direct: Option<DirectWriter>,
    pub insert: prepared::PreparedPlan,
    pub update: prepared::PreparedPlan,
    pub delete: prepared::PreparedPlan,
    pub exists: prepared::PreparedPlan,
    pub clear: Vec<prepared::PreparedPlan>,
    /// None where the target's key cannot be updated (GENERATED ALWAYS AS IDENTITY).
    pub rekey: Option<prepared::PreparedPlan>,
    pub lock: Option<prepared::PreparedPlan>,
    /// Finds a row of another scope in the touched table.
    pub others: Option<prepared::PreparedPlan>,
    /// Set if a row that is written back may map forward to a different row.
    pub round_trip: Option<RoundTrip>,
    /// Set while the written table is brought up to date.
    pub deferred_write: Option<DeferredWrite>,
    /// Assigns the row its id on the other side, if ids differ.
    pub give: Option<prepared::PreparedPlan>,
    /// Set if the row may refer to rows whose ids differ.
    pub missing_ids: Option<MissingIds>,
    /// Set if the written row combines rows of several tables.
    pub merged: Option<MergePlans>,
    /// In reverse to one of several tables: finds the row if it is already correct.
    pub same: Option<prepared::PreparedPlan>,
    /// Mirrors to the other tables that a touched row goes to.
    pub partners: Vec<Mirror>,
}

impl Mirror {
    /// Which parts of an ERROR the writing role may see.
    pub fn visible_parts(&self) -> VisibleParts {
        let tables = [self.touched, self.written];
        self.reader.visible_parts(role::current(), &tables)
    }
}

/// Lists a row as pending, for the job.
pub struct PendingNote {
    pub mapping: i32,
    /// Returns the key as text, as the job reads it.
    pub texts: prepared::PreparedPlan,
}

impl PendingNote {
    pub fn new(
        connection: &prepared::Connection,
        flow: &Flow,
        types: &[pg_sys::Oid],
    ) -> Result<Self> {
        Ok(Self {
            mapping: flow.mapping,
            texts: connection.prepare(&mirror::key_texts(flow), types)?,
        })
    }
}

/// Plans for rows that a row refers to, and that may have no id on the other side yet.
pub struct MissingIds {
    /// Finds out whether such a row exists.
    pub unready: prepared::PreparedPlan,
    /// Assign the missing ids.
    pub give: Vec<prepared::PreparedPlan>,
    /// Set while most rows have no id yet: leaves the row to the job. Two transactions that assigned ids to other rows in different order
    /// would wait for each other.
    pub note: Option<PendingNote>,
}

/// How a row that cannot be written yet is noted for the job that brings the written table up to date.
pub struct DeferredWrite {
    pub note: PendingNote,
    /// Sets deferred constraints to immediate, and back to deferred.
    pub early: Option<[prepared::PreparedPlan; 2]>,
}

pub struct RoundTrip {
    /// Finds the row if it maps forward to itself.
    pub returns: prepared::PreparedPlan,
    /// Sets the touched row to the row that it maps forward to.
    pub again: prepared::PreparedPlan,
    /// Finds the row if it maps forward to any row.
    pub exists: prepared::PreparedPlan,
}

pub struct MergePlans {
    /// Locks the merged row.
    pub(super) hold: prepared::PreparedPlan,
    /// Makes the merged row match its parts, where it differs.
    pub(super) settle: prepared::PreparedPlan,
    pub(super) others: Vec<OtherPart>,
    /// Set while not all old rows are copied: leaves the row to the job.
    pub(super) note: Option<PendingNote>,
}

/// Another part that can be the reason for the merged row to exist.
pub struct OtherPart {
    /// Finds the part.
    pub(super) there: prepared::PreparedPlan,
    /// Locks the part against deletion. While there is no merged row, a transaction that deletes a part has nothing else to meet us on.
    pub(super) keep: prepared::PreparedPlan,
}

impl MergePlans {
    pub fn new(
        connection: &prepared::Connection,
        sql: &MergeSql,
        others: &[MergeSql],
        note: Option<PendingNote>,
        types: &[pg_sys::Oid],
    ) -> Result<Self> {
        let kept = |sql: &String| connection.prepare(sql, types);
        let others = others.iter().map(|o| {
            Ok(OtherPart {
                there: kept(&o.there)?,
                keep: kept(&o.keep)?,
            })
        });
        Ok(Self {
            hold: kept(&sql.hold)?,
            settle: kept(&sql.settle)?,
            others: others.collect::<Result<_>>()?,
            note,
        })
    }
}
