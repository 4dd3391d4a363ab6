//! From the switch to the end: what the new column takes over, what becomes of the old one, and the rollback.

use super::create::install_trigger;
use super::{existing_tables, lock_all, lock_existing};
use crate::error::Result;
use crate::ident::Ident;
use crate::model::column_change::{ArchivedNames, ColumnChange, SyncStage};
use crate::model::records::Migration;
use crate::model::shape::Shape;
use crate::pg::{catalog, role, spi};
use crate::relation::triggers;
use crate::sqlgen::columns as sql;
use crate::sqlgen::{columns::dependents, ddl};
use crate::store::{author, drift, new_column};
use pgrx::pg_sys::Oid;

/// Makes both columns writable. The new one gets all that the old one has: NOT NULL (proven by a valid CHECK, so that no
/// row is read), unique constraints, comments, privileges.
pub fn switch(m: &Migration, all: &[ColumnChange], force: bool) -> Result<()> {
    lock_all(m, all)?;
    if !force {
        drift::require_none(m)?;
    }
    for r in all {
        install_trigger(r, SyncStage::Both)?;
        let table = r.table()?;
        let shape = catalog::shape_of(r.relation, &table.plain())?;
        for (c, l) in r.late() {
            if l.not_null {
                spi::run(&ddl::set_not_null(table, &c.name), &[])?;
            }
            if let Some(attach) = dependents::attach(table, l)
                && !has_constraint(r, l.change.name())?
            {
                spi::run(&attach, &[])?;
            }
            if let Some(comment) = dependents::comment(table, l) {
                spi::run(&comment, &[])?;
            }
        }
        take_over(r, &shape)?;
    }
    Ok(())
}

fn has_constraint(r: &ColumnChange, name: &Ident) -> Result<bool> {
    let found = spi::value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND conname = $2)",
        &[Oid::from(r.relation).into(), name.as_str().into()],
    )?;
    Ok(found.unwrap_or(false))
}

/// Copies comment and privileges of the old column.
fn take_over(r: &ColumnChange, shape: &Shape) -> Result<()> {
    let table = r.table()?;
    let Some(old) = &r.replaces else {
        return Ok(());
    };
    for c in &r.columns {
        let comment = shape.column(&old.name).and_then(|o| o.comment.as_ref());
        if let Some(text) = comment.filter(|_| r.columns.len() == 1) {
            spi::run(&dependents::comment_column(table, &c.name, text), &[])?;
        }
        for g in shape
            .grants
            .iter()
            .filter(|g| g.column.as_ref() == Some(&old.name))
        {
            spi::run(
                &dependents::grant(table, &c.name, &g.privilege, &g.grantee, g.grantable),
                &[],
            )?;
        }
    }
    Ok(())
}

/// Makes the old column authoritative again.
pub fn switch_back(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_all(m, all)?;
    drift::require_none(m)?;
    all.iter()
        .try_for_each(|r| install_trigger(r, SyncStage::Old))
}

/// Makes the new column authoritative: the old one follows it and takes no other writes. A computed column is no longer
/// kept in step.
pub fn stop(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_all(m, all)?;
    drift::require_none(m)?;
    for r in all {
        let table = r.table()?;
        let shape = catalog::shape_of(r.relation, &table.plain())?;
        if r.replaces.is_some() {
            install_trigger(r, SyncStage::New)?;
        } else {
            triggers::drop_all(r)?;
            new_column::record_installed(r)?;
        }
        for c in &r.columns {
            let same = r.replaces.as_ref().and_then(|o| shape.column(&o.name));
            let inherited = same
                .filter(|o| o.type_text == c.type_text && r.columns.len() == 1)
                .and_then(|o| o.default.as_deref());
            if c.column_default.is_some() {
                author::require_author_of_text(&r.describe(), c.author, shape.owner.into())?;
            }
            if let Some(text) = c.column_default.as_deref().or(inherited) {
                let _owner = role::confine(shape.owner.into())?;
                spi::run(&sql::set_default(table, &c.name, Some(text)), &[])?;
            }
        }
    }
    Ok(())
}

pub fn stop_back(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_all(m, all)?;
    drift::require_none(m)?;
    for r in all {
        install_trigger(r, SyncStage::Both)?;
        for c in &r.columns {
            spi::run(&sql::set_default(r.table()?, &c.name, None), &[])?;
        }
    }
    Ok(())
}

/// Adds the suffix to the old column's name, and gives the new column the old name if wanted. The old column still follows.
pub fn put_away(m: &Migration, all: &[ColumnChange], suffix: &str, take_names: bool) -> Result<()> {
    lock_all(m, all)?;
    drift::require_none(m)?;
    for r in all {
        let table = r.table()?;
        for (_, l) in r.late().filter(|(_, l)| l.not_null) {
            if has_constraint(r, l.change.name())? {
                spi::run(&ddl::drop_constraint(table, l.change.name()), &[])?;
            }
        }
        let Some(old) = &r.replaces else { continue };
        let away = Ident::derive(&[&format!("{}{suffix}", old.name.as_str())]);
        spi::run(&sql::rename(table, &old.name, &away), &[])?;
        let takes = take_names && r.columns.len() == 1;
        for c in &r.columns {
            if takes {
                spi::run(&sql::rename(table, &c.name, &old.name), &[])?;
            }
            new_column::set_archived(
                c.id,
                Some(&ArchivedNames {
                    old: old.name.clone(),
                    new: takes.then(|| c.name.clone()),
                }),
            )?;
            let name = if takes { &old.name } else { &c.name };
            new_column::set_names(c.id, name.as_str(), Some(away.as_str()))?;
        }
    }
    Ok(())
}

pub fn take_back(m: &Migration, all: &[ColumnChange]) -> Result<()> {
    lock_all(m, all)?;
    drift::require_none(m)?;
    for r in all {
        let table = r.table()?;
        let Some(old) = &r.replaces else { continue };
        for c in &r.columns {
            let Some(names) = &c.archived else { continue };
            let name = names.new.as_ref().unwrap_or(&c.name);
            if names.new.is_some() {
                spi::run(&sql::rename(table, &c.name, name), &[])?;
            }
            if c.id == r.id {
                spi::run(&sql::rename(table, &old.name, &names.old), &[])?;
            }
            new_column::set_archived(c.id, None)?;
            new_column::set_names(c.id, name.as_str(), Some(names.old.as_str()))?;
        }
    }
    Ok(())
}

/// Removes everything of pg_mig from the tables. The old column is dropped, or stays and becomes nullable: rows may lack it
/// then.
pub fn let_go(m: &Migration, all: &[ColumnChange], drops: bool) -> Result<()> {
    lock_existing(m, all)?;
    for r in all {
        spi::run(&sql::drop_view(r.id), &[])?;
        triggers::drop_all(r)?;
    }
    for r in &existing_tables(all) {
        let table = r.table()?;
        let Some(old) = &r.replaces else { continue };
        if !drops {
            spi::run(&sql::drop_not_null(table, &old.name), &[])?;
            continue;
        }
        // The sequence would be dropped with the column that it belongs to.
        if let Some(sequence) = catalog::sequence_of(table, &old.name)? {
            let heir = &r.columns[0].name;
            spi::run(&sql::hand_over(&sequence, table, heir), &[])?;
        }
        spi::run(&sql::drop_column(table, &old.name), &[])?;
    }
    Ok(())
}
