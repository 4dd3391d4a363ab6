//! Holding the scope's row while mirrors write rows of it; see `sqlgen::anchor`.

use super::Outcome;
use crate::error::Result;
use crate::model::state::{Mapping, Migration};
use crate::pg::lock::{self, Mode};
use crate::pg::spi;
use crate::settings;
use crate::store::{anchor, mapping, rights};

#[derive(serde::Deserialize)]
struct Lacking {
    id: i32,
}

/// Makes the next anchor that is lacking, where rows of a target refer to the scope's row. Without one mirrors lock that row.
pub fn next_of(m: &Migration, mappings: &[Mapping]) -> Result<Outcome> {
    let sql = include_str!("../../sql/query/lacks_anchor.sql");
    let lacking: Vec<Lacking> = spi::rows(sql, &[m.id.into()])?;
    for p in mappings {
        if lacking.iter().any(|l| l.id == p.id) && anchor::is_wanted(p)? {
            return make(m, p);
        }
    }
    Ok(Outcome::Done)
}

/// ShareRowExclusive on the scope's table, brief, as for any foreign key.
fn make(m: &Migration, p: &Mapping) -> Result<Outcome> {
    let Some((scope, table, key)) = anchor::parent(p) else {
        return Ok(Outcome::Done);
    };
    let locks = [(table.clone(), Mode::ShareRowExclusive)];
    lock::soon(&locks, settings::lock_timeout_ms(m))?;
    for sql in crate::sqlgen::anchor::create(p.id, scope, table, key) {
        spi::run(&sql, &[])?;
    }
    let name = crate::sqlgen::anchor::name(p.id);
    rights::hand_over(mapping::owner(p)?, "TABLE", &name)?;
    Ok(Outcome::Did(0))
}
