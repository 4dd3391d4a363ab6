//! The archive: sources are renamed, and restored. All of them, or none.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::archive::{ArchivedTable, SharedSequence};
use crate::model::records::{Mapping, Migration};
use crate::model::shape::Shape;
use crate::pg::notice::notice;
use crate::pg::{catalog, draft, lock, role, spi, state};
use crate::relation::{id_pairs, scope_pin, sequence, triggers};
use crate::settings;
use crate::sqlgen::archive;
use crate::store::{mapping, sides};
use pgrx::pg_sys::Oid;

/// Returns the objects of others that depend on the sources: they would follow the sources into the archive.
pub fn dependents(mappings: &[Mapping]) -> Result<Vec<String>> {
    let mut found: Vec<String> = catalog::outside_dependents(mappings.iter().map(|p| p.source))?
        .into_iter()
        .map(|d| d.what)
        .collect();
    found.dedup();
    Ok(found)
}

/// Returns what the filters leave out: one text for each table that has such rows.
pub fn list_left_rows(mappings: &[Mapping]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for p in mappings {
        let Some(filter) = &p.spec.filter else {
            continue;
        };
        let source = sides::source(p)?;
        let _owner = role::confine_reading(sides::owner(p)?)?;
        let rows = spi::value::<i64>(&archive::count_rest(source, filter), &[])?.unwrap_or(0);
        if rows > 0 {
            found.push(format!("{rows} rows of {}", source.plain()));
        }
    }
    Ok(found)
}

/// Renames the sources with their indexes, hands their sequences over to the targets, and creates views under the old names
/// if wanted. Locks both sides AccessExclusive until commit, for catalog changes only.
pub fn archive_tables(
    m: &Migration,
    mappings: &[Mapping],
    suffix: &str,
    views: bool,
) -> Result<()> {
    lock_both(m, mappings)?;
    for p in mappings {
        let old = catalog::shape_of(p.source, &p.source_text())?;
        let mut done = ArchivedTable {
            name: old.name.clone(),
            indexes: indexes(&old, suffix),
            sequences: shared_sequences(p)?,
            view: views,
            view_text: None,
        };
        require_free_name(p, &archive_name(&old.name, suffix), |_| {
            let other = Literal(if suffix == "_old" { "_before" } else { "_old" });
            let call = format!("mig_archive({}, suffix => {other}", Literal(&m.name));
            let views = if views { ", compat_views => true" } else { "" };
            format!("Another suffix avoids it: SELECT * FROM {call}{views});")
        })?;
        hand_over(p)?;
        for sql in renames(&old, suffix) {
            spi::run(&sql, &[])?;
        }
        for s in &done.sequences {
            grant_as_before(p, s)?;
        }
        if views {
            create_compat_view(p, &old.name, &old, suffix)?;
            done.view_text = catalog::view_text(&old.name)?;
        }
        mapping::set_archived(p.id, Some(&done))?;
    }
    Ok(())
}

/// Errors: 42P07 if a relation other than the source has the name.
fn require_free_name(
    p: &Mapping,
    name: &QualifiedName,
    hint: impl FnOnce(&QualifiedName) -> String,
) -> Result<()> {
    match catalog::oid_of(name) {
        Some(oid) if oid != Oid::from(p.source) => Err(Error::name_taken(name, hint(name))),
        _ => Ok(()),
    }
}

/// A name that a relation can have which is in the way.
fn other_name(of: &QualifiedName) -> Ident {
    Ident::derive(&[of.name.as_str(), "other"])
}

fn archive_name(of: &QualifiedName, suffix: &str) -> QualifiedName {
    rename_in_schema(of, &ArchivedTable::add_suffix(&of.name, suffix))
}

/// Returns the statements that archive one source, in order.
pub fn statements(p: &Mapping, old: &Shape, suffix: &str) -> Result<Vec<String>> {
    let mut made = handed_over(p)?;
    made.extend(renames(old, suffix));
    Ok(made)
}

fn handed_over(p: &Mapping) -> Result<Vec<String>> {
    if p.target.is_none() {
        return Ok(Vec::new());
    }
    let target = sides::target(p)?;
    let shared = shared_sequences(p)?;
    let each = shared.iter().flat_map(|s| archive::hand_over(s, target));
    Ok(each.collect())
}

fn hand_over(p: &Mapping) -> Result<()> {
    let statements = handed_over(p)?;
    let _owner = role::confine(sides::owner(p)?)?;
    for sql in statements {
        spi::run(&sql, &[])?;
    }
    Ok(())
}

/// Returns the renames. They run with the caller's rights, because a rename needs CREATE on the schema; they contain
/// nothing but names.
fn renames(old: &Shape, suffix: &str) -> Vec<String> {
    let table = archive::rename_table(
        &old.name,
        &ArchivedTable::add_suffix(&old.name.name, suffix),
    );
    let index =
        |(before, after)| archive::rename_index(&rename_in_schema(&old.name, &before), &after);
    std::iter::once(table)
        .chain(indexes(old, suffix).into_iter().map(index))
        .collect()
}

/// Returns the names of the source's indexes, before and after.
fn indexes(old: &Shape, suffix: &str) -> Vec<(Ident, Ident)> {
    let names = old.indexes.iter().map(|i| &i.name);
    names
        .map(|n| (n.clone(), ArchivedTable::add_suffix(n, suffix)))
        .collect()
}

fn lock_both(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let tables = sides::both_sides(mappings, lock::LockMode::AccessExclusive)?;
    lock::lock_all(&tables, settings::lock_timeout_ms(m))
}

/// Returns another name in the same schema.
fn rename_in_schema(of: &QualifiedName, name: &Ident) -> QualifiedName {
    QualifiedName {
        schema: of.schema.clone(),
        name: name.clone(),
    }
}

fn shared_sequences(p: &Mapping) -> Result<Vec<SharedSequence>> {
    spi::rows(
        include_str!("../../sql/query/shared_sequences.sql"),
        &[Oid::from(p.source).into(), sides::target_oid(p)?.into()],
    )
}

/// Gives the sequence of a new identity the privileges of the old sequence, in place of those from default privileges.
fn grant_as_before(p: &Mapping, s: &SharedSequence) -> Result<()> {
    if s.identity.is_empty() {
        return Ok(());
    }
    let Some(own) = catalog::sequence_of(sides::target(p)?, &s.target_column)? else {
        return Ok(());
    };
    let _owner = role::confine(sides::owner(p)?)?;
    sequence::grant_as(&own, Some(&s.sequence))
}

fn create_compat_view(p: &Mapping, name: &QualifiedName, old: &Shape, suffix: &str) -> Result<()> {
    let (target, layout) = (sides::target(p)?, sides::layout(p)?);
    let owner = Oid::from(old.owner);
    let archive = archive_name(name, suffix);
    let filter = p.spec.filter.as_deref();
    draft::in_draft_schema(owner, |draft| {
        let drafted = draft.name(name);
        {
            let _owner = role::confine(owner)?;
            let rest = filter.map(|f| (&archive, f));
            spi::run(
                &archive::compat_view(&drafted, old, target, layout, rest),
                &[],
            )?;
            draft::revoke_defaults(&drafted)?;
            for sql in archive::compat_grants(&drafted, old) {
                spi::run(&sql, &[])?;
            }
        }
        // With the caller's rights: this needs CREATE on that schema.
        let there = format!("ALTER VIEW {drafted} SET SCHEMA {}", name.schema);
        spi::run(&there, &[])
    })?;
    let view = catalog::oid_of(name).ok_or_else(|| catalog::missing_table(&name.plain()))?;
    let home = filter.map(|_| p.source);
    let guard = archive::compat_guard(p.id, name, sides::target_oid(p)?.to_u32(), home);
    state::define_triggers(view, name, &[guard])?;
    for sql in archive::compat_maps(old, layout) {
        spi::run(&sql, &[])?;
    }
    Ok(())
}

/// Restores the old names, gives the sequences back to the sources and drops the views.
pub fn restore_names(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    lock_both(m, mappings)?;
    for p in mappings {
        let Some(was) = &p.archived else {
            continue;
        };
        if was.view {
            // As the owner: another role's view that has the name by now stays.
            let _owner = role::confine(sides::owner(p)?)?;
            if catalog::view_text(&was.name)?.is_some() {
                spi::run(&format!("DROP VIEW {}", was.name), &[])?;
            }
        }
        let now = sides::source(p)?;
        require_free_name(p, &was.name, |name| {
            format!(
                "ALTER TABLE {name} RENAME TO {}; then call again.",
                other_name(name)
            )
        })?;
        // Somebody may have given names back by hand.
        if now.name != was.name.name {
            spi::run(&archive::rename_table(now, &was.name.name), &[])?;
        }
        let shape = catalog::shape_of(p.source, &p.source_text())?;
        let there = |name: &Ident| shape.indexes.iter().any(|i| i.name == *name);
        for (before, after) in was.indexes.iter().filter(|(_, after)| there(after)) {
            let index = rename_in_schema(now, after);
            require_free_name(p, &rename_in_schema(now, before), |name| {
                format!(
                    "ALTER INDEX {name} RENAME TO {}; then call again.",
                    other_name(name)
                )
            })?;
            spi::run(&archive::rename_index(&index, before), &[])?;
        }
        for s in &was.sequences {
            hand_back(p, s, &was.name)?;
        }
        mapping::set_archived(p.id, None)?;
    }
    Ok(())
}

fn hand_back(p: &Mapping, s: &SharedSequence, source: &QualifiedName) -> Result<()> {
    let target = sides::target(p)?;
    let own = match s.identity.as_str() {
        "" => None,
        _ => Some(
            catalog::sequence_of(target, &s.target_column)?.ok_or_else(|| {
                Error::internal(format!(
                    "column {} of {target} has lost its identity",
                    s.target_column
                ))
            })?,
        ),
    };
    let _owner = role::confine(sides::owner(p)?)?;
    for sql in archive::hand_back(s, source, target, own.as_ref()) {
        spi::run(&sql, &[])?;
    }
    Ok(())
}

/// Takes the archived table out of the view that has its name, so that the table can be dropped.
fn leave_target_alone(p: &Mapping) -> Result<()> {
    let Some(was) = p.archived.as_ref().filter(|was| was.view) else {
        return Ok(());
    };
    let old = catalog::shape_of(p.source, &p.source_text())?;
    let sql = archive::compat_view(&was.name, &old, sides::target(p)?, sides::layout(p)?, None);
    let _owner = role::confine(sides::owner(p)?)?;
    spi::run(&sql, &[])?;
    Ok(())
}

/// Drops pg_mig's views and triggers, and the archived tables if wanted.
pub fn let_go(m: &Migration, mappings: &[Mapping], drop_tables: bool) -> Result<()> {
    let mut tables = Vec::new();
    for p in mappings.iter().filter(|p| p.source_name.is_some()) {
        tables.push(sides::source_lock(p, lock::LockMode::AccessExclusive)?);
    }
    let parents = scope_pin::locks(mappings)?;
    let elsewhere = triggers::locks_elsewhere(mappings, lock::LockMode::AccessExclusive)?;
    lock::lock_all(
        &[&tables[..], &parents, &elsewhere].concat(),
        settings::lock_timeout_ms(m),
    )?;
    scope_pin::remove(mappings)?;
    for p in mappings {
        triggers::drop_views(p.id)?;
        triggers::drop_all(p)?;
    }
    let views = mappings
        .iter()
        .any(|p| p.archived.as_ref().is_some_and(|a| a.view));
    for p in mappings {
        let Some(drawn) = p.layout.as_ref().and_then(|l| l.drawn.as_ref()) else {
            continue;
        };
        if let Some(kept) = id_pairs::drop_or_keep_map(p, drawn, views || settings::keep_map(m))? {
            notice(&format!(
                "old and new ids of {} stay in {}",
                p.source_text(),
                kept.plain()
            ));
        }
    }
    if drop_tables {
        for p in mappings.iter().filter(|p| p.spec.filter.is_some()) {
            leave_target_alone(p)?;
        }
    }
    if drop_tables && !tables.is_empty() {
        let names: Vec<String> = tables.iter().map(|t| t.name.to_string()).collect();
        spi::run(&format!("DROP TABLE {}", names.join(", ")), &[])?;
    }
    Ok(())
}
