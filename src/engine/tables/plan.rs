//! The plan of later steps, and the DDL of the targets, for tables.

use crate::engine::types::PlannedStep;
use crate::error::Result;
use crate::ident::{Literal, QualifiedName};
use crate::model::layout::TargetKey;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::settings;
use crate::sqlgen::direction::Flow;
use crate::sqlgen::retired_guard::GuardedRows;
use crate::sqlgen::{PlanStatement, fkey, index, retired_guard, scope_pin, trigger};
use crate::steps::create::{self, PlannedMapping};
use crate::steps::{archive, define};

/// Returns the statements of all phases.
pub(super) fn plan(m: &Migration, mappings: &[Mapping]) -> Result<Vec<PlannedStep>> {
    let planned = create::plan(mappings.to_vec(), define::scope::load_scope(m)?.as_ref())?;
    let mut steps = Vec::new();
    let defer = settings::defer_indexes(m);
    for p in &planned {
        let made = create::statements(&planned, p, defer).into_iter();
        steps.extend(
            made.chain(create::publications(&planned, p))
                .chain(create::maps(p))
                .map(|s| planable(Phase::Created, s, p, false)),
        );
    }
    for p in &planned {
        let views = create::views(&planned, p).into_iter();
        steps.extend(views.map(|s| planable(Phase::Created, s, p, false)));
    }
    for p in &planned {
        for sql in trigger::create(&forward(p)) {
            steps.push(planable(
                Phase::DualWrite,
                PlanStatement::new(&p.source.name, "ShareRowExclusiveLock", sql),
                p,
                false,
            ));
        }
    }
    for p in &planned {
        let copy = crate::sqlgen::batch::copy(&forward(p));
        steps.push(planable(
            Phase::Backfilled,
            PlanStatement::new(&p.source.name, "RowShareLock, rows FOR SHARE", copy),
            p,
            true,
        ));
    }
    // Indexes and keys of a table that existed before are its owner's choice.
    for p in planned
        .iter()
        .filter(|p| !p.mapping.adopted && (m.phase > Phase::Defined || p.standing.is_none()))
    {
        steps.extend(
            late_statements(&planned, p, defer)
                .into_iter()
                .map(|s| planable(Phase::Backfilled, s, p, false)),
        );
    }
    for p in &planned {
        steps.extend(plan_cutover(p)?);
    }
    Ok(steps)
}

/// Returns the statements of the switch, of the end of dual writing, and of the archive.
fn plan_cutover(p: &PlannedMapping) -> Result<Vec<PlannedStep>> {
    let (id, source, target) = (p.mapping.id, &p.source.name, &p.mapping.target_name);
    let filter = p.mapping.spec.filter.as_deref();
    let back = Flow::reverse(id, source, target, &p.layout, filter);
    let mut made = Vec::new();
    let mut add = |phase, relation: &QualifiedName, lock, sql| {
        made.push(planable(
            phase,
            PlanStatement::new(relation, lock, sql),
            p,
            false,
        ));
    };
    for sql in back.iter().flat_map(trigger::create) {
        add(Phase::Switched, target, "ShareRowExclusiveLock", sql);
    }
    let exclusive = "AccessExclusiveLock (brief)";
    for flow in std::iter::once(&forward(p)).chain(&back) {
        for sql in trigger::drop_all(flow) {
            add(Phase::Stopped, &flow.touched, exclusive, sql);
        }
    }
    let rows = GuardedRows::of_filter(p.mapping.spec.filter.as_ref());
    for sql in retired_guard::create(id, source, p.mapping.target.unwrap_or(0), rows) {
        add(Phase::Stopped, source, exclusive, sql);
    }
    for sql in archive::statements(&p.mapping, &p.source, "_archive")? {
        add(Phase::Archived, source, exclusive, sql);
    }
    Ok(made)
}

fn forward(p: &PlannedMapping) -> Flow {
    Flow::forward(
        p.mapping.id,
        &p.source.name,
        &p.mapping.target_name,
        &p.layout,
    )
}

fn planable(
    phase: Phase,
    statement: PlanStatement,
    p: &PlannedMapping,
    moves_rows: bool,
) -> PlannedStep {
    let (rows, bytes) = if moves_rows {
        (p.source.est_rows, p.source.bytes)
    } else {
        (0, 0)
    };
    PlannedStep {
        phase,
        statement,
        rows,
        bytes,
    }
}

fn late_statements(
    all: &[PlannedMapping],
    p: &PlannedMapping,
    defer_indexes: bool,
) -> Vec<PlanStatement> {
    let target: &QualifiedName = &p.mapping.target_name;
    let mut made = Vec::new();
    for i in p.layout.indexes.iter().filter(|_| defer_indexes) {
        made.push(PlanStatement::new(
            target,
            "ShareUpdateExclusiveLock",
            index::create(target, i, true),
        ));
        made.extend(
            index::attach(target, i)
                .map(|sql| PlanStatement::new(target, "AccessExclusiveLock (brief)", sql)),
        );
    }
    for key in own_keys(all, p) {
        made.push(PlanStatement::new(
            target,
            "ShareRowExclusiveLock (brief)",
            fkey::add(target, key),
        ));
        if !key.not_valid {
            made.push(PlanStatement::new(
                target,
                "ShareUpdateExclusiveLock",
                fkey::validate(target, &key.name),
            ));
        }
    }
    let kept = p.layout.drawn.is_none() && p.layout.mapped_columns().next().is_none();
    if let Some(scope) = p.layout.scope.as_ref().filter(|_| kept)
        && let Some((table, key)) = &scope.table
    {
        let id = p.mapping.id;
        let anchor = scope_pin::create(&scope_pin::name(id), id, scope, (table, key));
        made.extend(
            anchor
                .into_iter()
                .map(|sql| PlanStatement::new(table, "ShareRowExclusiveLock (brief)", sql)),
        );
    }
    made
}

/// Returns the statements that create the targets, or their foreign keys.
pub(super) fn ddl(m: &Migration, mappings: &[Mapping], keys: bool) -> Result<Vec<String>> {
    let mut planned = create::plan(mappings.to_vec(), define::scope::load_scope(m)?.as_ref())?;
    let mut made = Vec::new();
    for p in &mut planned {
        p.standing = None;
    }
    for p in &planned {
        if keys {
            made.extend(late_keys(&planned, p));
            continue;
        }
        let own = create::statements(&planned, p, false).into_iter();
        let own = own.chain(create::publications(&planned, p));
        made.extend(own.map(|s| format!("{};", s.sql)));
    }
    Ok(made)
}

/// Returns the foreign keys as the end of the backfill adds them: a key that exists is left as it is.
fn late_keys(all: &[PlannedMapping], p: &PlannedMapping) -> Vec<String> {
    let target = &p.mapping.target_name;
    let one = |key: &TargetKey| {
        let body = fkey::add_unless_there(target, key);
        let validate = (!key.not_valid).then(|| format!("{};", fkey::validate(target, &key.name)));
        std::iter::once(format!("DO {};", Literal(&body))).chain(validate)
    };
    own_keys(all, p).flat_map(one).collect()
}

/// Returns the foreign keys that no earlier source of the target brings.
fn own_keys<'a>(
    all: &'a [PlannedMapping],
    p: &'a PlannedMapping,
) -> impl Iterator<Item = &'a TargetKey> {
    let before = move |key: &TargetKey| {
        create::sources_of_target(all, p)
            .take_while(|o| o.mapping.id != p.mapping.id)
            .any(|o| o.layout.fkeys.iter().any(|k| k.name == key.name))
    };
    p.layout.fkeys.iter().filter(move |k| !before(k))
}
