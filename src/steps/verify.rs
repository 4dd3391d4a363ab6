//! Are both sides equal? Each table's rows are read on both sides in one snapshot, so that under live writes
//! the right answer is no difference at all.

use crate::error::{Error, Result};
use crate::model::phase::Phase;
use crate::model::state::{Mapping, Migration};
use crate::pg::{role, spi};
use crate::sqlgen::{digest, flow};
use crate::store::{check, drift, mapping, rows};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::Oid;
use serde_json::json;

/// One line of `mig_check`.
#[derive(Clone, Debug)]
pub struct Line {
    pub source: Option<Oid>,
    pub target: Option<Oid>,
    pub name: &'static str,
    pub source_value: Option<String>,
    pub target_value: Option<String>,
    /// None: not an error, but not proven either (rows that are not copied yet).
    pub ok: Option<bool>,
}

/// What a check found, and when it began.
pub struct Findings {
    pub lines: Vec<Line>,
    /// None: nothing is wrong, and something is not proven yet.
    pub ok: Option<bool>,
    compared: i64,
    differences: i64,
    full: bool,
    tables: usize,
    started: Option<TimestampWithTimeZone>,
}

/// Runs a check, keeps the result in `mig.check_result` and returns its lines.
pub fn run(m: &Migration, mappings: &[Mapping], full: bool) -> Result<Vec<Line>> {
    let found = look(m, mappings, full)?;
    keep(m, &found)?;
    Ok(found.lines)
}

pub fn look(m: &Migration, mappings: &[Mapping], full: bool) -> Result<Findings> {
    let started = check::now()?;
    let mut lines = Vec::new();
    let (mut compared, mut differences) = (0, 0);
    for p in mappings {
        lines.extend(state_lines(m, p)?);
        if full {
            let found = compare(m, p)?;
            compared += found.rows;
            differences += found.differences;
            lines.extend(found.lines);
        } else {
            lines.push(count_line(m, p)?);
        }
    }
    let ok = if lines.iter().any(|l| l.ok == Some(false)) {
        Some(false)
    } else if lines.iter().any(|l| l.ok.is_none()) {
        None
    } else {
        Some(true)
    };
    Ok(Findings {
        lines,
        ok,
        compared,
        differences,
        full,
        tables: mappings.len(),
        started,
    })
}

pub fn keep(m: &Migration, found: &Findings) -> Result<()> {
    let failed = found.lines.iter().filter(|l| l.ok == Some(false));
    let failed = failed.map(|l| {
        json!({
            "check": l.name, "source_value": l.source_value, "target_value": l.target_value,
            "source": l.source.map(|o| o.to_u32()),
        })
    });
    check::insert(
        m.id,
        if found.full { "full" } else { "quick" },
        m.phase.as_str(),
        found.started,
        check::Outcome {
            ok: found.ok,
            tables: i32::try_from(found.tables).unwrap_or(i32::MAX),
            compared: found.compared,
            differences: found.differences,
            failed: failed.collect(),
        },
    )
}

fn line(
    p: &Mapping,
    name: &'static str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Line {
    let (expected, found) = (expected.into(), found.into());
    Line {
        source: Some(Oid::from(p.source)),
        target: p.target.map(Oid::from),
        name,
        ok: Some(expected == found),
        source_value: Some(expected),
        target_value: Some(found),
    }
}

/// What holds beside the rows: mirrors, shape, nothing left over, indexes and keys valid.
fn state_lines(m: &Migration, p: &Mapping) -> Result<Vec<Line>> {
    mapping::source(p)?;
    mapping::target(p)?;
    let open = rows::open(m.id, Some(p.id))?;
    let changed = |kinds: &[&str], fine: &str| {
        drift::found(p, kinds).map(|what| what.unwrap_or_else(|| fine.to_owned()))
    };
    let mut lines = vec![
        line(
            p,
            "mirror triggers",
            "enabled always",
            changed(&["mirror"], "enabled always")?,
        ),
        line(
            p,
            "shape",
            "as created",
            changed(&["gone", "shape"], "as created")?,
        ),
        line(p, "errors", "0", open.errors.to_string()),
    ];
    if m.phase >= Phase::Backfilled {
        lines.push(line(p, "leftovers", "0", open.leftovers.to_string()));
        lines.push(line(p, "invalid indexes", "0", count(INVALID_INDEXES, p)?));
        lines.push(line(
            p,
            "foreign keys not validated",
            "0",
            count(UNVALIDATED_KEYS, p)?,
        ));
    }
    Ok(lines)
}

const INVALID_INDEXES: &str =
    "SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid = $1 AND NOT indisvalid";
const UNVALIDATED_KEYS: &str = "SELECT count(*) FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND contype = 'f' AND NOT convalidated";

fn count(sql: &str, p: &Mapping) -> Result<String> {
    let target = Oid::from(p.target.unwrap_or(0));
    Ok(spi::value::<i64>(sql, &[target.into()])?
        .unwrap_or(0)
        .to_string())
}

/// Row counts of both sides, in one statement.
fn count_line(m: &Migration, p: &Mapping) -> Result<Line> {
    #[derive(serde::Deserialize)]
    struct Counts {
        source: i64,
        target: i64,
    }
    let layout = mapping::layout(p)?;
    let own = flow::scope_is_mine("t", layout).map_or(String::new(), |s| format!(" WHERE {s}"));
    let sql = format!(
        "SELECT (SELECT count(*) FROM {}) AS source, (SELECT count(*) FROM {} AS t{own}) AS target",
        crate::sqlgen::view::name(p.id),
        mapping::target(p)?,
    );
    let _owner = role::act_as(mapping::owner(p)?);
    let counts: Counts =
        spi::first(&sql, &[])?.ok_or_else(|| Error::Internal("no counts".into()))?;
    let mut found = line(
        p,
        "rows",
        counts.source.to_string(),
        counts.target.to_string(),
    );
    if m.phase == Phase::DualWrite && counts.target < counts.source {
        found.ok = None;
    }
    Ok(found)
}

struct Compared {
    rows: i64,
    differences: i64,
    lines: Vec<Line>,
}

#[derive(serde::Deserialize)]
struct Bucket {
    bucket: i32,
    source_rows: i64,
    target_rows: i64,
    same: bool,
}

#[derive(serde::Deserialize)]
struct Difference {
    kind: String,
}

/// Every row of both sides by hash; buckets that differ are opened to say how.
fn compare(m: &Migration, p: &Mapping) -> Result<Compared> {
    let (layout, target) = (mapping::layout(p)?, mapping::target(p)?);
    let _owner = role::act_as(mapping::owner(p)?);
    let buckets: Vec<Bucket> = spi::rows(&digest::buckets(p.id, target, layout), &[])?;
    let unequal: Vec<i32> = buckets
        .iter()
        .filter(|b| !b.same)
        .map(|b| b.bucket)
        .collect();
    let found: Vec<Difference> = if unequal.is_empty() {
        Vec::new()
    } else {
        spi::rows(
            &digest::differences(p.id, target, layout),
            &[unequal.into()],
        )?
    };
    let sum = |f: fn(&Bucket) -> i64| buckets.iter().map(f).sum::<i64>();
    let (source_rows, target_rows) = (sum(|b| b.source_rows), sum(|b| b.target_rows));
    let of = |kind: &str| {
        i64::try_from(found.iter().filter(|d| d.kind == kind).count()).unwrap_or(i64::MAX)
    };
    let (missing, extra, different) = (of("missing"), of("extra"), of("different"));
    // Before the backfill is through, a missing row is one that is not copied yet.
    let pending = m.phase == Phase::DualWrite;
    let mut rows = line(p, "rows", source_rows.to_string(), target_rows.to_string());
    let mut missing_line = line(
        p,
        if pending {
            "rows pending"
        } else {
            "rows missing"
        },
        "0",
        missing.to_string(),
    );
    if pending && missing > 0 {
        rows.ok = None;
        missing_line.ok = None;
    }
    // The buckets and the rows were read one after the other: what counts is the latter.
    if found.is_empty() {
        rows.ok = Some(true);
    }
    let lines = vec![
        rows,
        missing_line,
        line(p, "rows extra", "0", extra.to_string()),
        line(p, "rows different", "0", different.to_string()),
    ];
    Ok(Compared {
        rows: source_rows,
        differences: if pending {
            extra + different
        } else {
            missing + extra + different
        },
        lines,
    })
}
