//! Making the targets, or adopting those that stand; and the mapping views.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::facts::{Facts, Left};
use crate::model::layout::{Layout, Member, Scope, resolve};
use crate::model::shape::{Policy, Shape};
use crate::model::state::Mapping;
use crate::pg::{catalog, deparse, role, spi};
use crate::sqlgen::{Statement, details, index, table, view};
use crate::store::mapping;
use pgrx::pg_sys::Oid;

mod adopt;

/// A mapping with everything that its target is worked out from.
pub struct Planned {
    pub mapping: Mapping,
    pub source: Shape,
    pub layout: Layout,
    /// The source's, in words that fit the target.
    pub policies: Vec<Policy>,
    /// The table that stands already under the target's name.
    pub standing: Option<Shape>,
}

/// Reads all sources and works all layouts out, changing nothing.
pub fn plan(mappings: Vec<Mapping>, scope: Option<&Scope>) -> Result<Vec<Planned>> {
    let shapes = mappings
        .iter()
        .map(|p| catalog::shape_of(p.source, &p.source_text()))
        .collect::<Result<Vec<_>>>()?;
    let members: Vec<Member> = mappings
        .iter()
        .zip(&shapes)
        .map(|(p, shape)| Member {
            shape,
            spec: &p.spec,
            target: &p.target_name,
        })
        .collect();
    let layouts = (0..members.len())
        .map(|n| resolve(&members, n, scope))
        .collect::<Result<Vec<_>>>()?;
    drop(members);
    let mut planned = Vec::new();
    for ((mapping, source), layout) in mappings.into_iter().zip(shapes).zip(layouts) {
        let standing = match catalog::find(&mapping.target_name)? {
            Some(oid) => catalog::shape(oid)?,
            None => None,
        };
        let policies = policies(&source, &mapping.target_name)?;
        planned.push(Planned {
            mapping,
            policies,
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

/// The statements that make one target, in order; none for a table that stands.
pub fn statements(p: &Planned, defer_indexes: bool) -> Vec<Statement> {
    let mut made = Vec::new();
    if p.standing.is_none() {
        made = table::create(&p.source, &p.mapping.target_name, &p.layout, &p.policies);
        if !defer_indexes {
            for i in &p.layout.indexes {
                let target = &p.mapping.target_name;
                let sql = std::iter::once(index::create(target, i, false))
                    .chain(index::attach(target, i))
                    .chain(details::of_index(target, i));
                made.extend(
                    sql.map(|s| Statement::new(target, "AccessExclusiveLock (new table)", s)),
                );
            }
        }
        let target = &p.mapping.target_name;
        let mine = p.source.publications.iter().filter(|b| b.mine);
        made.extend(
            mine.filter_map(|b| details::publication(b, target, &p.layout))
                .map(|sql| Statement::new(target, "ShareUpdateExclusiveLock", sql)),
        );
    }
    made
}

/// The mapping views, forth and, where there is a way, back.
pub fn views(p: &Planned) -> Vec<Statement> {
    let (id, target) = (p.mapping.id, &p.mapping.target_name);
    let filter = p.mapping.spec.filter.as_deref();
    let forth = view::create(id, &p.source.name, &p.layout, filter);
    let back = view::create_reverse(id, target, &p.layout);
    std::iter::once(Statement::new(&p.source.name, "AccessShareLock", forth))
        .chain(back.map(|sql| Statement::new(target, "AccessShareLock", sql)))
        .collect()
}

/// Makes or adopts one target. Errors: 55000 if a standing table does not fit.
pub fn run(all: &[Planned], which: usize, defer_indexes: bool) -> Result<&'static str> {
    let p = &all[which];
    let adopted = p.standing.is_some();
    let layout = match &p.standing {
        Some(standing) => adopt::layout(standing, all, which)?,
        None => p.layout.clone(),
    };
    let made = statements(p, defer_indexes).into_iter().chain(views(p));
    for (n, statement) in made.enumerate() {
        spi::run(&statement.sql, &[])?;
        if n == 0 && !adopted {
            revoke_defaults(&p.mapping.target_name)?;
        }
    }
    close_views(p)?;
    let target = catalog::find(&p.mapping.target_name)?
        .ok_or_else(|| Error::Internal("the target was not made".into()))?;
    let made = catalog::shape_of(target.to_u32(), &p.mapping.target_name.plain())?;
    let mut layout = layout;
    layout.compare_as(&made);
    let left = Left {
        source: Facts::of(&p.source),
        target: Facts::of(&made),
    };
    mapping::set_created(p.mapping.id, target, adopted, &layout, &left)?;
    Ok(if adopted { "adopted" } else { "created" })
}

/// The mapping views read with their owner's rights: nobody else has any on them.
fn close_views(p: &Planned) -> Result<()> {
    for name in [view::name(p.mapping.id), view::reverse_name(p.mapping.id)] {
        if catalog::find(&name)?.is_none() {
            continue;
        }
        if role::current() != Oid::from(p.source.owner) {
            let owner = &p.source.owner_name;
            spi::run(&format!("ALTER VIEW {name} OWNER TO {owner}"), &[])?;
        }
        revoke_defaults(&name)?;
    }
    Ok(())
}

/// Takes back whatever default privileges gave on the relation just made.
fn revoke_defaults(relation: &QualifiedName) -> Result<()> {
    for grantee in catalog::grantees(relation)? {
        spi::run(&table::revoke(relation, &grantee), &[])?;
    }
    Ok(())
}
