//! The plan of later steps, as statements: none of them is run.

use crate::engine::types::PlannedStep;
use crate::error::Result;
use crate::ident::Ident;
use crate::model::column_change::{ColumnChange, Dependent, NewColumn, SyncStage};
use crate::model::ddl_change::DdlChange;
use crate::model::phase::Phase;
use crate::model::shape::Shape;
use crate::pg::catalog;
use crate::sqlgen::columns::{self as sql, compare, dependents};
use crate::sqlgen::{PlanStatement, ddl, index};

const BRIEF: &str = "AccessExclusiveLock (brief)";

/// Returns the statements of all phases.
pub(super) fn plan(all: &[ColumnChange]) -> Result<Vec<PlannedStep>> {
    let mut steps = Vec::new();
    for r in all {
        let shape = catalog::shape_of(r.relation, &r.table()?.plain())?;
        let replacements = dependents::list_replacements(all, r.relation);
        steps.extend(of_one(r, &shape, &replacements));
    }
    // By phase, and within a phase in the order of definition.
    steps.sort_by_key(|s| s.phase);
    Ok(steps)
}

fn of_one(
    r: &ColumnChange,
    shape: &Shape,
    replacements: &dependents::Replacements,
) -> Vec<PlannedStep> {
    let table = &shape.name;
    let mut steps = Vec::new();
    let mut add = |phase, lock, sql, moves_rows: bool| {
        steps.push(PlannedStep {
            phase,
            statement: PlanStatement::new(table, lock, sql),
            rows: if moves_rows { shape.est_rows } else { 0 },
            bytes: if moves_rows { shape.bytes } else { 0 },
        });
    };
    for c in &r.columns {
        add(
            Phase::Created,
            BRIEF,
            sql::add_column(table, c, None),
            false,
        );
    }
    let old = r.replaces.as_ref().and_then(|o| shape.column(&o.name));
    let old_type = old.map(|o| o.type_text.as_str());
    add(
        Phase::Created,
        "AccessShareLock",
        sql::create_view(&sql::view_name(r.id), table, r, old_type),
        false,
    );
    for text in sql::create_trigger(table, r.id, SyncStage::Old) {
        add(Phase::DualWrite, "ShareRowExclusiveLock", text, false);
    }
    let rows = "RowExclusiveLock, rows FOR NO KEY UPDATE";
    add(Phase::Backfilled, rows, compare::fill(table, r), true);
    for (c, l) in plan_dependents(r, shape, replacements) {
        for (lock, text) in statements_of(table, &l) {
            add(Phase::Backfilled, lock, text, false);
        }
        if l.not_null {
            add(
                Phase::Switched,
                BRIEF,
                ddl::set_not_null(table, &c.name),
                false,
            );
        }
        if let Some(attach) = dependents::attach(table, &l) {
            add(Phase::Switched, BRIEF, attach, false);
        }
    }
    for text in sql::create_trigger(table, r.id, SyncStage::Both) {
        add(Phase::Switched, BRIEF, text, false);
    }
    if let Some(old) = &r.replaces {
        for text in sql::create_trigger(table, r.id, SyncStage::New) {
            add(Phase::Stopped, BRIEF, text, false);
        }
        let away = Ident::derive(&[&format!("{}_archive", old.name.as_str())]);
        add(
            Phase::Archived,
            BRIEF,
            sql::rename(table, &old.name, &away),
            false,
        );
    } else {
        add(Phase::Stopped, BRIEF, sql::drop_trigger(table, r.id), false);
    }
    steps
}

/// Returns the dependents that are planned, or would be planned now.
fn plan_dependents<'a>(
    r: &'a ColumnChange,
    shape: &Shape,
    replacements: &dependents::Replacements,
) -> Vec<(&'a NewColumn, Dependent)> {
    let mut all = Vec::new();
    for c in &r.columns {
        let late = c.late.clone().unwrap_or_else(|| {
            dependents::plan_dependents(shape, c, replacements, &mut Vec::new())
        });
        all.extend(late.into_iter().map(|l| (c, l)));
    }
    all
}

fn statements_of(
    table: &crate::ident::QualifiedName,
    l: &Dependent,
) -> Vec<(&'static str, String)> {
    let name = l.change.name();
    match &l.change {
        DdlChange::Index { index, .. } => {
            let build = index.as_deref().map(|i| index::create(table, i, true));
            build
                .map(|sql| ("ShareUpdateExclusiveLock", sql))
                .into_iter()
                .collect()
        }
        other => {
            let lock = match other {
                DdlChange::ForeignKey { .. } => "ShareRowExclusiveLock (brief)",
                _ => BRIEF,
            };
            let add = ddl::add(table, name, other).map(|sql| (lock, sql));
            let valid = ("ShareUpdateExclusiveLock", ddl::validate(table, name));
            add.into_iter().chain([valid]).collect()
        }
    }
}

/// Returns the statements that add the columns.
pub(super) fn ddl(all: &[ColumnChange]) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for r in all {
        for c in &r.columns {
            made.push(format!("{};", sql::add_column(r.table()?, c, None)));
        }
    }
    Ok(made)
}
