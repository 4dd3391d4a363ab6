//! Migrations that change columns of existing tables instead of moving tables: the phases are the same.

pub mod job;
pub mod plan;
pub mod proof;

use crate::engine::gate::{describe_forced_call, require_min_age, require_phase, require_suffix};
use crate::engine::job::open;
use crate::engine::types::Action;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::model::phase::Phase;
use crate::model::records::{Migration, MigrationState};
use crate::pg::notice::notice;
use crate::pg::tx;
use crate::preflight::{self, PreflightFinding, Severity};
use crate::settings;
use crate::steps::columns::define;
pub use crate::steps::columns::define::ColumnArguments;
use crate::steps::columns::{create, finish};
use crate::store::{drift, log, migration, new_column};
use pgrx::pg_sys::Oid;

/// Returns the column changes of a migration; None if it moves tables.
pub fn load(m: &Migration) -> Result<Option<Vec<ColumnChange>>> {
    let all = new_column::list(m.id)?;
    Ok((!all.is_empty()).then_some(all))
}

/// Returns the owners of their tables.
pub fn owners(all: &[ColumnChange]) -> Vec<Oid> {
    let owners = all.iter().filter_map(|r| r.leader().owner);
    owners.map(Oid::from).collect()
}

pub fn add(name: &str, asked: &ColumnArguments) -> Result<()> {
    let (m, mappings) = crate::engine::gate::lock_idle_migration(Some(name), "mig_add_column")?;
    if !mappings.is_empty() || m.scope_column.is_some() && m.scope_table.is_some() {
        return Err(Error::NotSupported {
            what: format!("a column in migration \"{}\", which moves tables", m.name),
            detail: "A migration moves tables, or it changes columns.".into(),
            hint: "Define another one: SELECT mig_define('columns');".into(),
        });
    }
    define::column(&m, asked)
}

/// Errors: 0A000 if a table is added to a migration that changes columns.
pub fn require_none(m: &Migration) -> Result<()> {
    if load(m)?.is_none() {
        return Ok(());
    }
    Err(Error::NotSupported {
        what: format!("a table in migration \"{}\", which changes columns", m.name),
        detail: "A migration moves tables, or it changes columns.".into(),
        hint: "Define another one: SELECT mig_define('tables');".into(),
    })
}

fn actions(all: &[ColumnChange], action: &str) -> Vec<Action> {
    let line = |r: &ColumnChange| Action {
        source: r.table.as_ref().map(|_| Oid::from(r.relation)),
        target: r.table.as_ref().map(|_| Oid::from(r.relation)),
        action: format!("{action}: {}", r.describe()),
    };
    all.iter().map(line).collect()
}

pub fn findings(m: &Migration, all: &[ColumnChange]) -> Result<Vec<PreflightFinding>> {
    preflight::columns::findings(m, all, m.phase <= Phase::Created)
}

fn require_clean(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    // Releases the locks of the check: a transaction that waits for a strong lock must hold none.
    let mut found = tx::probe(|| findings(m, all))?.into_iter();
    let Some(first) = found.find(|f| f.severity == Severity::Error) else {
        return Ok(());
    };
    Err(Error::Preflight {
        migration: m.name.clone(),
        detail: format!("{}: {}", first.check_name, first.detail),
        hint: first
            .hint
            .unwrap_or_else(|| format!("SELECT * FROM mig_preflight({});", Literal(&m.name))),
    })
}

/// defined → created
pub fn create(m: &Migration, all: &[ColumnChange]) -> Result<Vec<Action>> {
    if !require_phase(m, Phase::Defined, "mig_create", "mig_define")? {
        return Ok(actions(all, "exists"));
    }
    require_clean(m, all)?;
    create::columns(m, all)?;
    set_phase(m, Phase::Created, "mig_create")?;
    Ok(actions(all, "created"))
}

fn set_phase(m: &Migration, phase: Phase, call: &str) -> Result<()> {
    migration::set_phase(m, phase)?;
    log::write(&m.name, phase.as_str(), call)
}

/// created → dual_write
pub fn dual_write(m: &Migration, all: &[ColumnChange]) -> Result<Vec<Action>> {
    if [Phase::DualWrite, Phase::Backfilled].contains(&m.phase) && drift::is_there(m)? {
        return mend(m, all, SyncStage::Old, "mig_dual_write");
    }
    if !require_phase(m, Phase::Created, "mig_dual_write", "mig_create")? {
        return Ok(actions(all, "kept in step"));
    }
    require_clean(m, all)?;
    create::install_triggers(m, all, SyncStage::Old, false)?;
    all.iter().try_for_each(|r| new_column::reset(r.id))?;
    set_phase(m, Phase::DualWrite, "mig_dual_write")?;
    Ok(actions(all, "kept in step"))
}

/// Reinstalls triggers that were changed. Rows that were written past them are left for mig_repair to find.
fn mend(m: &Migration, all: &[ColumnChange], stage: SyncStage, call: &str) -> Result<Vec<Action>> {
    if let Some(gone) = drift::list(m)?
        .iter()
        .find(|c| c.kind != drift::DriftKind::Mirror)
    {
        return Err(Error::Drift {
            migration: m.name.clone(),
            detail: format!("Found: {}.", gone.what),
            hint: format!(
                "SELECT * FROM mig_rollback({}, 'defined');",
                Literal(&m.name)
            ),
        });
    }
    create::install_triggers(m, all, stage, true)?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("{call} put the triggers in anew"),
    )?;
    notice(&format!(
        "writes may have passed the triggers; SELECT * FROM mig_repair({}); tells how many rows differ",
        Literal(&m.name)
    ));
    Ok(actions(all, "kept in step anew"))
}

/// backfilled → switched
pub fn switch(m: &Migration, all: &[ColumnChange], force: bool) -> Result<Vec<Action>> {
    tx::require_read_committed()?;
    if m.phase == Phase::Switched && drift::is_there(m)? {
        return mend(m, all, SyncStage::Both, "mig_switch");
    }
    if !require_phase(m, Phase::Backfilled, "mig_switch", "mig_backfill")? {
        return Ok(actions(all, "both ways"));
    }
    let mut passed_over: Vec<String> = drift::list(m)?.into_iter().map(|d| d.what).collect();
    let wrong = tx::probe(|| proof::wrong(all, SyncStage::Old))?;
    if wrong > 0 {
        passed_over.push(format!("{wrong} rows are out of step"));
    }
    if !passed_over.is_empty() && !force {
        return Err(Error::NotReady {
            migration: m.name.clone(),
            detail: format!("Found: {}.", passed_over.join("; ")),
            hint: format!(
                "SELECT * FROM mig_check({0}) WHERE ok IS NOT TRUE; mig_diff names rows, and SELECT * FROM mig_repair({0}, dry_run => false); mends them.",
                Literal(&m.name)
            ),
        });
    }
    finish::switch(m, all, force)?;
    set_phase(
        m,
        Phase::Switched,
        &describe_forced_call("mig_switch", &passed_over),
    )?;
    Ok(actions(all, "both ways"))
}

/// switched → stopped
pub fn stop(m: &Migration, all: &[ColumnChange]) -> Result<Vec<Action>> {
    if m.phase == Phase::Stopped && drift::is_there(m)? {
        let kept: Vec<ColumnChange> = all
            .iter()
            .filter(|r| r.replaces.is_some())
            .cloned()
            .collect();
        return mend(m, &kept, SyncStage::New, "mig_stop");
    }
    if !require_phase(m, Phase::Switched, "mig_stop", "mig_switch")? {
        return Ok(actions(all, "old column refuses writes"));
    }
    finish::stop(m, all)?;
    set_phase(m, Phase::Stopped, "mig_stop")?;
    Ok(actions(all, "old column refuses writes"))
}

/// stopped → archived
pub fn archive(
    m: &Migration,
    all: &[ColumnChange],
    suffix: &str,
    compat_views: bool,
    force: bool,
) -> Result<Vec<Action>> {
    if !require_phase(m, Phase::Stopped, "mig_archive", "mig_stop")? {
        return Ok(actions(all, "archived"));
    }
    require_suffix(suffix)?;
    if compat_views {
        notice("compat_views is for tables: a column has no view in its place");
    }
    let mut passed_over = Vec::new();
    let call = format!("mig_archive({}, force => true)", Literal(&m.name));
    require_min_age(
        m,
        settings::archive_after_days(m),
        "archive_after_days",
        &call,
        force,
        &mut passed_over,
    )?;
    let users = users(all)?;
    if !users.is_empty() && !force {
        return Err(Error::Refused {
            code: pgrx::PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            message: "others use an old column and would follow it into the archive".into(),
            detail: format!("Found: {}.", users.join("; ")),
            hint: format!(
                "Make them use the new column, or drop them; SELECT * FROM {call}; lets them follow and is recorded."
            ),
        });
    }
    passed_over.extend(users);
    finish::put_away(m, all, suffix, settings::take_names(m))?;
    set_phase(
        m,
        Phase::Archived,
        &describe_forced_call("mig_archive", &passed_over),
    )?;
    Ok(actions(&new_column::list(m.id)?, "archived"))
}

/// Returns what uses the old columns.
fn users(all: &[ColumnChange]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for r in all {
        if let Some(old) = &r.replaces {
            let named = |what| format!("{what} uses \"{}\"", old.name.as_str());
            let mine = new_column::dependents(r.relation, &old.name)?;
            found.extend(mine.into_iter().map(named));
        }
    }
    Ok(found)
}

/// Reports rows whose computed columns hold written values instead of the computed ones.
fn tell_of_own_writes(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    let computed: Vec<ColumnChange> = all
        .iter()
        .filter(|r| r.replaces.is_none())
        .cloned()
        .collect();
    let own = proof::wrong(&computed, SyncStage::Old)?;
    if own > 0 {
        notice(&format!(
            "{own} rows have values of their own in computed columns; SELECT * FROM mig_repair({}, dry_run => false); computes them anew",
            Literal(&m.name)
        ));
    }
    Ok(())
}

/// Rolls back to `to`, step by step in one transaction.
pub fn descend(m: &Migration, to: Phase) -> Result<Vec<Action>> {
    open::end_open(m, Some("rolled back"))?;
    let mut done = Vec::new();
    if m.phase == Phase::Archived {
        finish::take_back(m, &new_column::list(m.id)?)?;
        done.push("has its name again");
    }
    let all = new_column::list(m.id)?;
    if m.phase >= Phase::Stopped && to < Phase::Stopped {
        finish::stop_back(m, &all)?;
        done.push("both ways again");
    }
    if m.phase >= Phase::Switched && to == Phase::Backfilled {
        finish::switch_back(m, &all)?;
        done.push("old column is the truth again");
        tell_of_own_writes(m, &all)?;
    }
    if m.phase >= Phase::DualWrite && to < Phase::DualWrite {
        create::remove_triggers(m, &all)?;
        create::remove(m, &all)?;
        if to == Phase::Created {
            create::columns(m, &all)?;
        }
        all.iter().try_for_each(|r| new_column::reset(r.id))?;
        migration::set_drain(m.id, None)?;
        done.push("new columns emptied");
    }
    if to == Phase::Defined {
        if m.phase == Phase::Created {
            create::remove(m, &all)?;
        }
        done.push("new columns removed");
    }
    set_phase(m, to, &format!("mig_rollback from {}", m.phase))?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    Ok(actions(&all, &done.join(", ")))
}

/// Emergency stop: disables the triggers.
pub fn detach(m: &Migration, all: &[ColumnChange]) -> Result<Vec<Action>> {
    if m.phase < Phase::DualWrite || create::disable(all)? == 0 {
        notice(&format!(
            "migration \"{}\" has no trigger that is on",
            m.name
        ));
        return Ok(actions(all, "kept"));
    }
    open::end_open(m, Some("mig_detach"))?;
    migration::set_state(
        m.id,
        MigrationState::Failed,
        Some("detached by mig_detach: columns are not kept in step"),
    )?;
    log::write(&m.name, m.phase.as_str(), "mig_detach")?;
    Ok(actions(all, "trigger disabled"))
}

/// Forgets a migration, and drops the old columns if wanted.
pub fn drop(
    m: &Migration,
    all: &[ColumnChange],
    archives: bool,
    force: bool,
) -> Result<Vec<Action>> {
    if m.phase != Phase::Archived {
        m.require_defined()?;
    }
    let mut passed_over = Vec::new();
    if m.phase == Phase::Archived {
        if archives {
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
        }
        finish::let_go(m, all, archives)?;
    }
    migration::delete(m.id)?;
    log::write(
        &m.name,
        "dropped",
        &describe_forced_call("mig_drop", &passed_over),
    )?;
    let gone = m.phase == Phase::Archived && archives;
    Ok(actions(
        all,
        if gone {
            "old column dropped"
        } else {
            "forgotten"
        },
    ))
}
