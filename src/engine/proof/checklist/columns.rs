//! The checklist of a migration that changes columns.

use crate::engine::columns::{self, proof};
use crate::engine::proof::checklist::{ChecklistItem, items_before_all, new_item, person};
use crate::engine::types::CheckArguments;
use crate::error::Result;
use crate::model::column_change::ColumnChange;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::preflight::Severity;
use crate::steps::verify::{CheckLine, CheckMode};

pub fn items(m: &Migration, all: &[ColumnChange]) -> Result<Vec<ChecklistItem>> {
    let mut items = items_before_all();
    let errors: Vec<String> = columns::findings(m, all)?
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| format!("{}: {}", f.check_name, f.detail))
        .collect();
    items.push(new_item(
        "defined",
        "nothing stands in the way, and every row converts",
        Some(errors.is_empty()),
        errors.join("; "),
    ));
    let lines = if m.phase >= Phase::DualWrite {
        let wanted = CheckArguments {
            migration: Some(&m.name),
            mode: "full",
            relation: None,
            sample: 10,
        };
        proof::check(m, all, &wanted, CheckMode::Full)?
    } else {
        Vec::new()
    };
    let told: Vec<String> = all.iter().map(ColumnChange::describe).collect();
    items.push(new_item(
        "created",
        "the new columns stand",
        Some(m.phase >= Phase::Created),
        told.join("; "),
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
    items.push(person(
        "switched",
        "the new version of the application reads and writes the new columns",
    ));
    items.push(person(
        "stopped",
        "no old version of the application is left",
    ));
    items.push(person("archived", "nobody asks for the old columns"));
    for item in &mut items {
        if Phase::parse(item.phase).is_some_and(|p| m.phase < p) {
            item.ok = None;
            item.detail = format!("not reached: the migration is in phase {}", m.phase);
        }
    }
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
    new_item(
        phase,
        item,
        Some(!mine.is_empty() && bad.is_empty()),
        bad.join("; "),
    )
}
