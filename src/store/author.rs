//! Whose code an object of ours holds.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::records::Mapping;
use crate::pg::{catalog, role, state};
use crate::sqlgen::table;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;

/// What an object of a mapping holds (a view's expressions, a table's triggers and defaults) runs with the owner's rights: so its own
/// owner has to be a role that has these rights. Errors: 55000 otherwise, as after ALTER TABLE OWNER, or if somebody put another object there.
pub fn require_author(object: &QualifiedName, owner: Oid) -> Result<()> {
    let Some(found) = catalog::oid_of(object) else {
        return Ok(());
    };
    let author = catalog::owner_of(found)?;
    if role::has_privileges_of(author, owner) {
        return Ok(());
    }
    Err(Error::refusal(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "{} does not belong to the owner of its table",
            object.plain()
        ),
        format!(
            "It belongs to role {}, and what it holds would run as {}.",
            role::name(author),
            role::name(owner)
        ),
        format!(
            "If you trust what it holds (its definition, defaults and triggers), as a superuser: ALTER TABLE {object} OWNER TO {};",
            role::name(owner)
        ),
    ))
}

/// An object of ours that does not belong to the owner of its table. A restore by a role that may not make objects in our schema for
/// the owner leaves it so, and so does ALTER TABLE OWNER. Mirrors and batches, which run as the table's owner, cannot read it.
pub struct Misplaced {
    object: QualifiedName,
    owner: Oid,
}

/// Returns those of `objects` that exist and belong to another role than `owner`.
pub fn list_misplaced(
    objects: impl Iterator<Item = QualifiedName>,
    owner: Oid,
) -> Result<Vec<Misplaced>> {
    let mut found = Vec::new();
    for object in objects {
        let Some(oid) = catalog::oid_of(&object) else {
            continue;
        };
        if catalog::owner_of(oid)? != owner {
            found.push(Misplaced { object, owner });
        }
    }
    Ok(found)
}

/// Gives the objects to the owners of their tables. Only the owner of pg_mig's schema may make objects there, so the change of owner needs that
/// role's rights. Errors: 55000 if an object's owner lacks the rights of the table's owner.
pub fn give_to_owners(objects: &[Misplaced]) -> Result<()> {
    for Misplaced { object, owner } in objects {
        require_author(object, *owner)?;
        state::define(&table::change_owner(
            object,
            &Ident::new(role::plain_name(*owner)),
        ))?;
    }
    Ok(())
}

/// As `require_author`, for expressions that were stored and are in no view yet. `table` names what they belong to; `author` is unknown for what was
/// stored before 0.8.0, when other roles could write the state.
pub fn require_author_of_text(table: &str, author: Option<u32>, owner: Oid) -> Result<()> {
    let author = author.map(Oid::from);
    if author.is_some_and(|author| role::has_privileges_of(author, owner)) {
        return Ok(());
    }
    let given_by = match author {
        Some(author) => format!("Role {} gave them", role::name(author)),
        None => {
            "They are from a version before 0.8.0, which did not record who gave them".to_owned()
        }
    };
    Err(Error::refusal(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the expressions for {table} are not its owner's"),
        format!(
            "{given_by}, and they would run as {}.",
            role::name(owner)
        ),
        "Read them: SELECT mig_config(); if you trust them, forget the migration with mig_drop and define it again.".into(),
    ))
}

/// Errors if a layout names the id map of another migration: a restored dump holds any layout.
pub fn require_own_maps(all: &[Mapping]) -> Result<()> {
    let ids: Vec<i32> = all.iter().map(|p| p.id).collect();
    for p in all {
        let Some(layout) = &p.layout else { continue };
        let own = layout.drawn.iter().all(|d| d.map.mapping == p.id);
        let mut maps = layout.mapped_columns();
        if !own || !maps.all(|v| ids.contains(&v.map.mapping)) {
            return Err(Error::internal(format!(
                "the layout of mapping {} names the id map of another migration",
                p.id
            )));
        }
    }
    Ok(())
}
