//! Holds the scope's row while mirrors write rows of it; see `sqlgen::scope_pin`.

use super::SliceOutcome;
use crate::error::Result;
use crate::model::records::{Mapping, Migration};
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::{draft, guc, spi, state};
use crate::relation::scope_pin;
use crate::settings;
use crate::sqlgen::scope_pin as sql;
use crate::store::sides;

#[derive(serde::Deserialize)]
struct LackingAnchor {
    id: i32,
}

/// Creates the next missing scope pin, if rows of a target refer to the scope's row. Without a pin mirrors lock that row.
pub fn next_of(m: &Migration, mappings: &[Mapping]) -> Result<SliceOutcome> {
    let query = include_str!("../../sql/query/lacks_anchor.sql");
    let lacking: Vec<LackingAnchor> = state::rows(query, &[m.id.into()])?;
    for p in mappings {
        if lacking.iter().any(|l| l.id == p.id) && scope_pin::is_wanted(p)? {
            return make(m, p);
        }
    }
    Ok(SliceOutcome::Done)
}

/// Creates a pin. ShareRowExclusive on the scope's table, brief, as for any foreign key.
fn make(m: &Migration, p: &Mapping) -> Result<SliceOutcome> {
    let Some((scope, table, key)) = scope_pin::parent(p) else {
        return Ok(SliceOutcome::Done);
    };
    let locks = [LockRequest::by_name(table, LockMode::ShareRowExclusive)?];
    lock::lock_for_job(&locks, settings::lock_timeout_ms(m))?;
    let _heap = guc::pin_heap();
    draft::make(sides::owner(p)?, |draft| {
        let name = sql::name(p.id);
        for sql in sql::create(&draft.name(&name), p.id, scope, (table, key)) {
            spi::run(&sql, &[])?;
        }
        Ok(vec![("TABLE", name)])
    })?;
    Ok(SliceOutcome::Did(0))
}
