//! Creates the columns, the views and the triggers, and removes them.

use super::{existing_tables, lock_all, lock_existing, tables};
use crate::error::Result;
use crate::model::column_change::{ColumnChange, SyncStage};
use crate::model::records::Migration;
use crate::model::shape::Shape;
use crate::pg::lock::{self, LockMode};
use crate::pg::{catalog, draft, role, spi, state};
use crate::relation::triggers;
use crate::settings;
use crate::sqlgen::columns as sql;
use crate::store::{author, drift, new_column};

/// Adds the columns, nullable and without a default. AccessExclusive for catalog changes only; no row is read.
pub fn columns(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_all(m, all)?;
    for r in all {
        let table = r.table()?;
        let shape = catalog::shape_of(r.relation, &table.plain())?;
        let old = r.replaces.as_ref().and_then(|o| shape.column(&o.name));
        for c in &r.columns {
            let collation = old
                .filter(|o| o.type_text == c.type_text)
                .and_then(|o| o.collation.as_ref());
            // A domain's default may be a function.
            let _owner = role::confine(shape.owner.into())?;
            spi::run(&sql::add_column(table, c, collation), &[])?;
        }
        new_column::record_name(r)?;
    }
    // An expression may refer to the columns of another change.
    for r in all {
        let table = r.table()?;
        let shape = catalog::shape_of(r.relation, &table.plain())?;
        draft::make(shape.owner.into(), |draft| {
            let name = sql::view_name(r.id);
            let view = sql::create_view(&draft.name(&name), table, r, old_type(r, &shape));
            spi::run(&view, &[])?;
            Ok(vec![("VIEW", name)])
        })?;
    }
    Ok(())
}

fn old_type<'a>(r: &ColumnChange, shape: &'a Shape) -> Option<&'a str> {
    let old = r.replaces.as_ref()?;
    shape.column(&old.name).map(|c| c.type_text.as_str())
}

/// Drops views and columns. Values that were written to a new column only are lost.
pub fn remove(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_existing(m, all)?;
    for r in all {
        spi::run(&sql::drop_view(r.id), &[])?;
    }
    for r in &existing_tables(all) {
        for c in &r.columns {
            spi::run(&sql::drop_column(r.table()?, &c.name), &[])?;
        }
    }
    Ok(())
}

/// Installs the triggers, or replaces them for another stage. ShareRowExclusive for a new trigger: it waits for open
/// writers, so that no transaction writes past the trigger. An existing trigger is replaced in one transaction, under
/// AccessExclusive.
pub fn install_triggers(
    m: &Migration,
    all: &[ColumnChange],
    stage: SyncStage,
    force: bool,
) -> Result<()> {
    if are_triggers_installed(all)? {
        lock_all(m, all)?;
    } else {
        let tables = tables(all, LockMode::ShareRowExclusive)?;
        lock::lock_all(&tables, settings::lock_timeout_ms(m))?;
    }
    if !force {
        drift::require_none(m)?;
    }
    all.iter().try_for_each(|r| install_trigger(r, stage))
}

/// Gives the views to the owners of their tables, see `install_triggers::give_objects_to_owners`. Locks the tables AccessExclusive, and
/// only if there is something to give.
pub fn give_views_to_owners(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    let misplaced = new_column::list_misplaced_views(all)?;
    if misplaced.is_empty() {
        return Ok(());
    }
    lock_all(m, all)?;
    author::give_to_owners(&misplaced)
}

/// As `install_triggers`, for one change, with the locks already held.
pub fn install_trigger(r: &ColumnChange, stage: SyncStage) -> Result<()> {
    let table = r.table()?;
    triggers::drop_all(r)?;
    state::define_triggers(
        r.relation.into(),
        table,
        &sql::create_trigger(table, r.id, stage),
    )?;
    new_column::record_installed(r)
}

fn are_triggers_installed(all: &[ColumnChange]) -> Result<bool> {
    for r in all {
        if !triggers::list_installed(r)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Drops the triggers, wherever they are: from the commit on nothing is kept in step.
pub fn remove_triggers(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_existing(m, all)?;
    for r in all {
        triggers::drop_all(r)?;
        new_column::record_installed(r)?;
    }
    Ok(())
}

/// Emergency stop: disables the triggers wherever they are. Returns how many were enabled.
pub fn disable(all: &[ColumnChange]) -> Result<usize> {
    let mut found = Vec::new();
    for r in all {
        found.extend(triggers::list_installed(r)?);
    }
    triggers::disable(&found)
}
