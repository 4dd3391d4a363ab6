//! What a batch does with the rows of its slice, by the pass of the mapping.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::records::{Mapping, Pass};
use crate::pg::tid::{self, BlockSlice};
use crate::pg::{application_path, catalog, own_writes, role, spi};
use crate::relation::id_pairs;
use crate::row_writer::DirectWriter;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::{batch, delete_stale};
use crate::store::{sessions, sides};
use pgrx::pg_sys::Oid;

type KeyList = Vec<Vec<String>>;

pub struct MovedRows {
    pub locked: i64,
    pub leftovers: KeyList,
    pub refused: KeyList,
    /// The block after the last one that was processed, if that is not the end of the slice.
    pub stopped: Option<i64>,
}

/// Returns the table whose blocks the pass reads.
pub fn read_from(p: &Mapping) -> Result<(u32, &QualifiedName)> {
    match p.pass {
        Pass::Copy | Pass::DeleteStale => Ok((p.source, sides::source(p)?)),
        Pass::CopyBack => Ok((sides::target_oid(p)?.to_u32(), sides::target(p)?)),
    }
}

/// Runs the pass as the tables' owner: expressions run with the owner's rights.
pub fn run(p: &Mapping, slice: &BlockSlice) -> Result<MovedRows> {
    let _owner = role::confine(sides::owner(p)?)?;
    let moved = match p.pass {
        Pass::Copy => copy_slice(p, slice)?,
        Pass::DeleteStale => delete(&require_reverse(p)?, slice)?,
        Pass::CopyBack => renew(&require_reverse(p)?, &sides::forward(p)?, slice)?,
    };
    if p.adopted {
        // Deferred constraints of the user must be checked now, as the owner, not at commit, as the caller.
        spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    }
    Ok(moved)
}

/// Whether several processes may copy slices of the table at a time: no row of one slice waits for a row of another.
pub fn may_share(p: &Mapping) -> Result<bool> {
    Ok(p.pass == Pass::Copy && direct(p, &sides::forward(p)?)?.is_some())
}

/// Returns the keys of all rows in this slice that the pass would touch.
pub fn keys(p: &Mapping, slice: &BlockSlice) -> Result<KeyList> {
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let sql = match p.pass {
        Pass::Copy => batch::keys(&sides::forward(p)?),
        Pass::DeleteStale => delete_stale::keys(&require_reverse(p)?),
        Pass::CopyBack => batch::keys(&require_reverse(p)?),
    };
    tid::keys_in_slice(&sql, slice)
}

fn require_reverse(p: &Mapping) -> Result<Flow> {
    sides::reverse(p)?.ok_or_else(|| Error::internal(format!("mapping {} has no way back", p.id)))
}

/// Copies the slice, without row locks where that is safe.
fn copy_slice(p: &Mapping, slice: &BlockSlice) -> Result<MovedRows> {
    let flow = sides::forward(p)?;
    match direct(p, &flow)? {
        Some(direct) => copy_directly(&direct, p, &flow, slice),
        None => copy(&flow, slice),
    }
}

fn direct(p: &Mapping, flow: &Flow) -> Result<Option<DirectWriter>> {
    let (Some(target), Some(view)) = (p.target, catalog::find(&flow.view)?) else {
        return Ok(None);
    };
    // Mirrors of older sessions would not wait for a copy that is not committed.
    if sessions::older_than("0.4.0")?.maybe > 0 {
        return Ok(None);
    }
    let found = DirectWriter::for_flow(flow, Oid::from(p.source), view, Oid::from(target), false)?;
    Ok(found.filter(DirectWriter::can_bulk_copy))
}

fn copy_directly(
    direct: &DirectWriter,
    p: &Mapping,
    flow: &Flow,
    slice: &BlockSlice,
) -> Result<MovedRows> {
    // `super::hold` took ROW SHARE on the source: it conflicts with TRUNCATE and with everything that rewrites a table.
    let _code = application_path::switch();
    let copied = direct.copy(Oid::from(p.source), slice)?;
    Ok(MovedRows {
        locked: copied.rows,
        leftovers: tid::keys_at(&batch::keys_at(flow), &copied.busy)?,
        refused: Vec::new(),
        stopped: copied.stopped.map(i64::from),
    })
}

fn copy(flow: &Flow, slice: &BlockSlice) -> Result<MovedRows> {
    let locked = tid::lock(&batch::lock(flow), slice)?;
    let mut copied = 0;
    if locked.count > 0 {
        id_pairs::give_ids(flow, &locked)?;
        if flow.finds() {
            tid::run(&batch::renew(flow), &locked)?;
        }
        copied = tid::run(&batch::copy(flow), &locked)?;
    }
    let leftovers = tid::keys_outside(&batch::leftovers(flow), slice, &locked)?;
    let refused = if copied < locked.count {
        tid::keys_of(&batch::select_refused(flow), &locked)?
    } else {
        Vec::new()
    };
    Ok(MovedRows {
        locked: locked.count,
        leftovers,
        refused,
        stopped: None,
    })
}

/// Brings the rows of the slice back. What `up` makes of an old value is the new value, as where both sides are live.
fn renew(flow: &Flow, forth: &Flow, slice: &BlockSlice) -> Result<MovedRows> {
    let locked = tid::lock(&batch::lock(flow), slice)?;
    let mut refused = Vec::new();
    if locked.count > 0 {
        id_pairs::give_ids(flow, &locked)?;
        tid::run(&batch::renew(flow), &locked)?;
        tid::run(&batch::copy(flow), &locked)?;
        refused = tid::keys_of(&batch::select_refused(flow), &locked)?;
        if let Some(sql) = batch::settle(forth) {
            own_writes::note_next_command();
            tid::run(&sql, &locked)?;
        }
    }
    let leftovers = tid::keys_outside(&batch::leftovers(flow), slice, &locked)?;
    Ok(MovedRows {
        locked: locked.count,
        leftovers,
        refused,
        stopped: None,
    })
}

fn delete(flow: &Flow, slice: &BlockSlice) -> Result<MovedRows> {
    let locked = tid::lock(&delete_stale::lock(flow), slice)?;
    if locked.count > 0 {
        tid::run(&delete_stale::delete(flow), &locked)?;
    }
    let leftovers = tid::keys_outside(&delete_stale::leftovers(flow), slice, &locked)?;
    Ok(MovedRows {
        locked: locked.count,
        leftovers,
        refused: Vec::new(),
        stopped: None,
    })
}
