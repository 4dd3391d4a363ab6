//! The checklist of a migration that moves tables.

mod phases;

use crate::engine::types::ChecklistItem;
use crate::error::Result;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::spi;
use crate::steps::verify::{self, CheckLine, CheckMode, CheckSubject};
use pgrx::pg_sys::Oid;

/// The data for every item that the database answers.
struct ChecklistFacts<'a> {
    m: &'a Migration,
    all: &'a [Mapping],
    lines: Vec<CheckLine>,
}

/// Returns the items of all phases, and those about the server.
pub(super) fn items(m: &Migration, all: &[Mapping]) -> Result<Vec<ChecklistItem>> {
    let mut lines = Vec::new();
    if m.phase > Phase::Defined {
        let subject = CheckSubject::all_tables(m, all);
        lines = verify::run_unsaved(&subject, CheckMode::Sample(10))?.lines;
        lines.extend(verify::references(&subject)?);
    }
    let facts = ChecklistFacts { m, all, lines };
    let mut items = facts.items_of_create()?;
    items.extend(facts.dual_write());
    items.extend(facts.items_of_backfill()?);
    items.extend(facts.items_of_switch());
    items.extend(facts.items_of_stop()?);
    items.extend(facts.items_of_archive()?);
    items.extend(facts.health()?);
    Ok(items)
}

impl ChecklistFacts<'_> {
    /// Returns one item from the check's lines of these names, of all tables.
    fn lines_named(&self, phase: &'static str, item: &str, names: &[&str]) -> ChecklistItem {
        let mine = self
            .lines
            .iter()
            .filter(|l| names.contains(&l.name.as_str()));
        self.item_from_lines(phase, item.to_owned(), mine.collect())
    }

    fn item_from_lines(
        &self,
        phase: &'static str,
        item: String,
        lines: Vec<&CheckLine>,
    ) -> ChecklistItem {
        let bad: Vec<&&CheckLine> = lines.iter().filter(|l| l.ok != Some(true)).collect();
        let ok = if bad.iter().any(|l| l.ok == Some(false)) {
            Some(false)
        } else {
            (bad.is_empty() && !lines.is_empty()).then_some(true)
        };
        let texts: Vec<String> = bad.iter().map(|l| self.describe_line(l)).collect();
        let detail = if texts.is_empty() {
            format!("on all {} tables", self.all.len())
        } else {
            texts.join("; ")
        };
        ChecklistItem::new(phase, item, ok, detail)
    }

    fn describe_line(&self, l: &CheckLine) -> String {
        let table = self.all.iter().find(|p| p.source == l.source);
        format!(
            "{}: {}: {} / {}",
            table.map_or_else(String::new, Mapping::source_text),
            l.name,
            l.source_value.as_deref().unwrap_or_default(),
            l.target_value.as_deref().unwrap_or_default()
        )
    }

    fn sources(&self) -> Vec<Oid> {
        self.all.iter().map(|p| Oid::from(p.source)).collect()
    }

    /// Returns the items about the server as it is now, in any phase.
    fn health(&self) -> Result<Vec<ChecklistItem>> {
        #[derive(serde::Deserialize)]
        struct HealthRow {
            item: String,
            ok: Option<bool>,
            detail: String,
        }
        let targets = self.all.iter().filter_map(|p| p.target).map(Oid::from);
        let tables: Vec<Oid> = self.sources().into_iter().chain(targets).collect();
        let rows: Vec<HealthRow> = spi::rows(
            include_str!("../../../../sql/query/health.sql"),
            &[tables.into()],
        )?;
        Ok(rows
            .into_iter()
            .map(|r| ChecklistItem::new("any", r.item, r.ok, r.detail))
            .collect())
    }
}
