//! stopped → archived, and the removal of the migration.

use crate::engine::gate::{
    describe_forced_call, enter, require_min_age, require_phase, require_suffix,
};
use crate::engine::kind;
use crate::engine::types::Action;
use crate::engine::work::Work;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::phase::Phase;
use crate::model::records::Migration;
use crate::settings;
use crate::store::{drift, log, migration};

/// stopped → archived
pub fn archive(
    name: Option<&str>,
    suffix: &str,
    compat_views: bool,
    force: bool,
) -> Result<Vec<Action>> {
    let work = kind::lock_idle(name, "mig_archive")?;
    let m = work.migration();
    if !require_phase(m, Phase::Stopped, "mig_archive", "mig_stop")? {
        return Ok(work.actions(work.outcome(Phase::Archived)));
    }
    require_suffix(suffix)?;
    work.require_no_rollback()?;
    let mut passed_over = Vec::new();
    let views = if compat_views {
        ", compat_views => true"
    } else {
        ""
    };
    let call = format!("mig_archive({}{views}, force => true)", Literal(&m.name));
    require_min_age(
        m,
        settings::archive_after_days(m),
        "archive_after_days",
        &call,
        force,
        &mut passed_over,
    )?;
    require_no_left_rows(
        &*work,
        "puts them away with these",
        &call,
        force,
        &mut passed_over,
    )?;
    let followers = work.dependents()?;
    if !followers.is_empty() && !force {
        return Err(work.refuse_dependents(&followers, call));
    }
    passed_over.extend(followers);
    let done = work.archive(suffix, compat_views)?;
    let call = describe_forced_call("mig_archive", &passed_over);
    enter(m, Phase::Archived, &call)?;
    Ok(done)
}

/// Errors: 55000 if filters leave out rows, unless it is forced.
fn require_no_left_rows(
    work: &dyn Work,
    fate: &str,
    call: &str,
    force: bool,
    passed_over: &mut Vec<String>,
) -> Result<()> {
    let left = work.list_left_rows()?;
    if !left.is_empty() && !force {
        let detail = format!("Only in the old tables: {}.", left.join("; "));
        let name = work.migration().name.clone();
        return Err(Error::rows_left(name, detail, fate, call.to_owned()));
    }
    passed_over.extend(left);
    Ok(())
}

/// Returns which of its tables the migration has lost once both sides were live: there is no way back, and no table may be dropped. Errors:
/// 55000 unless the end of it is forced.
fn find_loss(m: &Migration, force: bool) -> Result<Option<String>> {
    if ![Phase::Switched, Phase::Stopped].contains(&m.phase) {
        return Ok(None);
    }
    let gone = drift::describe_gone(m)?;
    if let (Some(gone), false) = (&gone, force) {
        return Err(Error::drift(
            m.name.clone(),
            format!("Found: {gone}."),
            format!(
                "Where a table has another name, give it back its own. Or end the migration, which takes mirrors and guards away and keeps all tables: SELECT * FROM mig_drop({}, force => true);",
                Literal(&m.name)
            ),
        ));
    }
    Ok(gone)
}

/// Forgets a migration, and drops the archived tables or columns if wanted.
pub fn drop(name: &str, archives: bool, force: bool) -> Result<Vec<Action>> {
    let work = kind::lock_idle(Some(name), "mig_drop")?;
    let m = work.migration();
    let archived = m.phase == Phase::Archived;
    let loss = find_loss(m, force)?;
    let lost = loss.is_some();
    if !archived && (!lost || archives) {
        m.require_defined()?;
    }
    let mut passed_over = Vec::from_iter(loss);
    if archived && archives {
        let call = format!(
            "mig_drop({}, archives => true, force => true)",
            Literal(&m.name)
        );
        require_min_age(
            m,
            settings::drop_after_days(m),
            "drop_after_days",
            &call,
            force,
            &mut passed_over,
        )?;
        require_no_left_rows(
            &*work,
            "drops them with these",
            &call,
            force,
            &mut passed_over,
        )?;
    }
    let gone = work.farewell(archived && archives);
    if archived || lost {
        work.release_archive(archives)?;
    } else {
        work.remove_left_triggers()?;
    }
    migration::delete(m.id)?;
    let call = describe_forced_call("mig_drop", &passed_over);
    log::write(&m.name, "dropped", &call)?;
    Ok(gone)
}
