//! Preflight: obstacles, found before anything is changed. Findings from the catalog come from one query
//! (`sql/query/preflight.sql`); those that read rows are built here.

pub mod code_path;
pub mod columns;
pub mod combined;
pub mod disabled_keys;
pub mod exclusions;
pub mod kinds;
pub mod not_carried;
pub mod outside_parents;
pub mod rows;
pub mod standing_keys;
pub mod triggers;
pub mod unfit_rows;

use crate::error::Result;
use crate::ident::{Ident, list};
use crate::model::layout::indexes::MOST_COLUMNS;
use crate::model::layout::reverse::{NotReversible, way_back};
use crate::model::layout::{Layout, Scope};
use crate::model::records::Mapping;
use crate::model::shape::{Publication, Shape};
use crate::model::text_enum::text_enum;
use crate::pg::{self, role, spi};
use crate::sqlgen::comments_stats;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

text_enum! {
    pub enum Severity {
        /// Stops `mig_create` and `mig_dual_write`.
        Error = "error",
        Warning = "warning",
        Info = "info",
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct PreflightFinding {
    pub severity: Severity,
    pub check_name: String,
    pub relation: Option<u32>,
    pub detail: String,
    pub hint: Option<String>,
}

/// Returns the findings from the catalog and the server's state, for all sources.
/// Returns a finding about the source of a mapping.
fn new_finding(
    p: &Mapping,
    severity: Severity,
    check_name: &str,
    detail: String,
    hint: String,
) -> PreflightFinding {
    PreflightFinding {
        severity,
        check_name: check_name.into(),
        relation: Some(p.source),
        detail,
        hint: Some(hint),
    }
}

pub fn catalog(mappings: &[Mapping], scope_table: Option<u32>) -> Result<Vec<PreflightFinding>> {
    let sources: Vec<Oid> = mappings.iter().map(|p| Oid::from(p.source)).collect();
    let schemas: Vec<String> = mappings
        .iter()
        .map(|p| p.target_name.schema.as_str().to_owned())
        .collect();
    let targets: Vec<String> = mappings.iter().map(|p| p.target_name.to_string()).collect();
    spi::rows(
        include_str!("../sql/query/preflight.sql"),
        &[
            sources.into(),
            schemas.into(),
            targets.into(),
            scope_table.map(Oid::from).into(),
        ],
    )
}

/// Finds what follows the table's oid into the archive, and is no view, key or policy: functions with a SQL body, columns and functions of its row
/// type, and all else that pg_depend knows.
pub fn check_dependents(mappings: &[Mapping]) -> Result<Vec<PreflightFinding>> {
    let found = pg::catalog::outside_dependents(mappings.iter().map(|p| p.source))?;
    let others = found
        .into_iter()
        .filter(|d| d.kind == pg::catalog::DependentKind::Other);
    Ok(others
        .map(|d| PreflightFinding {
            severity: Severity::Warning,
            check_name: d.kind.to_string(),
            relation: Some(d.relation),
            detail: format!("{}, and goes on with the old table, under whatever name that has.", d.what),
            hint: Some(
                "Make it for the new table when reads move; mig_archive refuses as long as it uses the old one, unless force is true.".into(),
            ),
        })
        .collect())
}

/// Finds rows that could collide: rows that swap the values of a deferrable primary key collide in a unique key that only
/// the target has. For the source's own keys see `preflight.sql`.
pub fn check_key_swaps(p: &Mapping, layout: &Layout) -> Vec<PreflightFinding> {
    if !layout.key_deferrable || p.spec.unique_keys.is_empty() {
        return Vec::new();
    }
    vec![PreflightFinding {
        severity: Severity::Error,
        check_name: "deferrable key".into(),
        relation: Some(p.source),
        detail: "The primary key is deferrable, so rows may swap their keys; their values of the new unique keys would collide in the target on the way.".into(),
        hint: Some("Make the primary key not deferrable, or leave unique_keys out.".into()),
    }]
}

/// Finds keys and indexes for which the scope's column is one too many.
pub fn check_width(p: &Mapping, layout: &Layout) -> Vec<PreflightFinding> {
    let finding = |severity, what: String, detail: &str| {
        PreflightFinding {
        severity,
        check_name: "too many columns".into(),
        relation: Some(p.source),
        detail: format!("{what} {detail}"),
        hint: (severity == Severity::Error)
            .then(|| "Leave columns out of it, with target_key or unique_keys, or move the table without a scope.".into()),
    }
    };
    let refused = format!("would have more than {MOST_COLUMNS} columns, the scope's included.");
    let keys = [Some(&layout.primary_key), layout.scoped_key.as_ref()];
    let fkeys = layout.fkeys.iter().map(|k| &k.columns);
    let wide = |k: &&Vec<Ident>| k.len() > MOST_COLUMNS;
    let mut found: Vec<PreflightFinding> = keys
        .into_iter()
        .flatten()
        .chain(fkeys)
        .filter(wide)
        .map(|k| {
            finding(
                Severity::Error,
                format!("The target's key ({})", list(k)),
                &refused,
            )
        })
        .collect();
    for i in &layout.indexes {
        let width = i.columns.len() + i.include.len();
        let is_scoped = |s: &Scope| i.columns[0].name.as_ref() == Some(&s.column);
        if width > MOST_COLUMNS {
            found.push(finding(
                Severity::Error,
                format!("Index {}", i.name),
                &refused,
            ));
        } else if width == MOST_COLUMNS && layout.scope.as_ref().is_some_and(|s| !is_scoped(s)) {
            let detail = match i.unique {
                true => {
                    "has no room for the scope's column: it holds for the rows of this scope only."
                }
                false => "has no room for the scope's column, and is made without it.",
            };
            found.push(finding(
                Severity::Warning,
                format!("Index {}", i.name),
                detail,
            ));
        }
    }
    found
}

/// Finds columns whose default is an old id.
pub fn left_defaults(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<PreflightFinding> {
    let drawn = layout.drawn.as_ref().map(|d| &d.source);
    let named = layout.mapped_columns().filter(|v| Some(&v.column) != drawn);
    let finding = |column: &Ident| {
        let default = source.column(column)?.default.as_ref()?;
        Some(PreflightFinding {
            severity: Severity::Warning,
            check_name: "default is an id".into(),
            relation: Some(p.source),
            detail: format!(
                "Column \"{}\" has the default {default}, an id that is another one in the target: the target's column has none.",
                column.as_str()
            ),
            hint: Some(format!(
                "After the backfill: ALTER TABLE {} ALTER COLUMN ... SET DEFAULT ...; with the new id.",
                p.target_name
            )),
        })
    };
    named.filter_map(|v| finding(&v.column)).collect()
}

/// Finds id maps of other owners that the mapping's rows refer to. Its owner writes there, where triggers and defaults are the map's
/// owner's code: the map's owner has to have the rights of the mapping's. `source_of` returns the source of a mapping.
pub fn maps_of_others<'a>(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    source_of: impl Fn(i32) -> Option<&'a Shape>,
) -> Vec<PreflightFinding> {
    let referred = layout
        .mapped_columns()
        .filter_map(|v| source_of(v.map.mapping));
    let others = referred.filter(|o| !role::has_privileges_of(o.owner.into(), source.owner.into()));
    let finding = |other: &Shape| PreflightFinding {
        severity: Severity::Error,
        check_name: "different owners".into(),
        relation: Some(p.source),
        detail: format!(
            "Rows of {} refer to new ids of {}, which belongs to role {}. A write of such a row may add to the list of these ids, and code of that role would run there as {}.",
            source.name.plain(),
            other.name.plain(),
            other.owner_name,
            source.owner_name
        ),
        hint: Some(format!(
            "Give both tables one owner: ALTER TABLE {} OWNER TO {};",
            other.name, source.owner_name
        )),
    };
    others.map(finding).collect()
}

/// Finds reasons why writes of the target could not go back to the source once reads have moved.
pub fn one_way(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<PreflightFinding> {
    let finding = |s: NotReversible| PreflightFinding {
        severity: Severity::Warning,
        check_name: "no way back".into(),
        relation: Some(p.source),
        detail: s.reason,
        hint: Some(s.hint),
    };
    let stuck = way_back(source, &p.spec, layout).err().unwrap_or_default();
    stuck.into_iter().map(finding).collect()
}

/// Finds publications that the target is not added to.
pub fn check_publications(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<PreflightFinding> {
    let finding = |b: &Publication| {
        let name = b.name.as_str();
        let statement = comments_stats::publication(b, &p.target_name, layout);
        let detail = match (&statement, b.mine) {
            (Some(_), true) => return None,
            (Some(_), false) => format!(
                "Publication \"{name}\" belongs to another role: the target is not added to it."
            ),
            (None, _) => format!(
                "Publication \"{name}\" names columns that the target does not have, or has under other names: the target is not added to it."
            ),
        };
        Some(PreflightFinding {
            severity: Severity::Warning,
            check_name: "publication".into(),
            relation: Some(p.source),
            detail,
            hint: Some(statement.map_or_else(
                || format!("ALTER PUBLICATION {} ADD TABLE {} with columns and filter of your own, after mig_create.", b.name, p.target_name),
                |sql| format!("After mig_create, as its owner: {sql};"),
            )),
        })
    };
    source.publications.iter().filter_map(finding).collect()
}

/// Finds expressions whose value may depend on the session or the time: both sides would then differ.
pub fn mutable(p: &Mapping) -> Vec<PreflightFinding> {
    let finding = |name: &String| PreflightFinding {
        severity: Severity::Warning,
        check_name: "expression not immutable".into(),
        relation: Some(p.source),
        detail: format!(
            "The expression for \"{name}\" may depend on the session's settings or on the time."
        ),
        hint: Some("Fix what it depends on, for example: created_at AT TIME ZONE 'UTC'.".into()),
    };
    p.spec.mutable.iter().map(finding).collect()
}
