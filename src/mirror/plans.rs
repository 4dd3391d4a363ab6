//! Plans of the mirrors that this session has met, dropped when their tables change.

use super::merged::{self, Merged};
use crate::error::{Error, Result};
use crate::model::layout::merge::Merge;
use crate::pg::direct::Direct;
use crate::pg::image::KeyColumns;
use crate::pg::{plan, role, session};
use crate::sqlgen::flow::{Flow, Way};
use crate::sqlgen::mirror::MergeSql;
use crate::sqlgen::{mirror, trigger};
use crate::store::mapping::{self, Registered};
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Everything that one trigger needs to run.
pub struct Mirror {
    relations: [pg_sys::Oid; 3],
    stale: Cell<bool>,
    /// Owner of the table that is written.
    pub owner: pg_sys::Oid,
    pub written_name: String,
    pub touched_name: String,
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

/// Rows that a row names, and that may have no id on the other side yet.
pub struct Names {
    /// Whether there is such a one.
    pub unready: plan::KeptPlan,
    /// Gives them theirs.
    pub give: Vec<plan::KeptPlan>,
    /// While most rows have none yet: leaves the row to the job. Two transactions that gave ids to rows of others, in
    /// different order, would wait for each other.
    pub note: Option<plan::KeptPlan>,
}

/// What cannot be written yet is noted for the job that brings the table up to date.
pub struct Later {
    /// Notes the key.
    pub note: plan::KeptPlan,
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
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// The mirror of the trigger that fired, from the session's cache or made anew.
pub fn of(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    loop {
        let found = known_or_made(data)?;
        // The lock that our writes take anyway, before the plans are chosen: with it come the messages of whoever
        // changed that table, and nobody puts a mirror on it from here to the end of the transaction.
        // SAFETY: inside a transaction; an oid that is gone is locked all the same.
        for one in std::iter::once(&*found).chain(&found.partners) {
            unsafe { pg_sys::LockRelationOid(one.relations[1], pg_sys::RowExclusiveLock as i32) };
        }
        if !found.stale.get() {
            return Ok(found);
        }
    }
}

/// The mirror of the trigger that fired, if this session knows it.
pub fn known(data: &pg_sys::TriggerData) -> Option<Rc<Mirror>> {
    // SAFETY: the trigger is there while it runs.
    let trigger = unsafe { (*data.tg_trigger).tgoid };
    let found = MIRRORS.with_borrow(|m| m.get(&trigger).cloned());
    found.filter(|m| !m.stale.get())
}

fn known_or_made(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    // SAFETY: both pointers are valid while the trigger runs.
    let (trigger, relation) = unsafe { (&*data.tg_trigger, (*data.tg_relation).rd_id) };
    if let Some(found) = known(data).filter(|m| m.relations[0] == relation) {
        return Ok(found);
    }
    watch();
    let _safe = session::pin_names();
    // SAFETY: `trigger` is the running trigger.
    let (id, way) = unsafe { arguments(trigger)? };
    let made = Rc::new(make(id, way, trigger, relation, None)?);
    // Others that are stale may be of triggers that are gone. They are freed outside the borrow, and only when no call
    // further up still uses them.
    let stale = MIRRORS.with_borrow_mut(|mirrors| {
        let (stale, good) = mirrors.drain().partition(|(_, m)| m.stale.get());
        *mirrors = good;
        mirrors.insert(trigger.tgoid, Rc::clone(&made));
        stale
    });
    drop::<HashMap<_, _>>(stale);
    Ok(made)
}

/// # Safety
/// `trigger` is the running trigger.
unsafe fn arguments(trigger: &pg_sys::Trigger) -> Result<(i32, Way)> {
    if trigger.tgnargs != 2 {
        return Err(stray());
    }
    // SAFETY: tgargs has tgnargs C strings.
    let text = |n| unsafe { std::ffi::CStr::from_ptr(*trigger.tgargs.add(n)) }.to_string_lossy();
    let id = text(0).parse().map_err(|_| stray())?;
    Ok((id, Way::parse(&text(1)).ok_or_else(stray)?))
}

fn stray() -> Error {
    Error::Sql {
        code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        message: "this trigger was not installed by mig_dual_write".into(),
        detail: Some("mig.mirror() serves registered tables only.".into()),
    }
}

/// `leader`: the flow whose trigger it is, if that is another mapping's.
pub(super) fn make(
    id: i32,
    way: Way,
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
    leader: Option<&Flow>,
) -> Result<Mirror> {
    let found = mapping::registered(id, way)?.ok_or_else(stray)?;
    let flow = mapping::flow(&found.mapping, way)?.ok_or_else(stray)?;
    let parties = trusted(&found, &flow, leader.unwrap_or(&flow), trigger, relation)?;
    let partners = match (way, leader) {
        (Way::Reverse, None) => merged::partners(&found, &flow, trigger, relation)?,
        _ => Vec::new(),
    };
    let sql = mirror::statements(&flow);
    let types: Vec<pg_sys::Oid> = found
        .attributes
        .iter()
        .map(|(_, t)| pg_sys::Oid::from(*t))
        .collect();
    if types.len() != flow.key.len() {
        return Err(Error::ShapeDiffers {
            relation: flow.touched.plain(),
            detail: "Its primary key is not the one that the mapping was made for.".into(),
            hint: "Restore the key, or take the mirror out with mig_rollback.".into(),
        });
    }
    let truncated: Vec<Flow> = mapping::truncated_with(id, way)?
        .iter()
        .filter_map(|p| mapping::flow(p, way).transpose())
        .collect::<Result<_>>()?;
    let both: Vec<pg_sys::Oid> = types.iter().chain(&types).copied().collect();
    // Planned as the owner: row-level security and rights are decided for him.
    let _owner = role::act_as(parties.owner);
    let connection = plan::connect()?;
    let planned = |sql: Option<&String>, types: &[pg_sys::Oid]| {
        sql.map(|sql| connection.prepare(sql, types)).transpose()
    };
    let forth = match way {
        Way::Reverse if found.rewrites || sql.may_change => {
            let forward = mapping::forward(&found.mapping)?.asked_by_written();
            let forward = mirror::statements(&forward);
            Some(Forth {
                returns: connection.prepare(&sql.returns, &types)?,
                again: connection.prepare(&forward.update, &types)?,
                exists: connection.prepare(&forward.exists, &types)?,
            })
        }
        _ => None,
    };
    let later = match found.catching_up {
        true => Some(Later {
            note: connection.prepare(&mirror::note(&flow), &types)?,
            early: match &found.late_checks {
                None => None,
                Some(names) => Some([
                    connection.prepare(&format!("SET CONSTRAINTS {names} IMMEDIATE"), &[])?,
                    connection.prepare(&format!("SET CONSTRAINTS {names} DEFERRED"), &[])?,
                ]),
            },
        }),
        false => None,
    };
    let all = |sql: &[String]| -> Result<Vec<plan::KeptPlan>> {
        sql.iter()
            .map(|sql| connection.prepare(sql, &types))
            .collect()
    };
    let noting = match way {
        Way::Forward => !found.mapping.settled,
        Way::Reverse => found.catching_up,
    };
    let names = match &sql.unready {
        None => None,
        Some(unready) => Some(Names {
            unready: connection.prepare(unready, &types)?,
            give: all(&sql.give_named)?,
            note: planned(noting.then(|| mirror::note(&flow)).as_ref(), &types)?,
        }),
    };
    let merge = found.mapping.layout.as_ref().and_then(|l| l.merge.as_ref());
    let decides = merge.is_none_or(|m| m.decides());
    let merged = match &sql.merge {
        None => None,
        Some(texts) => {
            let note = noting.then(|| mirror::note(&flow));
            let others = other_parts(merge)?;
            Some(Merged::new(
                &connection,
                texts,
                &others,
                note.as_ref(),
                &types,
            )?)
        }
    };
    let clear =
        std::iter::once(mirror::clear_all(&flow, &truncated)).chain(mirror::clear_share(&flow));
    Ok(Mirror {
        relations: [relation, parties.written, parties.view],
        stale: Cell::new(false),
        owner: parties.owner,
        written_name: flow.written.plain(),
        touched_name: flow.touched.plain(),
        refused: match way {
            Way::Forward => "A row of another scope has its key.",
            Way::Reverse => {
                "A row that the mapping's filter leaves out has its key, or a trigger there skips the row."
            }
        },
        clear_touched: mirror::clear(&flow.touched, mapping::layout(&found.mapping)?),
        way,
        both_ways: found.both_ways,
        key: KeyColumns::new(
            found
                .attributes
                .iter()
                .map(|(n, t)| (*n, pg_sys::Oid::from(*t))),
        ),
        direct: match found.both_ways || found.catching_up {
            true => None,
            false => Direct::between(&flow, relation, parties.view, parties.written)?,
        },
        insert: connection.prepare(&sql.insert, &types)?,
        update: connection.prepare(&sql.update, &types)?,
        rewrites: found.rewrites,
        delete: connection.prepare(&sql.delete, &types)?,
        exists: connection.prepare(&sql.exists, &types)?,
        clear: clear
            .map(|sql| connection.prepare(&sql, &[]))
            .collect::<Result<_>>()?,
        rekey: planned(
            (decides || way == Way::Reverse)
                .then_some(&sql.rekey)
                .filter(|_| !found.fixed_identity),
            &both,
        )?,
        lock: planned(sql.lock.as_ref(), &types)?,
        others: planned(sql.others.as_ref(), &[])?,
        forth,
        later,
        give: planned(sql.give.as_ref(), &types)?,
        names,
        merged,
        same: planned(sql.same.as_ref(), &types)?,
        partners,
    })
}

/// The parts that a row may be there for beside this one: all others, or the one that decides.
fn other_parts(merge: Option<&Merge>) -> Result<Vec<MergeSql>> {
    let Some(merge) = merge.filter(|m| !m.decides()) else {
        return Ok(Vec::new());
    };
    let matters = |id: &i32| *id != merge.me && (!merge.by_main || *id == merge.leader());
    let ids: Vec<i32> = merge
        .sources
        .iter()
        .map(|s| s.mapping)
        .filter(matters)
        .collect();
    let mut found = Vec::new();
    for p in mapping::partners(&ids)? {
        found.extend(mirror::statements(&mapping::forward(&p)?).merge);
    }
    Ok(found)
}

/// Who owns what is written, and what it is.
struct Parties {
    owner: pg_sys::Oid,
    written: pg_sys::Oid,
    view: pg_sys::Oid,
}

/// The parties, if this trigger is one that we installed, and if the owner of the table it sits on could write the other
/// table himself: a row forged into our state gains nobody anything.
fn trusted(
    found: &Registered,
    flow: &Flow,
    leader: &Flow,
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
) -> Result<Parties> {
    // SAFETY: the name is a C string that lives as long as the trigger.
    let name = unsafe { std::ffi::CStr::from_ptr(trigger.tgname) }.to_string_lossy();
    let p = &found.mapping;
    let ours = trigger::names(leader).iter().any(|n| n.as_str() == name);
    let oid = |o: Option<u32>| o.map(pg_sys::Oid::from);
    let source = (Some(pg_sys::Oid::from(p.source)), oid(p.source_owner));
    let target = (oid(p.target), oid(p.target_owner));
    let (touched, written) = match flow.way {
        Way::Forward => (source, target),
        Way::Reverse => (target, source),
    };
    match (touched, written, oid(found.view_owner), oid(found.view)) {
        (
            (Some(sits), Some(toucher)),
            (Some(written), Some(owner)),
            Some(view_owner),
            Some(view),
        ) if ours
            && relation == sits
            && role::has_privileges_of(toucher, owner)
            && role::has_privileges_of(toucher, view_owner) =>
        {
            Ok(Parties {
                owner,
                written,
                view,
            })
        }
        (.., None) if ours => Err(Error::Unsuitable {
            relation: flow.view.plain(),
            kind: "gone: the view that says what a new row is was dropped".into(),
            hint: mapping::DETACH.into(),
        }),
        _ => Err(stray()),
    }
}

/// Registers for the server's messages about changed relations, once for the session.
fn watch() {
    if !WATCHING.replace(true) {
        // SAFETY: the callback lives as long as the library, which is never unloaded.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0)) };
    }
}

/// Only sets flags: it may be called in the middle of anything.
#[pg_guard]
extern "C-unwind" fn changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    MIRRORS.with(|mirrors| {
        if let Ok(mirrors) = mirrors.try_borrow() {
            let hit = |m: &&Rc<Mirror>| {
                let mut all = std::iter::once(&***m).chain(&m.partners);
                relation == pg_sys::InvalidOid || all.any(|m| m.relations.contains(&relation))
            };
            mirrors.values().filter(hit).for_each(|m| m.stale.set(true));
        }
    });
}
