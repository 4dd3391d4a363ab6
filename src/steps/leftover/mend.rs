//! Many leftovers at once, without waiting for any row: the target's rows of these keys become what the mapping says.

use super::merged;
use crate::error::Result;
use crate::model::state::{Leftover, Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::moment::Snapshot;
use crate::pg::places::{self, TidList};
use crate::pg::{echo, role, session, spi};
use crate::settings;
use crate::sqlgen::digest::ComparedPair;
use crate::sqlgen::flow::Flow;
use crate::sqlgen::mend::{self, InboundKey};
use crate::sqlgen::parents::{self, OutboundKey};
use crate::store::compare::{ChoiceArgument, Comparison, RowChoice};
use crate::store::{ids, mapping, rows};
use pgrx::JsonB;
use pgrx::pg_sys::Oid;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The keys of some leftovers of one mapping.
pub fn keys(of: &[Leftover]) -> Value {
    json!(of.iter().map(|l| &l.key).collect::<Vec<_>>())
}

/// What came of bringing some rows.
pub struct CopiedRows {
    /// Old rows that were free, and whose new rows were written.
    pub rows: i64,
    /// Something that a row refers to is there, and locked by somebody.
    pub waits: bool,
    /// A new row is there, and was not written: somebody holds it, or it is another scope's.
    pub held: bool,
}

/// Inserts and updates new rows of those old rows that are free.
pub fn copy_free_rows(m: &Migration, p: &Mapping, keys: &Value) -> Result<CopiedRows> {
    let (flow, layout) = (mapping::forward(p)?, mapping::layout(p)?);
    if let Some(merge) = &layout.merge {
        return merged::copy_free_rows(m, p, merge, keys);
    }
    let pair = ComparedPair::new(p.id, mapping::target(p)?, layout);
    let _timeout = session::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(mapping::owner(p)?)?;
    let mut old = places::lock_keys(&mend::lock_source(&pair), keys)?;
    if old.count > 0 {
        ids::give(&flow, &old)?;
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
    let new = places::lock_keys(&mend::lock_target(&pair), keys)?;
    // Our own writes must not come back to the old table, where both are live.
    if new.count > 0 {
        for sql in mend::renew_keys(&flow).iter().chain([&mend::renew(&flow)]) {
            echo::note_next_command();
            places::run_both(sql, &old, &new)?;
        }
    }
    echo::note_next_command();
    let put_in = places::run(&mend::insert(&flow), &old)?;
    brought.held = new.count + put_in < old.count;
    Ok(brought)
}

/// Foreign keys of the target over columns that we write.
fn outbound(p: &Mapping) -> Result<Vec<OutboundKey>> {
    let all: Vec<OutboundKey> = spi::rows(
        include_str!("../../../sql/query/outbound_keys.sql"),
        &[Oid::from(p.target.unwrap_or(0)).into()],
    )?;
    let columns = &mapping::layout(p)?.columns;
    let ours = |k: &OutboundKey| {
        let mut pairs = k.pairs.iter();
        pairs.all(|t| columns.iter().any(|c| c.name == t.columns.child))
    };
    Ok(all.into_iter().filter(ours).collect())
}

/// Those of the old rows whose new rows would find what they refer to, which is locked then; and whether others would, but
/// for somebody who holds it.
fn with_parents(flow: &Flow, key: &OutboundKey, old: &TidList) -> Result<(TidList, bool)> {
    let named = places::document(&parents::select_parent_keys(flow, key), old)?;
    let keys = |sql: &str| -> Result<Value> {
        let _parent = role::confine_for_key(Oid::from(key.owner));
        let found = spi::value::<JsonText>(sql, &[JsonB(named.clone()).into()])?;
        found.map_or(Ok(Value::Null), |d| d.decode())
    };
    let count = |keys: &Value| keys.as_array().map_or(0, Vec::len);
    let locked = keys(&parents::lock(key))?;
    let held =
        count(&locked) < count(&named) && count(&keys(&parents::present(key))?) > count(&locked);
    Ok((
        places::some_of(&parents::select_served(flow, key), old, &locked)?,
        held,
    ))
}

/// Deletes new rows that have no old row, as far as they are free and nobody refers to them; how many were free.
pub fn prune(p: &Mapping, keys: &Value) -> Result<i64> {
    let (flow, layout) = (mapping::forward(p)?, mapping::layout(p)?);
    let pair = ComparedPair::new(p.id, mapping::target(p)?, layout);
    let inbound: Vec<InboundKey> = spi::rows(
        include_str!("../../../sql/query/inbound_keys.sql"),
        &[Oid::from(p.target.unwrap_or(0)).into()],
    )?;
    let _owner = role::confine(mapping::owner(p)?)?;
    let stale = places::lock_keys(&mend::lock_stale(&pair, &flow), keys)?;
    if stale.count > 0 {
        echo::note_next_command();
        places::run(&mend::delete(&flow, &inbound), &stale)?;
    }
    Ok(stale.count)
}

/// Strikes those off that are equal now, and marks the others as tried; how many are left.
pub fn settle(p: &Mapping, of: &[Leftover]) -> Result<usize> {
    let at = Snapshot::take();
    let beside = Comparison::without_pending(p, &at)?;
    let choice = RowChoice {
        condition: beside.pair()?.chosen(),
        argument: ChoiceArgument::Keys(keys(of)),
    };
    let found = beside.list(&choice, i64::from(i32::MAX))?;
    let differ: HashSet<Vec<Option<String>>> = found.into_iter().map(|f| f.key).collect();
    let mut left = 0;
    for l in of {
        if differ.contains(&l.key.iter().cloned().map(Some).collect::<Vec<_>>()) {
            rows::set_tried(l.id)?;
            left += 1;
        } else {
            rows::done(l.id)?;
        }
    }
    Ok(left)
}
