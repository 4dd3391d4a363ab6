//! Plans of the mirrors that this session has met, dropped when their tables change.

use super::make;
use super::merged::MergePlans;
use super::trust::RunningTrigger;
use crate::error::Result;
use crate::pg::direct::Direct;
use crate::pg::error_context::{Told, VisibleParts};
use crate::pg::image::KeyColumns;
use crate::pg::reader::WritingRole;
use crate::pg::watch::InvalidationFlag;
use crate::pg::{plan, role, session};
use crate::sqlgen::flow::{Direction, Flow};
use crate::sqlgen::mirror;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
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
    pub insert: plan::PreparedPlan,
    pub update: plan::PreparedPlan,
    /// The written table has BEFORE triggers of the application: an INSERT that finds the key there fires them in vain.
    pub rewrites: bool,
    pub delete: plan::PreparedPlan,
    pub exists: plan::PreparedPlan,
    pub clear: Vec<plan::PreparedPlan>,
    /// None where the target's key cannot be updated (GENERATED ALWAYS AS IDENTITY).
    pub rekey: Option<plan::PreparedPlan>,
    pub lock: Option<plan::PreparedPlan>,
    /// Finds a row of another scope in the touched table.
    pub others: Option<plan::PreparedPlan>,
    /// Where what goes back may come forth as another row.
    pub forth: Option<RoundTrip>,
    /// While the written table is brought up to date.
    pub later: Option<DeferredWrite>,
    /// Gives the row its id on the other side, where ids differ.
    pub give: Option<plan::PreparedPlan>,
    /// Where the row may name others whose ids differ.
    pub names: Option<MissingIds>,
    /// Where the written row is made of rows of several tables.
    pub merged: Option<MergePlans>,
    /// Back to one of several tables: finds the row that is right already.
    pub same: Option<plan::PreparedPlan>,
    /// The other tables that a touched row goes to.
    pub partners: Vec<Mirror>,
}

/// Leaves a row to the job.
pub struct PendingNote {
    pub mapping: i32,
    /// Its key, as the job reads it.
    pub texts: plan::PreparedPlan,
}

impl PendingNote {
    pub fn new(connection: &plan::Connection, flow: &Flow, types: &[pg_sys::Oid]) -> Result<Self> {
        Ok(Self {
            mapping: flow.mapping,
            texts: connection.prepare(&mirror::key_texts(flow), types)?,
        })
    }
}

impl Mirror {
    /// What the role that writes may see of an ERROR.
    pub fn visible_parts(&self) -> VisibleParts {
        let tables = [self.touched, self.written];
        self.reader.visible_parts(role::current(), &tables)
    }
}

/// Rows that a row names, and that may have no id on the other side yet.
pub struct MissingIds {
    /// Whether there is such a one.
    pub unready: plan::PreparedPlan,
    /// Gives them theirs.
    pub give: Vec<plan::PreparedPlan>,
    /// While most rows have none yet: leaves the row to the job. Two transactions that gave ids to rows of others, in
    /// different order, would wait for each other.
    pub note: Option<PendingNote>,
}

/// What cannot be written yet is noted for the job that brings the table up to date.
pub struct DeferredWrite {
    pub note: PendingNote,
    /// Checks at once what would be checked at commit, and back.
    pub early: Option<[plan::PreparedPlan; 2]>,
}

pub struct RoundTrip {
    /// Finds the row if it comes forth as it went back.
    pub returns: plan::PreparedPlan,
    /// Makes the touched row what comes forth.
    pub again: plan::PreparedPlan,
    /// Finds the row if it comes forth at all.
    pub exists: plan::PreparedPlan,
}

thread_local! {
    static MIRRORS: RefCell<HashMap<pg_sys::Oid, Rc<Mirror>>> = RefCell::new(HashMap::new());
}

/// The mirror of the trigger that fired, from the session's cache or made anew.
pub fn find_or_build(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    loop {
        let found = known_or_made(data)?;
        // The lock that our writes take anyway, before the plans are chosen: with it come the messages of whoever
        // changed that table, and nobody puts a mirror on it from here to the end of the transaction.
        for one in std::iter::once(&*found).chain(&found.partners) {
            // SAFETY: inside a transaction; an oid that is gone is locked all the same.
            unsafe { pg_sys::LockRelationOid(one.written, pg_sys::RowExclusiveLock as i32) };
        }
        if !found.changed.is_raised() {
            return Ok(found);
        }
    }
}

/// The mirror of the trigger that fired, if this session knows it.
pub fn find_cached(data: &pg_sys::TriggerData) -> Option<Rc<Mirror>> {
    let running = RunningTrigger(data);
    let trigger = running.trigger();
    let found = MIRRORS.with_borrow(|m| m.get(&trigger.tgoid).cloned());
    found.filter(|m| {
        // Whatever else of the trigger changes, its table is told of.
        !m.changed.is_raised() && m.touched == running.relation() && m.fires == trigger.tgtype
    })
}

fn known_or_made(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    if let Some(found) = find_cached(data) {
        return Ok(found);
    }
    let running = RunningTrigger(data);
    let _safe = session::pin_names();
    let (id, way) = running.arguments()?;
    let made = Rc::new(make::mirror(id, way, running, None)?);
    // Others that are stale may be of triggers that are gone. They are freed outside the borrow, and only when no call
    // further up still uses them.
    let stale = MIRRORS.with_borrow_mut(|mirrors| {
        let (stale, good) = mirrors.drain().partition(|(_, m)| m.changed.is_raised());
        *mirrors = good;
        mirrors.insert(running.trigger().tgoid, Rc::clone(&made));
        stale
    });
    drop::<HashMap<_, _>>(stale);
    Ok(made)
}
