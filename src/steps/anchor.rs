//! Holding the scope's row while mirrors write rows of it; see `sqlgen::anchor`.

use super::Outcome;
use crate::error::Result;
use crate::model::state::{Mapping, Migration};
use crate::pg::lock::{self, Mode};
use crate::pg::spi;
use crate::settings;
use crate::store::{anchor, mapping, rights};

/// Makes the anchor that `p` lacks, where rows of its target refer to the scope's row. Without one mirrors lock that row.
/// ShareRowExclusive on the scope's table, brief, as for any foreign key.
pub fn next(m: &Migration, p: &Mapping) -> Result<Outcome> {
    let Some((scope, table, key)) = anchor::parent(p) else {
        return Ok(Outcome::Done);
    };
    if anchor::stands(p)? || !anchor::is_wanted(p)? {
        return Ok(Outcome::Done);
    }
    let locks = [(table.clone(), Mode::ShareRowExclusive)];
    lock::soon(&locks, settings::lock_timeout_ms(m))?;
    for sql in crate::sqlgen::anchor::create(p.id, scope, table, key) {
        spi::run(&sql, &[])?;
    }
    let name = crate::sqlgen::anchor::name(p.id);
    rights::hand_over(mapping::owner(p)?, "TABLE", &name)?;
    Ok(Outcome::Did(0))
}
