//! Indexes that the target gets after the copy.

use super::{SliceOutcome, TopLevelCommand};
use crate::error::{Error, Result};
use crate::model::layout::TargetIndex;
use crate::model::records::{Mapping, Migration};
use crate::pg::{application_path, catalog, lock, role, spi, top_level};
use crate::sqlgen::index;
use crate::store::{mapping, sides};

/// A larger target is not indexed under a lock: 128 blocks of 8 kB are indexed in milliseconds.
const SMALL_BLOCKS: i64 = 128;
/// A target up to this size, 256 kB, is indexed under a lock by every driver, well within a batch's time. A build that locks nobody out waits
/// for all older snapshots of the database, three times, also where the table has twelve rows.
const TINY_BLOCKS: i64 = 32;

#[derive(serde::Deserialize)]
struct IndexState {
    valid: bool,
    constraint: bool,
}

/// Returns the tables that lack an index.
pub fn find_lacking<'a>(m: &Migration, mappings: &'a [Mapping]) -> Result<Vec<&'a Mapping>> {
    mapping::pick(m, mappings, include_str!("../../sql/query/lacks_index.sql"))
}

/// Builds or attaches the next index that `p` lacks. The indexes of a tiny table are built under a lock. A driver that cannot run a top-level
/// command does so for small ones, too, and refuses those of a large one, with the statement to run.
pub fn next(
    m: &Migration,
    p: &Mapping,
    top_level: bool,
    lock_timeout_ms: i32,
) -> Result<SliceOutcome> {
    let target = sides::target(p)?;
    for i in &sides::layout(p)?.indexes {
        match state(p, i)? {
            Some(s) if s.valid && (s.constraint || !i.constraint) => {}
            Some(s) if s.valid => return attach(p, i, lock_timeout_ms),
            Some(_) => {
                // Left by an interrupted concurrent build.
                lock_target(p, lock_timeout_ms)?;
                spi::run(&format!("DROP INDEX {}.{}", target.schema, i.name), &[])?;
                return Ok(SliceOutcome::Did(0));
            }
            None if top_level && count_blocks(p)? > TINY_BLOCKS => {
                return Ok(SliceOutcome::TopLevel(TopLevelCommand {
                    sql: index::create(target, i, true),
                    role: super::builder(i, sides::owner(p)?),
                    path: application_path::current(),
                }));
            }
            None => return build_here(m, p, i, lock_timeout_ms),
        }
    }
    Ok(SliceOutcome::Done)
}

fn state(p: &Mapping, i: &TargetIndex) -> Result<Option<IndexState>> {
    spi::first(
        "SELECT x.indisvalid AS valid, EXISTS (SELECT FROM pg_catalog.pg_constraint co WHERE co.conindid = x.indexrelid) AS constraint \
         FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = $1 AND c.relname = $2",
        &[sides::target_oid(p)?.into(), i.name.as_str().into()],
    )
}

/// Takes the strongest lock first: the statements after it need less.
fn lock_target(p: &Mapping, timeout_ms: i32) -> Result<()> {
    let tables = [sides::target_lock(p, lock::LockMode::AccessExclusive)?];
    lock::lock_for_job(&tables, timeout_ms)
}

fn attach(p: &Mapping, i: &TargetIndex, lock_timeout_ms: i32) -> Result<SliceOutcome> {
    let target = sides::target(p)?;
    if let Some(sql) = index::attach(target, i) {
        lock_target(p, lock_timeout_ms)?;
        let _code = application_path::switch();
        spi::run(&sql, &[])?;
    }
    Ok(SliceOutcome::Did(0))
}

fn count_blocks(p: &Mapping) -> Result<i64> {
    Ok(catalog::extent(sides::target_oid(p)?.to_u32())?.map_or(0, |e| e.blocks))
}

fn build_here(
    m: &Migration,
    p: &Mapping,
    i: &TargetIndex,
    lock_timeout_ms: i32,
) -> Result<SliceOutcome> {
    let target = sides::target(p)?;
    let blocks = count_blocks(p)?;
    if blocks > SMALL_BLOCKS {
        return Err(Error::not_supported(
            format!(
                "building index {} of {} inside a transaction",
                i.name.as_str(),
                target.plain()
            ),
            format!("The target has {blocks} blocks; writers would wait for the whole build."),
            format!(
                "Run it by hand and go on: {}; or let the worker do it: SELECT mig_backfill({});",
                index::create(target, i, true),
                crate::ident::Literal(&m.name)
            ),
        ));
    }
    lock_target(p, lock_timeout_ms)?;
    let _builder = role::confine(super::builder(i, sides::owner(p)?))?;
    top_level::build_index(&index::create(target, i, false))?;
    if let Some(sql) = index::attach(target, i) {
        spi::run(&sql, &[])?;
    }
    Ok(SliceOutcome::Did(0))
}
