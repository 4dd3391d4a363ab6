//! Plans of the mirrors that this session has met, dropped when their tables change.

use super::make;
use super::merged::Merged;
use super::trust::Running;
use crate::error::Result;
use crate::pg::direct::Direct;
use crate::pg::error_context::{Shows, Told};
use crate::pg::image::KeyColumns;
use crate::pg::reader::Reader;
use crate::pg::watch::Flag;
use crate::pg::{plan, role, session};
use crate::sqlgen::flow::{Flow, Way};
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
    pub(super) changed: Rc<Flag>,
    /// Owner of the table that is written.
    pub owner: pg_sys::Oid,
    pub written_name: String,
    pub touched_name: String,
    /// What is told of an ERROR.
    pub told: Told,
    pub reader: Reader,
    /// Why the written table may not take a row although no error says so.
    pub refused: &'static str,
    /// What the operator types in place of TRUNCATE.
    pub clear_touched: String,
    pub way: Way,
    /// The written table is mirrored as well.
    pub both_ways: bool,
    /// The touched table's key.
    pub key: KeyColumns,
    /// Writes single rows without a plan.
    pub direct: Option<Direct>,
    pub insert: plan::KeptPlan,
    pub update: plan::KeptPlan,
    /// The written table has BEFORE triggers of the application: an INSERT that finds the key there fires them in vain.
    pub rewrites: bool,
    pub delete: plan::KeptPlan,
    pub exists: plan::KeptPlan,
    pub clear: Vec<plan::KeptPlan>,
    /// None where the target's key cannot be updated (GENERATED ALWAYS AS IDENTITY).
    pub rekey: Option<plan::KeptPlan>,
    pub lock: Option<plan::KeptPlan>,
    /// Finds a row of another scope in the touched table.
    pub others: Option<plan::KeptPlan>,
    /// Where what goes back may come forth as another row.
    pub forth: Option<Forth>,
    /// While the written table is brought up to date.
    pub later: Option<Later>,
    /// Gives the row its id on the other side, where ids differ.
    pub give: Option<plan::KeptPlan>,
    /// Where the row may name others whose ids differ.
    pub names: Option<Names>,
    /// Where the written row is made of rows of several tables.
    pub merged: Option<Merged>,
    /// Back to one of several tables: finds the row that is right already.
    pub same: Option<plan::KeptPlan>,
    /// The other tables that a touched row goes to.
    pub partners: Vec<Mirror>,
}

/// Leaves a row to the job.
pub struct Note {
    pub mapping: i32,
    /// Its key, as the job reads it.
    pub texts: plan::KeptPlan,
}

impl Note {
    pub fn new(connection: &plan::Connection, flow: &Flow, types: &[pg_sys::Oid]) -> Result<Self> {
        Ok(Self {
            mapping: flow.mapping,
            texts: connection.prepare(&mirror::key_texts(flow), types)?,
        })
    }
}

impl Mirror {
    /// What the role that writes may see of an ERROR.
    pub fn visible_parts(&self) -> Shows {
        let tables = [self.touched, self.written];
        self.reader.visible_parts(role::current(), &tables)
    }
}

/// Rows that a row names, and that may have no id on the other side yet.
pub struct Names {
    /// Whether there is such a one.
    pub unready: plan::KeptPlan,
    /// Gives them theirs.
    pub give: Vec<plan::KeptPlan>,
    /// While most rows have none yet: leaves the row to the job. Two transactions that gave ids to rows of others, in
    /// different order, would wait for each other.
    pub note: Option<Note>,
}

/// What cannot be written yet is noted for the job that brings the table up to date.
pub struct Later {
    pub note: Note,
    /// Checks at once what would be checked at commit, and back.
    pub early: Option<[plan::KeptPlan; 2]>,
}

pub struct Forth {
    /// Finds the row if it comes forth as it went back.
    pub returns: plan::KeptPlan,
    /// Makes the touched row what comes forth.
    pub again: plan::KeptPlan,
    /// Finds the row if it comes forth at all.
    pub exists: plan::KeptPlan,
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
    let running = Running(data);
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
    let running = Running(data);
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
