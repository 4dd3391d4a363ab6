//! What one trigger needs to run: plans, names and flags.

use crate::error::Result;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::error_context::{Told, VisibleParts};
use crate::pg::relcache_flag::InvalidationFlag;
use crate::pg::visible_parts::WritingRole;
use crate::pg::{prepared, role};
use crate::row_writer::Direct;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::mirror;
use crate::sqlgen::mirror::MergeSql;
use pgrx::prelude::*;
use std::rc::Rc;

/// Everything that one trigger needs to run.
pub struct Mirror {
    pub(super) touched: pg_sys::Oid,
    /// `tgtype` of its trigger.
    pub(super) fires: i16,
    pub(super) written: pg_sys::Oid,
    /// One of the tables or of the views that it was made from.
    pub(super) changed: Rc<InvalidationFlag>,
    /// Owner of the table that is written.
    pub owner: pg_sys::Oid,
    pub written_name: String,
    pub touched_name: String,
    /// What is told of an ERROR.
    pub told: Told,
    pub reader: WritingRole,
    /// Why the written table may not take a row although no error says so.
    pub refused: &'static str,
    /// What the operator types in place of TRUNCATE.
    pub clear_touched: String,
    pub way: Direction,
    /// The written table is mirrored as well.
    pub both_ways: bool,
    /// The touched table's key.
    pub key: KeyColumns,
    /// Writes single rows without a plan.
    pub direct: Option<Direct>,
    pub insert: prepared::PreparedPlan,
    pub update: prepared::PreparedPlan,
    /// The written table has BEFORE triggers of the application: an INSERT that finds the key there fires them in vain.
    pub rewrites: bool,
    pub delete: prepared::PreparedPlan,
    pub exists: prepared::PreparedPlan,
    pub clear: Vec<prepared::PreparedPlan>,
    /// None where the target's key cannot be updated (GENERATED ALWAYS AS IDENTITY).
    pub rekey: Option<prepared::PreparedPlan>,
    pub lock: Option<prepared::PreparedPlan>,
    /// Finds a row of another scope in the touched table.
    pub others: Option<prepared::PreparedPlan>,
    /// Where what goes back may come forth as another row.
    pub forth: Option<RoundTrip>,
    /// While the written table is brought up to date.
    pub later: Option<DeferredWrite>,
    /// Gives the row its id on the other side, where ids differ.
    pub give: Option<prepared::PreparedPlan>,
    /// Where the row may name others whose ids differ.
    pub names: Option<MissingIds>,
    /// Where the written row is made of rows of several tables.
    pub merged: Option<MergePlans>,
    /// Back to one of several tables: finds the row that is right already.
    pub same: Option<prepared::PreparedPlan>,
    /// The other tables that a touched row goes to.
    pub partners: Vec<Mirror>,
}

impl Mirror {
    /// What the role that writes may see of an ERROR.
    pub fn visible_parts(&self) -> VisibleParts {
        let tables = [self.touched, self.written];
        self.reader.visible_parts(role::current(), &tables)
    }
}

/// Leaves a row to the job.
pub struct PendingNote {
    pub mapping: i32,
    /// Its key, as the job reads it.
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

/// Rows that a row names, and that may have no id on the other side yet.
pub struct MissingIds {
    /// Whether there is such a one.
    pub unready: prepared::PreparedPlan,
    /// Gives them theirs.
    pub give: Vec<prepared::PreparedPlan>,
    /// While most rows have none yet: leaves the row to the job. Two transactions that gave ids to rows of others, in
    /// different order, would wait for each other.
    pub note: Option<PendingNote>,
}

/// What cannot be written yet is noted for the job that brings the table up to date.
pub struct DeferredWrite {
    pub note: PendingNote,
    /// Checks at once what would be checked at commit, and back.
    pub early: Option<[prepared::PreparedPlan; 2]>,
}

pub struct RoundTrip {
    /// Finds the row if it comes forth as it went back.
    pub returns: prepared::PreparedPlan,
    /// Makes the touched row what comes forth.
    pub again: prepared::PreparedPlan,
    /// Finds the row if it comes forth at all.
    pub exists: prepared::PreparedPlan,
}

pub struct MergePlans {
    /// Locks the row.
    pub(super) hold: prepared::PreparedPlan,
    /// Makes it what its parts are, where it differs.
    pub(super) settle: prepared::PreparedPlan,
    pub(super) others: Vec<OtherPart>,
    /// As long as not all old rows are copied: leaves the row to the job.
    pub(super) note: Option<PendingNote>,
}

/// Another part of the row, of those that it may be there for.
pub struct OtherPart {
    /// Finds it.
    pub(super) there: prepared::PreparedPlan,
    /// Locks it against being taken away: whoever took it away while there was no row has not been at that.
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
