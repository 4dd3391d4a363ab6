//! Kinds of relations that a migration cannot have as a side, or refer to: what writes them is not the server's own heap, or their rows are
//! not theirs alone.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::records::{Mapping, Migration};
use crate::model::text_enum::text_enum;
use crate::pg::{catalog, spi};
use crate::preflight::{PreflightFinding, Severity};
use pgrx::pg_sys::Oid;

text_enum! {
    pub enum UnfitKind {
        Partitioned = "partitioned",
        Foreign = "foreign",
        View = "view",
        Other = "other",
        AccessMethod = "access method",
        /// It has inheritance children.
        Parent = "parent",
        /// An extension writes it elsewhere, or in more places.
        Managed = "managed",
    }
}

/// A relation of such a kind, and what the migration wants of it.
#[derive(serde::Deserialize)]
pub struct UnfitRelation {
    relation: u32,
    name: QualifiedName,
    kind: UnfitKind,
    what: String,
    role: String,
}

impl UnfitRelation {
    fn hint(&self) -> String {
        let name = &self.name;
        let later = "in phase \"stopped\" or \"archived\"";
        match self.kind {
            UnfitKind::Managed => format!(
                "Finish the migration with local tables, and distribute them {later}. Where {} is distributed already, make it local until then (undistribute_table).",
                name.plain()
            ),
            UnfitKind::AccessMethod => {
                format!("ALTER TABLE {name} SET ACCESS METHOD heap; and back {later}.")
            }
            UnfitKind::Parent => format!("ALTER TABLE ... NO INHERIT {name};"),
            _ if self.role == "target" => {
                "Give another name for the target, or rename what has this one.".into()
            }
            _ => "Give an ordinary table.".into(),
        }
    }

    fn to_finding(&self) -> PreflightFinding {
        PreflightFinding {
            severity: Severity::Error,
            check_name: "kind of table".into(),
            relation: Some(self.relation),
            detail: format!(
                "{} is {}, which is not supported as a {}.",
                self.name.plain(),
                self.what,
                self.role
            ),
            hint: Some(self.hint()),
        }
    }
}

/// Returns the relations of the migration that are of an unfit kind: its sources, the standing targets, and what keys of the targets will
/// refer to. Foreign keys may refer to partitioned tables and to tables with children.
pub fn list(m: &Migration, mappings: &[Mapping]) -> Result<Vec<UnfitRelation>> {
    let sources: Vec<Oid> = mappings.iter().map(|p| Oid::from(p.source)).collect();
    let mut targets = Vec::new();
    for p in mappings {
        targets.extend(match p.target {
            Some(made) => Some(Oid::from(made)),
            None => catalog::find(&p.target_name)?,
        });
    }
    let scope: Vec<Oid> = m.scope_table.map(Oid::from).into_iter().collect();
    spi::rows(
        &format!(
            "SELECT DISTINCT k.relation::bigint AS relation, pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS name, k.kind, k.what, r.role \
             FROM ({}) k JOIN pg_catalog.pg_class c ON c.oid = k.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN (SELECT pg_catalog.unnest($1) AS relation, 'source' AS role UNION SELECT pg_catalog.unnest($2), 'target' \
             UNION SELECT pg_catalog.unnest($3), 'scope table' \
             UNION SELECT o.confrelid, 'table that a foreign key refers to' FROM pg_catalog.pg_constraint o \
               WHERE o.conrelid = ANY ($1) AND o.contype = 'f' AND o.confrelid <> ALL ($1)) r ON r.relation = k.relation \
             WHERE r.role IN ('source', 'target') OR k.kind NOT IN ('partitioned', 'parent') ORDER BY r.role, 1",
            include_str!("../../sql/query/relation_kinds.sql")
        ),
        &[sources.into(), targets.into(), scope.into()],
    )
}

/// As `list`, for tables whose columns change.
pub fn list_for_columns(tables: impl Iterator<Item = u32>) -> Result<Vec<UnfitRelation>> {
    let tables: Vec<Oid> = tables.map(Oid::from).collect();
    spi::rows(
        &format!(
            "SELECT k.relation::bigint AS relation, pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS name, k.kind, k.what, \
             'table whose columns change' AS role FROM ({}) k JOIN pg_catalog.pg_class c ON c.oid = k.relation \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.relation = ANY ($1) ORDER BY 1",
            include_str!("../../sql/query/relation_kinds.sql")
        ),
        &[tables.into()],
    )
}

pub fn findings(found: &[UnfitRelation]) -> Vec<PreflightFinding> {
    found.iter().map(UnfitRelation::to_finding).collect()
}

/// Errors: 0A000 with the first of `found`.
pub fn require_none(found: &[UnfitRelation]) -> Result<()> {
    let Some(first) = found.first() else {
        return Ok(());
    };
    Err(Error::not_supported(
        format!("{} as a {}", first.name.plain(), first.role),
        format!("It is {}.", first.what),
        first.hint(),
    ))
}
