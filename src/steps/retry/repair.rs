//! Repair of many pending rows at once, without waiting for any lock: the target rows of these keys become what the mapping
//! defines.

use super::merge::{self, CopiedRows};
use crate::error::Result;
use crate::model::records::{Leftover, Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::snapshot::Snapshot;
use crate::pg::tid::{self, TidList};
use crate::pg::{guc, own_writes, role, spi};
use crate::relation::compare::{ChoiceArgument, Comparison, RowChoice};
use crate::relation::id_pairs;
use crate::settings;
use crate::sqlgen::checksum::ComparedPair;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::lock_parents::{self, OutboundKey};
use crate::sqlgen::repair::{self, InboundKey};
use crate::store::{pending_rows, sides};
use pgrx::JsonB;
use pgrx::pg_sys::Oid;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Returns the keys of some pending rows of one mapping.
pub fn keys(of: &[Leftover]) -> Value {
    json!(of.iter().map(|l| &l.key).collect::<Vec<_>>())
}

/// Inserts and updates the target rows of those source rows that are free.
pub fn copy_free_rows(m: &Migration, p: &Mapping, keys: &Value) -> Result<CopiedRows> {
    let (flow, layout) = (sides::forward(p)?, sides::layout(p)?);
    if let Some(merge) = &layout.merge {
        return merge::copy_free_rows(m, p, merge, keys);
    }
    let pair = ComparedPair::new(p.id, sides::target(p)?, layout);
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(sides::owner(p)?)?;
    let mut old = tid::lock_keys(&repair::lock_source(&pair), keys)?;
    if old.count > 0 {
        id_pairs::give_ids(&flow, &old)?;
    }
    let mut waits = false;
    for key in outbound(p)? {
        if old.count > 0 {
            let (served, held) = with_parents(&flow, &key, &old)?;
            old = served;
            waits |= held;
        }
    }
    let mut brought = CopiedRows {
        rows: old.count,
        waits,
        held: false,
    };
    if old.count == 0 {
        return Ok(brought);
    }
    let new = tid::lock_keys(&repair::lock_target(&pair), keys)?;
    // pg_mig's own writes must not come back to the source if both sides are live.
    if new.count > 0 {
        for sql in repair::renew_keys(&flow)
            .iter()
            .chain([&repair::renew(&flow)])
        {
            own_writes::note_next_command();
            tid::run_both(sql, &old, &new)?;
        }
    }
    own_writes::note_next_command();
    let put_in = tid::run(&repair::insert(&flow), &old)?;
    brought.held = new.count + put_in < old.count;
    Ok(brought)
}

/// Returns the foreign keys of the target over columns that pg_mig writes.
fn outbound(p: &Mapping) -> Result<Vec<OutboundKey>> {
    let all: Vec<OutboundKey> = spi::rows(
        include_str!("../../../sql/query/outbound_keys.sql"),
        &[sides::target_oid(p)?.into()],
    )?;
    let columns = &sides::layout(p)?.columns;
    let ours = |k: &OutboundKey| {
        let mut pairs = k.pairs.iter();
        pairs.all(|t| columns.iter().any(|c| c.name == t.columns.child))
    };
    Ok(all.into_iter().filter(ours).collect())
}

/// Returns the source rows whose target rows would find the rows they refer to, and locks those; and whether others would
/// find them too, if another transaction did not hold them.
fn with_parents(flow: &Flow, key: &OutboundKey, old: &TidList) -> Result<(TidList, bool)> {
    let named = tid::document(&lock_parents::select_parent_keys(flow, key), old)?;
    let keys = |sql: &str| -> Result<Value> {
        let _parent = role::confine_for_key(Oid::from(key.owner));
        let found = spi::value::<JsonText>(sql, &[JsonB(named.clone()).into()])?;
        found.map_or(Ok(Value::Null), |d| d.decode())
    };
    let count = |keys: &Value| keys.as_array().map_or(0, Vec::len);
    let locked = keys(&lock_parents::lock(key))?;
    let held = count(&locked) < count(&named)
        && count(&keys(&lock_parents::present(key))?) > count(&locked);
    Ok((
        tid::some_of(&lock_parents::select_served(flow, key), old, &locked)?,
        held,
    ))
}

/// Deletes target rows without a source row, if they are free and no row refers to them. Returns how many were free.
pub fn prune(p: &Mapping, keys: &Value) -> Result<i64> {
    let (flow, layout) = (sides::forward(p)?, sides::layout(p)?);
    let pair = ComparedPair::new(p.id, sides::target(p)?, layout);
    let inbound: Vec<InboundKey> = spi::rows(
        include_str!("../../../sql/query/inbound_keys.sql"),
        &[sides::target_oid(p)?.into()],
    )?;
    let _owner = role::confine(sides::owner(p)?)?;
    let stale = tid::lock_keys(&repair::lock_stale(&pair, &flow), keys)?;
    if stale.count > 0 {
        own_writes::note_next_command();
        tid::run(&repair::delete(&flow, &inbound), &stale)?;
    }
    Ok(stale.count)
}

/// Whether the row of this key differs on the two sides.
pub fn differs(p: &Mapping, l: &Leftover) -> Result<bool> {
    Ok(!find_differing(p, std::slice::from_ref(l))?.is_empty())
}

fn find_differing(p: &Mapping, of: &[Leftover]) -> Result<HashSet<Vec<Option<String>>>> {
    let at = Snapshot::take();
    let beside = Comparison::without_pending(p, &at)?;
    let choice = RowChoice {
        condition: beside.pair()?.chosen(),
        argument: ChoiceArgument::Keys(keys(of)),
    };
    let found = beside.list(&choice, i64::from(i32::MAX))?;
    Ok(found.into_iter().map(|f| f.key).collect())
}

/// Removes pending rows that are equal now, and marks the others as tried. Returns how many are left.
pub fn strike_off_equal(p: &Mapping, of: &[Leftover]) -> Result<usize> {
    let differ = find_differing(p, of)?;
    let mut left = 0;
    for l in of {
        if differ.contains(&l.key.iter().cloned().map(Some).collect::<Vec<_>>()) {
            pending_rows::set_tried(l.id)?;
            left += 1;
        } else {
            pending_rows::done(l.id)?;
        }
    }
    Ok(left)
}
