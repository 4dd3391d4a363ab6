//! Tables that stay, and that new tables refer to as the old ones do: what TRUNCATE needs, and what a key does to both copies.

use super::{PreflightFinding, Severity, new_finding};
use crate::model::layout::{Layout, TargetKey};
use crate::model::records::Mapping;
use crate::model::shape::Shape;

/// PostgreSQL truncates a table only together with all tables that refer to it (heap_truncate_check_FKs), so a statement that names the old
/// tables is refused once a new table has its foreign key. Returns the findings for the tables outside `members` that the target refers to.
pub fn findings(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    members: &[&Mapping],
) -> Vec<PreflightFinding> {
    let targets: Vec<_> = members.iter().map(|m| &m.target_name).collect();
    let keys = layout.outside_keys(&targets);
    let acts = |k: &&&TargetKey| {
        [&k.on_delete, &k.on_update]
            .iter()
            .any(|code| matches!(code.as_str(), "c" | "n" | "d"))
    };
    let has_triggers = !source.triggers.is_empty();
    let acting = keys.iter().filter(acts).filter(|_| has_triggers);
    let twice: Vec<_> = acting.map(|k| fires_twice(p, k)).collect();
    let mut kept: Vec<_> = keys.iter().map(|k| &k.references).collect();
    kept.dedup();
    let needed = kept.into_iter().map(|kept| {
        let target = &p.target_name;
        new_finding(
            p,
            Severity::Info,
            "truncate",
            format!(
                "From the end of the backfill on, TRUNCATE of {kept} needs {target} in the same statement, because {target} refers to it, too."
            ),
            format!("Where the application truncates {kept}, name {target} as well, or say CASCADE."),
        )
    });
    needed.chain(twice).collect()
}

/// Each key acts by itself, so rows of both copies are written when their parent stays.
fn fires_twice(p: &Mapping, key: &TargetKey) -> PreflightFinding {
    new_finding(
        p,
        Severity::Warning,
        "triggers",
        format!(
            "From the end of the backfill to mig_stop, what foreign key {} does to rows of {} when a row of {} is deleted or changed it does to both copies, and triggers of both fire.",
            key.name, p.target_name, key.references
        ),
        "Where such a trigger must fire once, let it look whether it has been there, or have these rows deleted before their parent.".into(),
    )
}
