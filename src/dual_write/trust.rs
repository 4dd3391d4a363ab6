//! Checks that the trigger that fired is as pg_mig installed it, because it writes with the privileges of another table's owner.

use super::trigger_function::{self, TriggerFunction};
use crate::error::{Error, Result};
use crate::pg::{role, trigger_call};
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::trigger;
use crate::store::mapping::TrustedMapping;
use crate::store::sides;
use pgrx::prelude::*;

/// The running trigger of a mirror.
#[derive(Clone, Copy)]
pub struct RunningTrigger<'a>(pub &'a pg_sys::TriggerData);

impl RunningTrigger<'_> {
    pub fn trigger(&self) -> &pg_sys::Trigger {
        // SAFETY: the trigger exists while it runs.
        unsafe { &*self.0.tg_trigger }
    }

    pub fn relation(self) -> pg_sys::Oid {
        // SAFETY: the relation is open while its trigger runs.
        unsafe { (*self.0.tg_relation).rd_id }
    }

    /// The id of the trigger's mapping, and the direction.
    pub fn arguments(self) -> Result<(i32, Direction)> {
        let text = |n| {
            // SAFETY: the trigger is running.
            unsafe { trigger_call::argument(self.trigger(), n) }?
                .to_str()
                .ok()
        };
        let id = text(0).and_then(|t| t.parse().ok());
        let way = text(1).and_then(Direction::parse);
        id.zip(way)
            .ok_or_else(|| self.foreign_trigger("has arguments that mig_dual_write gives to none"))
    }

    pub fn foreign_trigger(self, why: &str) -> Error {
        trigger_function::foreign_trigger(TriggerFunction::Mirror, self.0, why)
    }
}

/// The written table, its owner, and the view.
pub struct TrustedOwners {
    pub owner: pg_sys::Oid,
    pub written: pg_sys::Oid,
    pub view: pg_sys::Oid,
}

/// Returns the written table, its owner and the view, if pg_mig installed this trigger and if the owner of the table it is on could write
/// the other table directly. So a forged row in the state tables gives no role any privilege. None if an owner lacks rights, as after
/// ALTER TABLE OWNER: the application had no part in that, so its write passes. `leader`: the flow that the trigger belongs to.
pub fn find_trusted(
    found: &TrustedMapping,
    flow: &Flow,
    leader: &Flow,
    running: RunningTrigger,
) -> Result<Option<TrustedOwners>> {
    let p = &found.mapping;
    let oid = |o: Option<u32>| o.map(pg_sys::Oid::from);
    let source = (Some(pg_sys::Oid::from(p.source)), oid(p.source_owner));
    let target = (oid(p.target), oid(p.target_owner));
    let (touched, written) = match flow.direction {
        Direction::Forward => (source, target),
        Direction::Reverse => (target, source),
    };
    if touched.0 != Some(running.relation()) {
        return Err(running.foreign_trigger("is not on the table that its arguments name"));
    }
    // SAFETY: the trigger is running.
    let ours = |made| unsafe { trigger_call::is_as_made(running.trigger(), made) };
    if !trigger::mirror_triggers(leader).iter().any(ours) {
        return Err(running.foreign_trigger("is not as mig_dual_write makes it"));
    }
    let ((Some(toucher), (Some(written), Some(owner))), Some(view_owner)) =
        ((touched.1, written), oid(found.view_owner))
    else {
        return Err(view_is_gone(flow));
    };
    let view = oid(found.view).unwrap_or(pg_sys::InvalidOid);
    // The view owner's expressions run with the privileges of the written table's owner, so the view's owner must have those privileges.
    // Built-in functions are no exception: some run a text, or read another view.
    let may_write = role::has_privileges_of(view_owner, owner);
    let may_act = [owner, view_owner].map(|o| role::has_privileges_of(toucher, o));
    // What id maps and scope pins hold runs as well: triggers, casts, defaults.
    if may_act != [true; 2] || !may_write || sides::owner(p).is_err() {
        return Ok(None);
    }
    Ok(Some(TrustedOwners {
        owner,
        written,
        view,
    }))
}

fn view_is_gone(flow: &Flow) -> Error {
    Error::unsuitable(
        flow.view.plain(),
        "gone: the view that says what a new row is was dropped".into(),
        sides::DETACH.into(),
    )
}
