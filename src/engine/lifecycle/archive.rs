//! stopped → archived, and the removal of the migration.

use crate::engine::columns;
use crate::engine::gate::{
    actions, describe_forced_call, lock_idle_migration, require_min_age, require_phase,
    require_suffix,
};
use crate::engine::types::Action;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::settings;
use crate::steps::archive;
use crate::store::{drift, job, log, mapping, migration};

/// stopped → archived
pub fn archive(
    name: Option<&str>,
    suffix: &str,
    compat_views: bool,
    force: bool,
) -> Result<Vec<Action>> {
    let (m, mappings) = lock_idle_migration(name, "mig_archive")?;
    if let Some(all) = columns::load(&m)? {
        return columns::archive(&m, &all, suffix, compat_views, force);
    }
    if !require_phase(&m, Phase::Stopped, "mig_archive", "mig_stop")? {
        return Ok(actions(&mappings, "archived"));
    }
    require_suffix(suffix)?;
    if crate::engine::job::sync_back::is_under_way(&mappings)? || job::open(m.id)?.is_some() {
        return Err(m.wrong_phase("phase \"stopped\" with no way back begun"));
    }
    let mut passed_over = Vec::new();
    let call = format!("mig_archive({}, force => true)", Literal(&m.name));
    require_min_age(
        &m,
        settings::archive_after_days(&m),
        "archive_after_days",
        &call,
        force,
        &mut passed_over,
    )?;
    let followers = archive::dependents(&mappings)?;
    if !followers.is_empty() && !force {
        return Err(Error::HasDependents {
            detail: format!("Found: {}.", followers.join("; ")),
            call,
        });
    }
    passed_over.extend(followers);
    drift::require_none(&m)?;
    archive::archive_tables(&m, &mappings, suffix, compat_views)?;
    migration::set_phase(&m, Phase::Archived)?;
    log::write(
        &m.name,
        "archived",
        &describe_forced_call("mig_archive", &passed_over),
    )?;
    let action = if compat_views {
        "archived, view in its place"
    } else {
        "archived"
    };
    Ok(actions(&mapping::list(m.id)?, action))
}

/// archived → stopped
pub fn take_back(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    archive::restore_names(m, mappings)?;
    migration::set_phase(m, Phase::Stopped)?;
    log::write(&m.name, "stopped", "mig_rollback from archived")
}

/// Forgets a migration, and drops the archived tables if wanted.
pub fn drop(name: &str, archives: bool, force: bool) -> Result<Vec<Action>> {
    let (m, mappings) = lock_idle_migration(Some(name), "mig_drop")?;
    if let Some(all) = columns::load(&m)? {
        return columns::drop(&m, &all, archives, force);
    }
    if m.phase != Phase::Archived {
        m.require_defined()?;
    }
    let mut passed_over = Vec::new();
    if archives && m.phase == Phase::Archived {
        let call = format!(
            "mig_drop({}, archives => true, force => true)",
            Literal(&m.name)
        );
        require_min_age(
            &m,
            settings::drop_after_days(&m),
            "drop_after_days",
            &call,
            force,
            &mut passed_over,
        )?;
    }
    let mut gone = actions(&mappings, "forgotten");
    if m.phase == Phase::Archived {
        archive::let_go(&m, &mappings, archives)?;
    }
    if m.phase == Phase::Archived && archives {
        for (line, p) in gone.iter_mut().zip(&mappings) {
            line.source = None;
            line.action = format!("{} dropped", p.source_text());
        }
    }
    migration::delete(m.id)?;
    log::write(
        &m.name,
        "dropped",
        &describe_forced_call("mig_drop", &passed_over),
    )?;
    Ok(gone)
}
