//! Obstacles to several sources sharing a target that pg_mig creates: different rights, and keys that two of them have.

use super::PreflightFinding;
use crate::error::Result;
use crate::ident::{Literal, QualifiedName};
use crate::model::layout::Layout;
use crate::model::records::Mapping;
use crate::model::shape::{Grant, Publication, Shape};
use crate::pg::{role, spi};
use crate::preflight::Severity;
use crate::store::sessions::{self, OlderSessions};
use crate::store::sides;

/// One source of a target.
pub struct CombinedSource<'a> {
    pub mapping: &'a Mapping,
    pub shape: &'a Shape,
    pub layout: &'a Layout,
}

/// Returns the findings for one target; `stands` if it existed before.
pub fn findings(sources: &[CombinedSource], stands: bool) -> Result<Vec<PreflightFinding>> {
    let Some((first, others)) = sources.split_first() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    if !others.is_empty() {
        found.extend(old_sessions(first.mapping)?);
    }
    for other in others.iter().filter(|_| !stands) {
        found.extend(rights(first, other));
    }
    for source in sources.iter().filter(|_| !stands) {
        found.extend(published_alone(source, sources));
    }
    for (n, one) in sources.iter().enumerate() {
        for other in &sources[..n] {
            found.extend(same_ids(one, other)?);
        }
    }
    Ok(found)
}

/// Checks for different rights: a role that may read one source would read the rows of the other in the target.
fn rights(first: &CombinedSource, other: &CombinedSource) -> Option<PreflightFinding> {
    let (a, b) = (first.shape, other.shape);
    let whole = |shape: &Shape| -> Vec<(String, String, bool)> {
        let grants = shape.grants.iter().filter(|g| g.column.is_none());
        let one = |g: &Grant| (g.grantee.clone(), g.privilege.clone(), g.grantable);
        let mut all: Vec<_> = grants.map(one).collect();
        all.sort();
        all
    };
    let differs = if a.owner != b.owner {
        "owners"
    } else if (a.rls, a.force_rls) != (b.rls, b.force_rls) {
        "row-level security settings"
    } else if whole(a) != whole(b) {
        "grants"
    } else if other.layout.merge.is_some() && !(a.policies.is_empty() && b.policies.is_empty()) {
        "policies, which speak of their own columns,"
    } else {
        return None;
    };
    let target = &first.mapping.target_name;
    Some(PreflightFinding {
        severity: Severity::Error,
        check_name: "different rights".into(),
        relation: Some(other.mapping.source),
        detail: format!(
            "{} and {} have different {differs}, and their rows would be in one table, {}.",
            a.name.plain(),
            b.name.plain(),
            target.plain()
        ),
        hint: Some(format!(
            "Make them alike, or make {} yourself with the rights that you want (SELECT mig_ddl(...) shows its columns): an existing table is adopted.",
            target.plain()
        )),
    })
}

/// Finds publications of one source that another source is not in.
fn published_alone(source: &CombinedSource, all: &[CombinedSource]) -> Vec<PreflightFinding> {
    let target = &source.mapping.target_name;
    let lacks = |s: &&CombinedSource, b: &Publication| {
        let mut theirs = s.shape.publications.iter();
        !theirs.any(|x| x.name == b.name)
    };
    let finding = |b: &Publication| {
        let other = all.iter().find(|s| lacks(s, b))?;
        let rows = source.layout.kind.as_ref().map_or_else(String::new, |k| {
            format!(" WHERE ({} = {})", k.column, Literal(&k.value))
        });
        Some(PreflightFinding {
            severity: Severity::Warning,
            check_name: "publication".into(),
            relation: Some(source.mapping.source),
            detail: format!(
                "Publication \"{}\" publishes {} and not {}, whose rows will be in the same target: the target is not added to it.",
                b.name.as_str(),
                source.shape.name.plain(),
                other.shape.name.plain()
            ),
            hint: Some(format!(
                "After mig_create: ALTER PUBLICATION {} ADD TABLE {target}{rows};",
                b.name
            )),
        })
    };
    source
        .shape
        .publications
        .iter()
        .filter_map(finding)
        .collect()
}

/// Checks for sessions with an older library, which knows one source per target: a session keeps the library that it has
/// loaded.
fn old_sessions(first: &Mapping) -> Result<Option<PreflightFinding>> {
    let older = sessions::older_than("0.7.0")?;
    let (severity, which) = match older {
        OlderSessions { maybe: 0, .. } => return Ok(None),
        OlderSessions { known: 0, .. } => (
            Severity::Warning,
            "Sessions of other roles, whose beginning the caller may not see,",
        ),
        OlderSessions { .. } => (
            Severity::Error,
            "Sessions that began before ALTER EXTENSION pg_mig UPDATE",
        ),
    };
    Ok(Some(PreflightFinding {
        severity,
        check_name: "old sessions".into(),
        relation: Some(first.source),
        detail: format!("{which} may still run an earlier version, which takes every new table for one old table's."),
        hint: Some("Let them connect again; they are: SELECT pid, usename, application_name FROM pg_stat_activity WHERE datname = current_database() AND backend_start < (SELECT at FROM mig.updated WHERE version = '0.7.0');".into()),
    }))
}

/// Checks for rows of two sources with the same id: both cannot keep it.
fn same_ids(one: &CombinedSource, other: &CombinedSource) -> Result<Option<PreflightFinding>> {
    let apart = |s: &CombinedSource| {
        let key: Vec<_> = s.layout.key.iter().map(|k| &k.target).collect();
        let kind = s.layout.kind.as_ref().map(|k| &k.column);
        s.layout.drawn.is_some()
            || kind.is_none_or(|k| s.layout.primary_key.contains(k))
            || key.is_empty()
    };
    if apart(one) || apart(other) {
        return Ok(None);
    }
    let (a, b): (&QualifiedName, &QualifiedName) =
        (sides::source(one.mapping)?, sides::source(other.mapping)?);
    let pairs = one.layout.key.iter().zip(&other.layout.key);
    let same: Vec<String> = pairs
        .map(|(k, o)| {
            k.equals
                .infix(&format!("a.{}", k.source), &format!("b.{}", o.source))
        })
        .collect();
    let keys: Vec<String> = one
        .layout
        .key
        .iter()
        .map(|k| format!("a.{}", k.source))
        .collect();
    let sql = format!(
        "SELECT pg_catalog.concat_ws(', ', {}) AS key FROM {a} AS a JOIN {b} AS b ON {} ORDER BY 1 LIMIT 3",
        keys.join(", "),
        same.join(" AND ")
    );
    #[derive(serde::Deserialize)]
    struct SharedKey {
        key: String,
    }
    let examples: Vec<SharedKey> = {
        let _owner = role::confine_reading(sides::owner(one.mapping)?)?;
        spi::rows(&sql, &[])?
    };
    if examples.is_empty() {
        return Ok(None);
    }
    let examples: Vec<String> = examples.into_iter().map(|e| e.key).collect();
    Ok(Some(PreflightFinding {
        severity: Severity::Error,
        check_name: "same ids".into(),
        relation: Some(one.mapping.source),
        detail: format!(
            "{} and {} have rows with the same key: {}. Both cannot keep it in {}.",
            other.mapping.source_text(),
            one.mapping.source_text(),
            examples.join("; "),
            one.mapping.target_name.plain()
        ),
        hint: Some("Give the rows of one of them new ids: id_mode => 'remap'.".into()),
    }))
}
