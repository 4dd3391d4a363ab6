//! Rows that several old tables have a part of, put right: as their mirrors do it, but without waiting for anybody.

use super::mend::CopiedRows;
use crate::error::Result;
use crate::model::layout::merge::Merge;
use crate::model::state::{Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::{echo, places, role, session, spi};
use crate::settings;
use crate::sqlgen::digest::ComparedPair;
use crate::sqlgen::{mend, mirror};
use crate::store::mapping;
use pgrx::JsonB;
use serde_json::Value;

/// Updates new rows that are free, and inserts those that are lacking where all their parts are free.
pub fn copy_free_rows(
    m: &Migration,
    p: &Mapping,
    merge: &Merge,
    keys: &Value,
) -> Result<CopiedRows> {
    let flow = mapping::forward(p)?;
    let pair = ComparedPair::new(p.id, mapping::target(p)?, mapping::layout(p)?);
    let _timeout = session::lock_timeout(settings::lock_timeout_ms(m));
    let _owner = role::confine(mapping::owner(p)?)?;
    let new = places::lock_keys(&mend::lock_target(&pair), keys)?;
    if new.count > 0 {
        echo::note_next_command();
        let here = "t.ctid OPERATOR(pg_catalog.=) ANY ($1)";
        places::run(&mirror::renew(&flow, here), &new)?;
    }
    let ids: Vec<i32> = merge.mappings().collect();
    let mut parts = Vec::new();
    let mut held = Vec::new();
    for part in mapping::partners(&ids)? {
        let part = mapping::forward(&part)?;
        let locked =
            spi::value::<JsonText>(&mend::lock_part(&part), &[JsonB(keys.clone()).into()])?;
        held.push(locked.map_or(Ok(Value::Array(Vec::new())), |d| d.decode())?);
        parts.push(part);
    }
    echo::note_next_command();
    let put_in = spi::run(
        &mend::insert_whole(&flow, &pair, &parts),
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
