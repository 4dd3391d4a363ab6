//! The items of each phase.

use super::ChecklistFacts;
use crate::engine::types::ChecklistItem;
use crate::error::Result;
use crate::ident::Literal;
use crate::pg::{role, spi, tx};
use crate::steps::verify::{CheckLine, LineTopic};
use crate::store::{check, migration, sides};

impl ChecklistFacts<'_> {
    pub(super) fn items_of_create(&self) -> Result<Vec<ChecklistItem>> {
        let standing = self.all.iter().filter(|p| p.target_now.is_some()).count();
        let names: Vec<String> = self.all.iter().map(|p| p.target_name.plain()).collect();
        let mut items = vec![ChecklistItem::new(
            "created",
            "all new tables exist",
            Some(standing == self.all.len()),
            format!("{standing} of {}: {}", self.all.len(), names.join(", ")),
        )];
        items.extend(self.scope_row()?);
        for (item, names) in [
            (
                "columns and keys are as created",
                ["shape", "column defaults"],
            ),
            ("indexes are there and valid", ["indexes", "indexes"]),
            (
                "constraints are there and validated",
                ["check constraints", "foreign keys"],
            ),
            (
                "row-level security and its policies are in place",
                ["row-level security", "row-level security"],
            ),
            (
                "owner and grants are in place",
                ["owner and grants", "owner and grants"],
            ),
            (
                "sequences are ahead of all rows",
                ["sequences", "sequences"],
            ),
        ] {
            items.push(self.lines_named("created", item, &names));
        }
        Ok(items)
    }

    fn scope_row(&self) -> Result<Option<ChecklistItem>> {
        let layout = self.all.iter().find_map(|p| p.layout.as_ref());
        let Some(scope) = layout.and_then(|l| l.scope.as_ref()) else {
            return Ok(None);
        };
        let Some((table, key)) = &scope.table else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {table} AS t WHERE t.{key} OPERATOR(pg_catalog.=) {}::{})",
            Literal(&scope.value),
            scope.type_text
        );
        // The role that defined the migration could read it; by now it may be hidden.
        let found = tx::probe(|| {
            let _owner = role::confine_reading(self.m.owner.into())?;
            spi::value(&sql, &[])
        });
        let (ok, detail) = match found {
            Ok(ok) => (ok, format!("{} = {}", key.as_str(), scope.value)),
            Err(e) => (None, e.to_string()),
        };
        let item = format!(
            "the row of {} that all rows belong to exists",
            table.plain()
        );
        Ok(Some(ChecklistItem::new("created", item, ok, detail)))
    }

    pub(super) fn dual_write(&self) -> Vec<ChecklistItem> {
        vec![
            self.lines_named(
                "dual_write",
                "the mirrors are installed, so every write reaches both sides",
                &["mirror triggers"],
            ),
            ChecklistItem::for_person(
                "dual_write",
                "a row written by the application in each table appears in both",
            ),
            ChecklistItem::for_person(
                "dual_write",
                "error rates of the application have not risen",
            ),
            ChecklistItem::for_person("dual_write", "transactions are about as fast as before"),
        ]
    }

    pub(super) fn items_of_backfill(&self) -> Result<Vec<ChecklistItem>> {
        const PHASE: &str = "backfilled";
        let mut items = Vec::new();
        for p in self.all.iter().filter(|p| !p.is_partner()) {
            let of = |name: &str| {
                let mine = self.lines.iter().filter(|l| l.source == p.source);
                mine.filter(|l| l.name == name).collect::<Vec<_>>()
            };
            let counts = of("rows");
            let mut item = self.item_from_lines(
                PHASE,
                format!("the count of {} matches", p.source_text()),
                counts.clone(),
            );
            if let Some(l) = counts.first() {
                let value = |v: &Option<String>| v.clone().unwrap_or_default();
                item.detail = format!("{} and {}", value(&l.source_value), value(&l.target_value));
            }
            items.push(item);
        }
        let sampled = [
            "rows in sample",
            "rows missing",
            "rows extra",
            "rows different",
        ];
        items.push(self.lines_named(
            PHASE,
            "10 random rows, with all rows that refer to them, are equal",
            &sampled,
        ));
        let orphans = self
            .lines
            .iter()
            .filter(|l| l.about == LineTopic::References);
        let orphans: Vec<&CheckLine> = orphans.collect();
        if !orphans.is_empty() {
            let n = orphans.len();
            let mut item = self.item_from_lines(PHASE, "no record is orphaned".into(), orphans);
            if item.ok == Some(true) {
                item.detail = format!("{n} references, on both sides");
            }
            items.push(item);
        }
        items.push(self.lines_named(
            PHASE,
            "no row is left over or refused",
            &["leftovers", "errors"],
        ));
        items.push(self.last_full_check()?);
        Ok(items)
    }

    fn last_full_check(&self) -> Result<ChecklistItem> {
        let item = "a full check found no difference";
        Ok(match check::last_full(self.m.id)? {
            None => ChecklistItem::new(
                "backfilled",
                item,
                None,
                format!(
                    "none was run: SELECT * FROM mig_check({});",
                    Literal(&self.m.name)
                ),
            ),
            Some(last) => ChecklistItem::new(
                "backfilled",
                item,
                last.ok.map(|ok| ok && last.differences == 0),
                format!(
                    "{} differences in {} rows, {} ago",
                    last.differences, last.compared, last.age
                ),
            ),
        })
    }

    pub(super) fn items_of_switch(&self) -> Vec<ChecklistItem> {
        let reads = self.m.phase.reads();
        let mut items = vec![
            ChecklistItem::new(
                "switched",
                "mig_reads() says new",
                Some(reads == "new"),
                reads,
            ),
            self.lines_named("switched", "counts of both sides match", &["rows"]),
        ];
        items.extend(
            [
                "dashboards and pages show what they showed before",
                "results that are computed from the rows are the same",
                "no errors for 24 hours",
                "queries are as fast as before",
                "no user has reported anything",
            ]
            .map(|i| ChecklistItem::for_person("switched", i)),
        );
        items
    }

    pub(super) fn items_of_stop(&self) -> Result<Vec<ChecklistItem>> {
        let days = migration::days_in_phase(self.m.id)?;
        let scans: Option<String> = spi::value(
            "SELECT pg_catalog.string_agg(pg_catalog.format('%s %s', s.relid::pg_catalog.regclass, s.seq_scan + coalesce(s.idx_scan, 0)), ', ' ORDER BY s.relid) \
             FROM pg_catalog.pg_stat_user_tables s WHERE s.relid = ANY ($1)",
            &[self.sources().into()],
        )?;
        let mut items = vec![self.lines_named(
            "stopped",
            "old tables refuse writes, so new rows appear in the new tables only and old counts do not change",
            &["mirror triggers"],
        )];
        let mut unused =
            ChecklistItem::for_person("stopped", "no code reads the old tables any more");
        unused.detail = format!(
            "{}; scans since statistics began, without those of checks: {}",
            ChecklistItem::FOR_PERSON,
            scans.unwrap_or_default()
        );
        let mut watched = ChecklistItem::for_person("stopped", "watched for 7 days");
        watched.detail = format!(
            "{}; in phase {} for {days:.1} days",
            ChecklistItem::FOR_PERSON,
            self.m.phase
        );
        items.extend([unused, watched]);
        Ok(items)
    }

    pub(super) fn items_of_archive(&self) -> Result<Vec<ChecklistItem>> {
        let archived = self
            .all
            .iter()
            .filter_map(|p| Some((p, p.archived.as_ref()?)));
        let renamed: Vec<String> = archived
            .clone()
            .filter(|(p, a)| p.source_name.as_ref().is_some_and(|now| *now != a.name))
            .map(|(p, _)| p.source_text())
            .collect();
        let mut items = vec![ChecklistItem::new(
            "archived",
            "old tables have their new names",
            Some(renamed.len() == self.all.len()),
            renamed.join(", "),
        )];
        for (p, a) in archived.filter(|(_, a)| a.view) {
            // The name may belong to another view by now.
            let read = tx::probe(|| {
                let _owner = role::confine_reading(sides::owner(p)?)?;
                spi::run(&format!("SELECT FROM {} LIMIT 1", a.name), &[])
            });
            items.push(ChecklistItem::new(
                "archived",
                format!("view {} works", a.name.plain()),
                Some(read.is_ok()),
                read.map_or_else(|e| e.to_string(), |_| "it can be read".into()),
            ));
        }
        items.push(self.lines_named(
            "archived",
            "views are as created",
            &["view under the old name"],
        ));
        items.retain(|i| i.item != "views are as created" || i.ok.is_some());
        items.push(ChecklistItem::for_person(
            "archived",
            "no errors in the application's logs",
        ));
        Ok(items)
    }
}
