//! The checklist of a migration that changes columns.

use super::proof;
use crate::engine::types::ChecklistItem;
use crate::error::Result;
use crate::model::column_change::ColumnChange;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::preflight::{PreflightFinding, Severity};
use crate::steps::verify::{CheckLine, CheckMode};

pub(super) fn items(
    m: &Migration,
    all: &[ColumnChange],
    findings: &[PreflightFinding],
) -> Result<Vec<ChecklistItem>> {
    let errors: Vec<String> = findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| format!("{}: {}", f.check_name, f.detail))
        .collect();
    let mut items = vec![ChecklistItem::new(
        "defined",
        "nothing is in the way, and every row converts",
        Some(errors.is_empty()),
        errors.join("; "),
    )];
    let lines = if m.phase >= Phase::DualWrite {
        proof::check(m, all, None, CheckMode::Full)?
    } else {
        Vec::new()
    };
    let texts: Vec<String> = all.iter().map(ColumnChange::describe).collect();
    items.push(ChecklistItem::new(
        "created",
        "the new columns exist",
        Some(m.phase >= Phase::Created),
        texts.join("; "),
    ));
    items.push(of_lines(
        "dual_write",
        "columns are kept in step by triggers that are on",
        &lines,
        &["trigger and view"],
    ));
    items.push(of_lines(
        "backfilled",
        "every row is in step",
        &lines,
        &[
            "rows pending",
            "rows out of step",
            "rows written on their own",
        ],
    ));
    items.push(of_lines(
        "backfilled",
        "the new columns have indexes, keys and checks as the old ones",
        &lines,
        &["indexes, keys and checks lacking"],
    ));
    items.push(ChecklistItem::for_person(
        "switched",
        "the new version of the application reads and writes the new columns",
    ));
    items.push(ChecklistItem::for_person(
        "stopped",
        "no old version of the application is left",
    ));
    items.push(ChecklistItem::for_person(
        "archived",
        "nobody needs the old columns",
    ));
    Ok(items)
}

fn of_lines(phase: &'static str, item: &str, lines: &[CheckLine], names: &[&str]) -> ChecklistItem {
    let mine: Vec<&CheckLine> = lines
        .iter()
        .filter(|l| names.contains(&l.name.as_str()))
        .collect();
    let bad: Vec<String> = mine
        .iter()
        .filter(|l| l.ok != Some(true))
        .map(|l| {
            format!(
                "{}: {}",
                l.name,
                l.target_value.as_deref().unwrap_or_default()
            )
        })
        .collect();
    ChecklistItem::new(
        phase,
        item,
        Some(!mine.is_empty() && bad.is_empty()),
        bad.join("; "),
    )
}
