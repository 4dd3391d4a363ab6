//! The checklist of a migration, phase by phase: what the database can answer is looked up now, what only a person can
//! answer is listed as open.

use crate::engine::kind;
use crate::engine::types::ChecklistItem;
use crate::error::Result;
use crate::model::phase::Phase;

pub fn checklist(name: Option<&str>) -> Result<Vec<ChecklistItem>> {
    let work = kind::find(name)?;
    let m = work.migration();
    let mut items = items_before_all();
    items.extend(work.checklist()?);
    for item in &mut items {
        if Phase::parse(item.phase).is_some_and(|p| m.phase < p) {
            item.ok = None;
            item.detail = format!("not reached: the migration is in phase {}", m.phase);
        }
    }
    Ok(items)
}

fn items_before_all() -> Vec<ChecklistItem> {
    let items = [
        "a backup was taken, and restored once to see that it works",
        "the whole way was rehearsed on a copy, and back",
        "the team knows what comes, and who decides to go back",
    ];
    items
        .map(|i| ChecklistItem::for_person("defined", i))
        .into()
}
