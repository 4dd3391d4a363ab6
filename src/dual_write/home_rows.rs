//! Rows that a mapping's filter leaves out: they have not moved, and are written in the old table as ever. The mapping's view says which rows
//! have.

use crate::error::{Error, Result};
use crate::pg::prepared::{self, PreparedPlan};
use crate::pg::relcache_flag::{self, InvalidationFlag};
use crate::pg::trigger_call::{self, FiringMode};
use crate::pg::{application_path, catalog, guc, role};
use crate::sqlgen::view_names;
use crate::store::mapping;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// Finds a row in the mapping's view by its place, as the view's owner.
struct HomeFilter {
    owner: pg_sys::Oid,
    path: Option<Rc<CStr>>,
    find: PreparedPlan,
    changed: Rc<InvalidationFlag>,
}

thread_local! {
    static KNOWN: RefCell<HashMap<(i32, pg_sys::Oid), Rc<HomeFilter>>> = RefCell::new(HashMap::new());
}

/// Whether the row of the event is one that the filter takes: the row before an UPDATE or DELETE in a BEFORE trigger, the row after an INSERT or
/// UPDATE in an AFTER trigger.
///
/// # Safety
/// `data` is the TriggerData of a running row trigger on a table.
pub unsafe fn has_moved(data: &pg_sys::TriggerData, mapping: i32) -> Result<bool> {
    // SAFETY: guaranteed by the caller; which tuples exist depends on the event (trigger.c).
    let (relation, mut place) = unsafe {
        let changed = trigger_call::event(data) == pg_sys::TRIGGER_EVENT_UPDATE;
        let tuple = match trigger_call::call(data) {
            FiringMode::AfterRow if changed => data.tg_newtuple,
            _ => data.tg_trigtuple,
        };
        ((*data.tg_relation).rd_id, (*tuple).t_self)
    };
    let known = find_or_make(mapping, relation)?;
    let _owner = role::act_as(known.owner);
    let _path = application_path::enter(known.path.clone());
    let _safe = guc::pin_names();
    let connection = prepared::connect()?;
    let place = pg_sys::Datum::from(&raw mut place);
    Ok(connection.run_latest(&known.find, &mut [place])? > 0)
}

fn find_or_make(mapping: i32, relation: pg_sys::Oid) -> Result<Rc<HomeFilter>> {
    let known = KNOWN.with_borrow(|all| all.get(&(mapping, relation)).cloned());
    if let Some(known) = known.filter(|k| !k.changed.is_raised()) {
        return Ok(known);
    }
    let _safe = guc::pin_names();
    let made = Rc::new(make(mapping, relation)?);
    KNOWN.with_borrow_mut(|all| {
        all.retain(|_, k| !k.changed.is_raised());
        all.insert((mapping, relation), Rc::clone(&made));
    });
    Ok(made)
}

/// Errors with 55000 where the view is gone, or is another role's: its filter runs with the rights of the table's owner.
fn make(mapping: i32, relation: pg_sys::Oid) -> Result<HomeFilter> {
    let name = view_names::name(mapping);
    let owner = catalog::owner_of(relation)?;
    let view = catalog::oid_of(&name);
    let trusted = view
        .and_then(|view| catalog::owner_of(view).ok())
        .is_some_and(|author| role::has_privileges_of(author, owner));
    let Some(view) = view.filter(|_| trusted) else {
        return Err(Error::unsuitable(
            name.plain(),
            "gone, or another role's: it says which rows have moved".into(),
            "Go back: SELECT * FROM mig_rollback(); or forget the migration with mig_drop.".into(),
        ));
    };
    let path = mapping::code_path(mapping, owner)?;
    let path = path
        .as_deref()
        .map(application_path::to_c_string)
        .transpose()?;
    let _owner = role::act_as(owner);
    let find = format!(
        "SELECT 1 FROM {name} AS v WHERE v.{} OPERATOR(pg_catalog.=) $1",
        view_names::place()
    );
    Ok(HomeFilter {
        owner,
        path,
        find: prepared::connect()?.prepare(&find, &[pg_sys::TIDOID])?,
        changed: relcache_flag::relations(vec![relation, view]),
    })
}
