//! Repair of merged rows, as their mirrors do it, but without waiting for any lock.

use crate::error::Result;
use crate::model::layout::merge::Merge;
use crate::model::records::{Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::{guc, own_writes, role, spi, tid};
use crate::settings;
use crate::sqlgen::checksum::ComparedPair;
use crate::sqlgen::{mirror, repair};
use crate::store::{mapping, sides};
use pgrx::JsonB;
use serde_json::Value;

/// Result of copying some rows.
pub struct CopiedRows {
    /// Source rows that were free, and whose target rows were written.
    pub rows: i64,
    /// A referenced row exists, and is locked by another transaction.
    pub waits: bool,
    /// A target row exists and was not written: another transaction holds it, or it belongs to another scope.
    pub held: bool,
}

/// Updates target rows that are free, and inserts missing ones if all their parts are free.
pub fn copy_free_rows(
    m: &Migration,
    p: &Mapping,
    merge: &Merge,
    keys: &Value,
) -> Result<CopiedRows> {
    let flow = sides::forward(p)?;
    let pair = ComparedPair::new(p.id, sides::target(p)?, sides::layout(p)?);
    let _timeout = guc::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(sides::owner(p)?)?;
    let new = tid::lock_keys(&repair::lock_target(&pair), keys)?;
    if new.count > 0 {
        own_writes::note_next_command();
        let here = "t.ctid OPERATOR(pg_catalog.=) ANY ($1)";
        tid::run(&mirror::renew(&flow, here), &new)?;
    }
    let ids: Vec<i32> = merge.mappings().collect();
    let mut parts = Vec::new();
    let mut held = Vec::new();
    for part in mapping::partners(&ids)? {
        let part = sides::forward(&part)?;
        let locked =
            spi::value::<JsonText>(&repair::lock_part(&part), &[JsonB(keys.clone()).into()])?;
        held.push(locked.map_or(Ok(Value::Array(Vec::new())), |d| d.decode())?);
        parts.push(part);
    }
    own_writes::note_next_command();
    let put_in = spi::run(
        &repair::insert_whole(&flow, &pair, &parts),
        &[JsonB(keys.clone()).into(), JsonB(Value::Array(held)).into()],
    )?;
    let wanted = i64::try_from(keys.as_array().map_or(0, Vec::len)).unwrap_or(i64::MAX);
    let rows = new.count + put_in;
    Ok(CopiedRows {
        rows,
        waits: rows < wanted,
        held: false,
    })
}
