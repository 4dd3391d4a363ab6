//! TRUNCATE of a table that stays, together with one that moves.

use super::{PreflightFinding, Severity};
use crate::model::layout::{Layout, TargetKey};
use crate::model::records::Mapping;

/// PostgreSQL truncates a table only together with all tables that refer to it (heap_truncate_check_FKs), so a statement that names the old
/// tables is refused once a new table has its foreign key. Returns a finding for each table outside `members` that the target refers to.
pub fn findings(p: &Mapping, layout: &Layout, members: &[&Mapping]) -> Vec<PreflightFinding> {
    let moves = |k: &&TargetKey| members.iter().any(|m| m.target_name == k.references);
    let is_scope = |k: &&TargetKey| {
        let scope = layout.scope.as_ref();
        scope.is_some_and(|s| k.columns == [s.column.clone()])
    };
    let mut kept: Vec<_> = layout
        .fkeys
        .iter()
        .filter(|k| !moves(k) && !is_scope(k))
        .map(|k| &k.references)
        .collect();
    kept.dedup();
    let one = |kept| {
        let target = &p.target_name;
        PreflightFinding {
            severity: Severity::Info,
            check_name: "truncate".into(),
            relation: Some(p.source),
            detail: format!(
                "From the end of the backfill on, TRUNCATE of {kept} needs {target} in the same statement, because {target} refers to it, too."
            ),
            hint: Some(format!(
                "Where the application truncates {kept}, name {target} as well, or say CASCADE."
            )),
        }
    };
    kept.into_iter().map(one).collect()
}
