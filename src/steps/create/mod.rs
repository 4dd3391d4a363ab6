//! Creation of the targets, or adoption of existing ones, and creation of the mapping views.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::catalog_facts::{CreatedFacts, TableFacts};
use crate::model::layout::merge::Merge;
use crate::model::layout::{Layout, Member, Scope, resolve};
use crate::model::records::Mapping;
use crate::model::shape::{Policy, Publication, Shape, TableTrigger};
use crate::model::trigger::{find_obstacle, target_column};
use crate::pg::{catalog, deparse, draft, guc, role, spi};
use crate::sqlgen::view::{self, merged};
use crate::sqlgen::{PlanStatement, comments_stats, id_lookup, id_map, index, table, view_names};
use crate::store::mapping;
use pgrx::pg_sys::Oid;

mod adopt;
mod maps;

/// A mapping with everything that its target is planned from.
pub struct PlannedMapping {
    pub mapping: Mapping,
    pub source: Shape,
    pub layout: Layout,
    /// The source's policies, rewritten for the target.
    pub policies: Vec<Policy>,
    /// The source's triggers that a new target takes over, rewritten for it.
    pub triggers: Vec<TableTrigger>,
    /// The existing table under the target's name.
    pub standing: Option<Shape>,
}

/// Reads all sources and plans all layouts; changes nothing.
pub fn plan(mappings: Vec<Mapping>, scope: Option<&Scope>) -> Result<Vec<PlannedMapping>> {
    let shapes = mappings
        .iter()
        .map(|p| catalog::shape_of(p.source, &p.source_text()))
        .collect::<Result<Vec<_>>>()?;
    let standing = mappings
        .iter()
        .map(|p| catalog::find(&p.target_name)?.map_or(Ok(None), catalog::shape))
        .collect::<Result<Vec<_>>>()?;
    let members: Vec<Member> = mappings
        .iter()
        .zip(&shapes)
        .zip(&standing)
        .map(|((p, shape), standing)| Member {
            id: p.id,
            shape,
            spec: &p.spec,
            target: &p.target_name,
            remap: p.remaps(),
            adopted_shape: standing
                .as_ref()
                .filter(|_| p.adopted || p.target.is_none()),
        })
        .collect();
    let mut layouts = (0..members.len())
        .map(|n| resolve(&members, n, scope))
        .collect::<Result<Vec<_>>>()?;
    for n in 1..layouts.len() {
        let (before, rest) = layouts.split_at_mut(n);
        let shared = members
            .iter()
            .zip(before)
            .filter(|(m, _)| m.target == members[n].target);
        for (_, other) in shared {
            rest[0].leave_indexes_to(other);
        }
    }
    drop(members);
    let mut planned = Vec::new();
    let tables = shapes.into_iter().zip(standing);
    for ((mapping, (source, standing)), layout) in mappings.into_iter().zip(tables).zip(layouts) {
        let policies = policies(&source, &mapping.target_name)?;
        planned.push(PlannedMapping {
            mapping,
            policies,
            triggers: triggers(&source, &layout)?,
            source,
            layout,
            standing,
        });
    }
    Ok(planned)
}

fn policies(source: &Shape, target: &QualifiedName) -> Result<Vec<Policy>> {
    if source.policies.is_empty() {
        return Ok(Vec::new());
    }
    let texts = deparse::policies_as(source.oid, &target.name)?;
    let mut translated = source.policies.clone();
    for p in &mut translated {
        if let Some(text) = texts.iter().find(|t| t.name == p.name) {
            p.using.clone_from(&text.using);
            p.check.clone_from(&text.check);
        }
    }
    Ok(translated)
}

fn triggers(source: &Shape, layout: &Layout) -> Result<Vec<TableTrigger>> {
    let rename = |name: &Ident| target_column(layout, name).cloned();
    let mut taken = Vec::new();
    for t in &source.triggers {
        if find_obstacle(t, source, layout).is_some() {
            continue;
        }
        let mut taken_over = t.clone();
        for column in &mut taken_over.update_columns {
            if let Some(name) = rename(column) {
                *column = name;
            }
        }
        let condition = t.condition.as_ref();
        taken_over.condition = condition
            .map(|tree| deparse::trigger_condition(tree, source.oid, rename))
            .transpose()?;
        taken.push(taken_over);
    }
    Ok(taken)
}

/// Returns the sources of a target, in the order they were added: the first one creates or adopts it.
pub fn sources_of_target<'a>(
    all: &'a [PlannedMapping],
    p: &'a PlannedMapping,
) -> impl Iterator<Item = &'a PlannedMapping> {
    let target = &p.mapping.target_name;
    all.iter().filter(move |o| o.mapping.target_name == *target)
}

/// Whether another source creates the target of this one.
pub fn follows(all: &[PlannedMapping], p: &PlannedMapping) -> bool {
    sources_of_target(all, p)
        .next()
        .is_some_and(|first| first.mapping.id != p.mapping.id)
}

/// Returns the statements that create one target, in order; none if the table exists, or if another source creates it.
pub fn statements(
    all: &[PlannedMapping],
    p: &PlannedMapping,
    defer_indexes: bool,
) -> Vec<PlanStatement> {
    let mut made = Vec::new();
    if p.standing.is_none() && !follows(all, p) {
        let mut parts: Vec<table::SourcePart> = sources_of_target(all, p)
            .map(|o| table::SourcePart {
                source: &o.source,
                layout: &o.layout,
                policies: &o.policies,
                triggers: &o.triggers,
            })
            .collect();
        // The leading part defines the key and its default, whenever it was added.
        parts.sort_by_key(|part| part.layout.is_partner());
        made = table::create(&parts, &p.mapping.target_name);
        if !defer_indexes {
            for i in sources_of_target(all, p).flat_map(|o| &o.layout.indexes) {
                let target = &p.mapping.target_name;
                let sql = std::iter::once(index::create(target, i, false))
                    .chain(index::attach(target, i))
                    .chain(comments_stats::of_index(target, i));
                made.extend(
                    sql.map(|s| PlanStatement::new(target, "AccessExclusiveLock (new table)", s)),
                );
            }
        }
    }
    made
}

/// Returns the statements that add a target which pg_mig creates to the publications that all of its sources are in. A
/// publication has an owner of its own, who may not be the tables' owner.
pub fn publications(all: &[PlannedMapping], p: &PlannedMapping) -> Vec<PlanStatement> {
    if p.standing.is_some() || follows(all, p) {
        return Vec::new();
    }
    let target = &p.mapping.target_name;
    // A subscriber of one of several sources would otherwise get the rows of the others, too.
    let everybodys = |b: &&Publication| {
        sources_of_target(all, p).all(|o| o.source.publications.iter().any(|x| x.name == b.name))
    };
    let mine = p.source.publications.iter().filter(|b| b.mine);
    mine.filter(everybodys)
        .filter_map(|b| comments_stats::publication(b, target, &p.layout))
        .map(|sql| PlanStatement::new(target, "ShareUpdateExclusiveLock", sql))
        .collect()
}

/// Returns the mapping views: forward and, if possible, reverse.
pub fn views(all: &[PlannedMapping], p: &PlannedMapping) -> Vec<PlanStatement> {
    let id = p.mapping.id;
    views_at(
        all,
        p,
        [&view_names::name(id), &view_names::reverse_name(id)],
    )
}

fn views_at(
    all: &[PlannedMapping],
    p: &PlannedMapping,
    [forward, reverse]: [&QualifiedName; 2],
) -> Vec<PlanStatement> {
    let target = &p.mapping.target_name;
    let filter = p.mapping.spec.filter.as_deref();
    let forth = match &p.layout.merge {
        None => view::create(forward, &p.source.name, &p.layout, filter),
        Some(merge) => merged_view(all, merge, forward),
    };
    let back = view::create_reverse(reverse, &p.source.name, target, &p.layout);
    std::iter::once(PlanStatement::new(&p.source.name, "AccessShareLock", forth))
        .chain(back.map(|sql| PlanStatement::new(target, "AccessShareLock", sql)))
        .collect()
}

fn merged_view(all: &[PlannedMapping], merge: &Merge, at: &QualifiedName) -> String {
    let sources: Vec<merged::MergeSource> = merge
        .sources
        .iter()
        .filter_map(|s| all.iter().find(|p| p.mapping.id == s.mapping))
        .map(|p| merged::MergeSource {
            mapping: p.mapping.id,
            table: &p.source.name,
            layout: &p.layout,
        })
        .collect();
    let me = sources.iter().position(|s| s.mapping == merge.me);
    me.map_or_else(String::new, |me| merged::create(at, &sources, me))
}

/// Returns the statements that create the id map, if there is one.
pub fn maps(p: &PlannedMapping) -> Vec<PlanStatement> {
    let Some(drawn) = &p.layout.drawn else {
        return Vec::new();
    };
    let target = &p.mapping.target_name;
    let new = drawn.default.clone().unwrap_or_else(|| {
        let sequence = format!(
            "pg_get_serial_sequence({}, {})",
            Literal(&target.to_string()),
            Literal(drawn.target.as_str())
        );
        format!("nextval({sequence}::regclass)")
    });
    let old = crate::relation::id_pairs::default_of_column(&p.source, &drawn.source);
    let name = id_lookup::name(p.mapping.id);
    let made = id_map::create(&name, drawn, (old.as_deref(), &new)).into_iter();
    made.map(|sql| PlanStatement::new(&name, "AccessExclusiveLock (new table)", sql))
        .collect()
}

/// Creates or adopts all targets, then their id maps and views. Returns what was done to each. Errors: 55000 if an existing
/// table does not fit.
pub fn run(all: &[PlannedMapping], defer_indexes: bool) -> Result<Vec<&'static str>> {
    for mark in all.iter().flat_map(|p| p.layout.marks()) {
        catalog::require_plain(&mark.type_text)?;
    }
    let _heap = guc::pin_heap();
    let mut made = Vec::new();
    for which in 0..all.len() {
        made.push(make(all, which, defer_indexes)?);
    }
    // A view may look up ids in any of the id maps.
    for (p, (layout, target)) in all.iter().zip(&made) {
        maps::make(p, layout, target)?;
    }
    for p in all {
        maps::let_in(all, p)?;
    }
    let mut verbs = Vec::new();
    for (p, (layout, _)) in all.iter().zip(made) {
        // Its shape after all of its sources have contributed.
        let target = standing_now(p)?;
        make_views(all, p)?;
        let left = CreatedFacts {
            source: TableFacts::from_shape(&p.source),
            target: TableFacts::from_shape(&target),
        };
        let adopted = p.standing.is_some();
        mapping::set_created(p.mapping.id, Oid::from(target.oid), adopted, &layout, &left)?;
        verbs.push(if adopted { "adopted" } else { "created" });
    }
    Ok(verbs)
}

/// Errors: 55000 if the existing table of a mapping does not fit; one that is no ordinary table has a finding of its own.
pub fn check_adoption(all: &[PlannedMapping], p: &PlannedMapping) -> Result<()> {
    let which = all.iter().position(|o| o.mapping.id == p.mapping.id);
    match (&p.standing, which) {
        (Some(standing), Some(which)) if standing.kind == "r" => {
            adopt::layout(standing, all, which).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Creates or adopts one target; returns its layout and its shape.
fn make(all: &[PlannedMapping], which: usize, defer_indexes: bool) -> Result<(Layout, Shape)> {
    let p = &all[which];
    let mut layout = match &p.standing {
        Some(standing) => adopt::layout(standing, all, which)?,
        None => p.layout.clone(),
    };
    {
        let _owner = role::confine(p.source.owner.into())?;
        for (n, statement) in statements(all, p, defer_indexes).into_iter().enumerate() {
            spi::run(&statement.sql, &[])?;
            if n == 0 {
                draft::revoke_defaults(&p.mapping.target_name)?;
            }
        }
    }
    for statement in publications(all, p) {
        spi::run(&statement.sql, &[])?;
    }
    let made = standing_now(p)?;
    layout.compare_as(&made);
    Ok((layout, made))
}

fn standing_now(p: &PlannedMapping) -> Result<Shape> {
    let name = &p.mapping.target_name;
    let target =
        catalog::find(name)?.ok_or_else(|| Error::internal("the target was not made".into()))?;
    catalog::shape_of(target.to_u32(), &name.plain())
}

/// Creates the mapping views. They read with their owner's rights: no other role has privileges on them.
fn make_views(all: &[PlannedMapping], p: &PlannedMapping) -> Result<()> {
    let names = [
        view_names::name(p.mapping.id),
        view_names::reverse_name(p.mapping.id),
    ];
    draft::make(p.source.owner.into(), |draft| {
        let [forward, reverse] = names.each_ref().map(|name| draft.name(name));
        let statements = views_at(all, p, [&forward, &reverse]);
        for statement in &statements {
            spi::run(&statement.sql, &[])?;
        }
        // Without a reverse direction there is only one view.
        let made = names.iter().take(statements.len()).cloned();
        Ok(made.map(|name| ("VIEW", name)).collect())
    })
}
