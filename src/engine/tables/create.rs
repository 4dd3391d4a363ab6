//! From `defined` to `dual_write`, for tables.

use crate::engine::types::Action;
use crate::error::Result;
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration, MigrationState};
use crate::pg::notice::notice;
use crate::preflight::{self, PreflightFinding, combined, kinds};
use crate::settings;
use crate::steps::{canary, create, define, install_triggers};
use crate::store::drift::{self, DriftKind};
use crate::store::{log, mapping, migration, sides};

/// Returns all findings for a migration; rows are read only as long as they can still be corrected without a mirror.
pub(super) fn findings(m: &Migration, mappings: &[Mapping]) -> Result<Vec<PreflightFinding>> {
    let mut found = preflight::catalog(mappings, m.scope_table)?;
    let unfit = kinds::list(m, mappings)?;
    if !unfit.is_empty() {
        found.extend(kinds::findings(&unfit));
        return Ok(found);
    }
    let owners = mappings.iter().map(|p| p.source_owner);
    found.extend(preflight::code_path::findings(m, owners)?);
    found.extend(preflight::check_dependents(mappings)?);
    found.extend(mappings.iter().flat_map(preflight::mutable));
    if m.phase <= Phase::Created {
        for p in mappings.iter().filter(|p| p.source_owner.is_some()) {
            sides::require_author(p, sides::owner(p)?)?;
        }
        let planned = create::plan(mappings.to_vec(), define::scope::load_scope(m)?.as_ref())?;
        let moved = planned.iter().map(|p| (&p.source, &p.mapping)).collect();
        for p in &planned {
            let broken = preflight::rows::broken_expressions(m, &p.mapping, &p.source)?;
            if !broken.is_empty() {
                found.extend(broken);
                continue;
            }
            let made_by_us = p.mapping.target.is_some() && !p.mapping.adopted;
            let adopted = p.standing.is_some() && !made_by_us;
            found.extend(preflight::triggers::findings(
                &p.mapping, &p.source, &p.layout, adopted, &moved,
            ));
            if !adopted {
                found.extend(preflight::not_carried::findings(
                    &p.mapping, &p.source, &p.layout,
                ));
            }
            found.extend(preflight::rows::duplicates(&p.mapping, &p.layout)?);
            found.extend(preflight::rows::count_left(&p.mapping)?);
            found.extend(preflight::unfit_rows::findings(
                &p.mapping,
                &p.source,
                &p.layout,
                p.standing.as_ref().filter(|s| s.kind == "r"),
            )?);
            found.extend(preflight::one_way(&p.mapping, &p.source, &p.layout));
            found.extend(preflight::left_defaults(&p.mapping, &p.source, &p.layout));
            let source_of = |id| {
                planned
                    .iter()
                    .find(|o| o.mapping.id == id)
                    .map(|o| &o.source)
            };
            found.extend(preflight::maps_of_others(
                &p.mapping, &p.source, &p.layout, source_of,
            ));
            found.extend(preflight::check_publications(
                &p.mapping, &p.source, &p.layout,
            ));
            found.extend(preflight::check_key_swaps(&p.mapping, &p.layout));
            found.extend(preflight::disabled_keys::findings(&p.mapping, &p.source));
            found.extend(preflight::outside_parents::findings(
                &p.mapping,
                &p.source,
                &p.layout,
                &planned.iter().map(|o| &o.mapping).collect::<Vec<_>>(),
            ));
            if !adopted {
                found.extend(preflight::check_width(&p.mapping, &p.layout));
                found.extend(preflight::exclusions::findings(
                    &p.mapping, &p.source, &p.layout,
                ));
            }
            found.extend(preflight::rows::check_target_rows(&p.mapping, &p.layout)?);
            found.extend(check_shared_target(&planned, p)?);
            if adopted {
                found.extend(check_standing(&planned, p)?);
            }
        }
    }
    Ok(found)
}

/// Returns the findings about an existing target: that it does not fit, or the rows that its keys refuse.
fn check_standing(
    planned: &[create::PlannedMapping],
    p: &create::PlannedMapping,
) -> Result<Vec<PreflightFinding>> {
    if let Some(refused) = check_adoption(planned, p) {
        return Ok(vec![refused]);
    }
    let Some(target) = p.standing.as_ref().filter(|s| s.kind == "r") else {
        return Ok(Vec::new());
    };
    let members: Vec<&Mapping> = planned.iter().map(|o| &o.mapping).collect();
    preflight::standing_keys::findings(&p.mapping, &p.source, &p.layout, target, &members)
}

/// Returns what mig_create would say of an existing target that does not fit.
fn check_adoption(
    planned: &[create::PlannedMapping],
    p: &create::PlannedMapping,
) -> Option<PreflightFinding> {
    let refused = create::check_adoption(planned, p).err()?;
    let detail = refused
        .detail()
        .map_or_else(String::new, |d| format!(": {d}"));
    Some(PreflightFinding {
        severity: preflight::Severity::Error,
        check_name: "target does not fit".into(),
        relation: p.standing.as_ref().map(|s| s.oid),
        detail: format!("{refused}{detail}"),
        hint: refused.hint().map(str::to_owned),
    })
}

/// Returns the findings for the target of `p`, if `p` is the first of several sources.
fn check_shared_target(
    planned: &[create::PlannedMapping],
    p: &create::PlannedMapping,
) -> Result<Vec<PreflightFinding>> {
    if create::follows(planned, p) {
        return Ok(Vec::new());
    }
    let sources: Vec<_> = create::sources_of_target(planned, p)
        .map(|o| combined::CombinedSource {
            mapping: &o.mapping,
            shape: &o.source,
            layout: &o.layout,
        })
        .collect();
    combined::findings(&sources, p.standing.is_some())
}

/// Creates the targets.
pub(super) fn create(m: &Migration, mappings: &[Mapping]) -> Result<Vec<Action>> {
    let planned = create::plan(mappings.to_vec(), define::scope::load_scope(m)?.as_ref())?;
    let verbs = create::run(&planned, settings::defer_indexes(m))?;
    let mut done = Action::for_mappings(&mapping::list(m.id)?, "created");
    for (line, verb) in done.iter_mut().zip(verbs) {
        line.action = verb.to_owned();
    }
    Ok(done)
}

/// Installs the mirrors.
pub(super) fn start_dual_write(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    install_triggers::give_objects_to_owners(m, mappings)?;
    install_triggers::install(
        m,
        mappings,
        |before| canary::run(mappings, before),
        |before, after| canary::compare(&before, &after),
    )
}

/// Reinstalls mirrors that were changed. What was written past them is left for a check to find: the switch needs a clean
/// check that is newer than the mirrors.
pub(super) fn reinstall(m: &Migration, mappings: &[Mapping]) -> Result<Vec<Action>> {
    for p in mappings {
        if drift::find_text(p, &[DriftKind::Gone, DriftKind::Shape])?.is_some() {
            drift::require_none(m)?;
        }
    }
    install_triggers::give_objects_to_owners(m, mappings)?;
    install_triggers::renew(m, mappings, false)?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        "mig_dual_write installed the mirrors again",
    )?;
    notice(&format!(
        "writes may have passed the mirrors; SELECT * FROM mig_repair({}); tells how many rows differ",
        Literal(&m.name)
    ));
    Ok(Action::for_mappings(mappings, "mirrored again"))
}
