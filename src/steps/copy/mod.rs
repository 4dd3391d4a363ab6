//! One batch of the backfill: lock what is free, copy it under a newer snapshot, list the rest, set the
//! checkpoint, all in one transaction. Why this order loses no row: README, "How it stays correct".

mod moves;

use super::Outcome;
use crate::error::{Error, Result};
use crate::model::state::{Mapping, Migration};
use crate::pg::places::Slice;
use crate::pg::{catalog, session, spi};
use crate::settings;
use crate::store::{log, mapping, rows};
use moves::Moved;
use std::time::Instant;

/// The smallest and largest batch that adapting may come to.
const ROWS: std::ops::RangeInclusive<i64> = 50..=100_000;
/// Blocks of a slice, however few rows they hold.
const MAX_BLOCKS: i64 = 4096;

/// Copies the next slice of one mapping.
pub fn batch(m: &Migration, p: &Mapping) -> Result<Outcome> {
    let p = &bounded(m, p)?;
    let started = Instant::now();
    let ahead = next_slice(m, p)?;
    // For what the target's own constraints wait for (an adopted one may have foreign keys), with rows locked.
    let _timeout = session::lock_timeout(settings::lock_timeout_ms(m));
    let Moved {
        locked,
        leftovers,
        refused,
    } = moves::run(p, &ahead.slice)?;
    rows::add_leftovers(p.id, &leftovers)?;
    rows::add_refused(p.id, &refused)?;
    let ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    mapping::checkpoint(
        p.id,
        &mapping::Checkpoint {
            next_block: ahead.end,
            rows: locked,
            batch_rows: adapted(m, p, locked, ms),
            batch_ms: i32::try_from(ms).unwrap_or(i32::MAX),
            copied: ahead.last,
        },
    )?;
    Ok(Outcome::Did(locked))
}

/// A slice that holds a row which cannot be copied: all its rows become leftovers, each tried alone.
pub fn give_up_slice(m: &Migration, p: &Mapping) -> Result<Outcome> {
    let p = &bounded(m, p)?;
    let ahead = next_slice(m, p)?;
    let keys = moves::keys(p, &ahead.slice)?;
    rows::add_leftovers(p.id, &keys)?;
    mapping::checkpoint(
        p.id,
        &mapping::Checkpoint {
            next_block: ahead.end,
            rows: 0,
            batch_rows: i32::try_from(*ROWS.start()).unwrap_or(50),
            batch_ms: 0,
            copied: ahead.last,
        },
    )?;
    Ok(Outcome::Did(i64::try_from(keys.len()).unwrap_or(0)))
}

/// The blocks that come next.
struct Ahead {
    slice: Slice,
    end: i64,
    /// It ends at the bound.
    last: bool,
}

fn next_slice(m: &Migration, p: &Mapping) -> Result<Ahead> {
    let bound = p.bound_blocks.unwrap_or(0);
    let end = (p.next_block + blocks(m, p)?).min(bound);
    Ok(Ahead {
        slice: Slice::new(p.next_block, end)?,
        end,
        last: end >= bound,
    })
}

/// Fixes the bound at the first batch, and starts over where the table was rewritten since (VACUUM FULL,
/// CLUSTER, TRUNCATE, a restored dump): places mean nothing in another file.
fn bounded(m: &Migration, p: &Mapping) -> Result<Mapping> {
    let (relation, name) = moves::read_from(p)?;
    let _timeout = session::lock_timeout(settings::lock_timeout_ms(m));
    // Held to the end of the transaction: nobody rewrites the table under the batch.
    spi::run(&format!("LOCK TABLE ONLY {name} IN ROW SHARE MODE"), &[])?;
    let extent = catalog::extent(relation)?
        .ok_or_else(|| Error::Internal("the source has no extent".into()))?;
    if p.bound_blocks.is_some() && p.filenode == Some(extent.filenode) {
        return Ok(p.clone());
    }
    if p.bound_blocks.is_some() {
        log::write(
            &m.name,
            m.phase.as_str(),
            &format!(
                "backfill of {} starts over: the table was rewritten",
                name.plain()
            ),
        )?;
    }
    mapping::set_bound(p.id, &extent)?;
    mapping::by_id(p.id)?.ok_or_else(|| Error::Internal("the mapping is gone".into()))
}

/// Blocks that hold about one batch of rows, by what the blocks so far held.
fn blocks(m: &Migration, p: &Mapping) -> Result<i64> {
    let rows = i64::from(p.batch_rows.unwrap_or_else(|| settings::batch_rows(m)));
    let (seen_rows, seen_blocks) = if p.next_block > 0 {
        (p.rows_done, p.next_block)
    } else {
        let extent = catalog::extent(moves::read_from(p)?.0)?;
        extent.map_or((0, 0), |e| (e.rows, e.blocks))
    };
    let density = if seen_blocks > 0 {
        (seen_rows / seen_blocks).max(1)
    } else {
        1
    };
    Ok((rows / density).clamp(1, MAX_BLOCKS))
}

/// The size of the next batch: at most twice or half of this one, towards the time it should take.
fn adapted(m: &Migration, p: &Mapping, rows: i64, ms: i64) -> i32 {
    let now = i64::from(p.batch_rows.unwrap_or_else(|| settings::batch_rows(m)));
    let wanted = i64::from(settings::batch_target_ms(m));
    let next = if rows == 0 {
        now
    } else {
        (rows * wanted / ms.max(1)).clamp(now / 2, now * 2)
    };
    i32::try_from(next.clamp(*ROWS.start(), *ROWS.end())).unwrap_or(1000)
}
