//! The two tables of a mapping: their names, owner, locks, and the directions between them.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::layout::Layout;
use crate::model::records::Mapping;
use crate::pg::lock::{LockMode, LockRequest};
use crate::pg::{catalog, role};
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::{id_lookup, scope_pin, view_names};
use crate::store::author::{self, Misplaced};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;

pub fn layout(mapping: &Mapping) -> Result<&Layout> {
    mapping.layout.as_ref().ok_or_else(|| not_created(mapping))
}

/// The error for a state that no step leaves behind, as a restored dump can.
fn not_created(mapping: &Mapping) -> Error {
    Error::unsuitable(
        mapping.target_name.plain(),
        "not made: its migration's phase needs what mig_create records".into(),
        "Go back: SELECT mig_rollback(..., 'defined');".into(),
    )
}

/// Returns the forward direction: how writes of the source reach the target.
pub fn forward(mapping: &Mapping) -> Result<Flow> {
    Ok(Flow::forward(
        mapping.id,
        source(mapping)?,
        target(mapping)?,
        layout(mapping)?,
    ))
}

/// Returns the reverse direction: how writes of the target reach the source; None if they cannot.
pub fn reverse(mapping: &Mapping) -> Result<Option<Flow>> {
    let filter = mapping.spec.filter.as_deref();
    Ok(Flow::reverse(
        mapping.id,
        source(mapping)?,
        target(mapping)?,
        layout(mapping)?,
        filter,
    ))
}

pub fn flow(mapping: &Mapping, way: Direction) -> Result<Option<Flow>> {
    match way {
        Direction::Forward => forward(mapping).map(Some),
        Direction::Reverse => reverse(mapping),
    }
}

/// Advice for an application whose writes fail because the mirror has lost something that it needs.
pub const DETACH: &str = "SELECT mig_detach(); gives the application its writes back; then go back with mig_rollback(..., 'defined').";

/// Returns the oid of the target, which `mig_create` has recorded.
pub fn target_oid(mapping: &Mapping) -> Result<Oid> {
    let recorded = mapping.target.map(Oid::from);
    recorded.ok_or_else(|| not_created(mapping))
}

/// Returns the current name of the target.
pub fn target(mapping: &Mapping) -> Result<&QualifiedName> {
    mapping.target_now.as_ref().ok_or_else(|| {
        Error::unsuitable(
            mapping.target_name.plain(),
            "gone: the target was dropped".into(),
            DETACH.into(),
        )
    })
}

/// Returns the current name of the source.
pub fn source(mapping: &Mapping) -> Result<&QualifiedName> {
    mapping.source_name.as_ref().ok_or_else(|| {
        Error::unsuitable(
            format!("the source of {}", mapping.target_name.plain()),
            "gone: the table was dropped".into(),
            DETACH.into(),
        )
    })
}

/// Returns the lock of the source.
pub fn source_lock(mapping: &Mapping, mode: LockMode) -> Result<LockRequest> {
    let name = source(mapping)?;
    Ok(LockRequest::new(mapping.source.into(), name, mode))
}

/// Returns the lock of the target.
pub fn target_lock(mapping: &Mapping, mode: LockMode) -> Result<LockRequest> {
    let name = target(mapping)?;
    Ok(LockRequest::new(target_oid(mapping)?, name, mode))
}

/// Returns the locks of both tables of every mapping, sources first.
pub fn both_sides(mappings: &[Mapping], mode: LockMode) -> Result<Vec<LockRequest>> {
    let sources = mappings.iter().map(|p| source_lock(p, mode));
    let targets = mappings.iter().map(|p| target_lock(p, mode));
    let mut tables: Vec<LockRequest> = Vec::new();
    // Several sources may share a target.
    for table in sources.chain(targets) {
        let table = table?;
        if !tables.iter().any(|known| known.relation == table.relation) {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// Names of the objects in pg_mig's schema that a mapping may have: they belong to the source's owner.
fn own_objects(mapping: i32) -> [QualifiedName; 4] {
    [
        view_names::name(mapping),
        view_names::reverse_name(mapping),
        id_lookup::name(mapping),
        scope_pin::name(mapping),
    ]
}

/// Returns the objects of the mappings that another role than the source's owner owns, with that owner. Errors: 55000 if it lacks the rights
/// of the source's owner.
pub fn list_misplaced_objects(mappings: &[Mapping]) -> Result<Vec<Misplaced>> {
    let mut found = Vec::new();
    for p in mappings {
        let owner = owner(p)?;
        let own = own_objects(p.id).into_iter();
        found.extend(author::list_misplaced(own, owner)?);
    }
    Ok(found)
}

/// Returns the owner of the source. Rows are read and written as this role: expressions run with its rights.
pub fn owner(mapping: &Mapping) -> Result<Oid> {
    let owner = mapping.source_owner.map(Oid::from);
    let owner = owner.ok_or_else(|| catalog::missing_table(&mapping.source_text()))?;
    let own = own_objects(mapping.id);
    for object in &own {
        author::require_author(object, owner)?;
    }
    // The views hold the expressions once they are there, except the filter, which statements name.
    let made = catalog::oid_of(&own[0]).is_some();
    let unknown = mapping.author.is_none();
    if mapping.spec.has_expressions() && !made || mapping.spec.filter.is_some() && !unknown {
        require_author(mapping, owner)?;
    }
    Ok(owner)
}

/// Errors: 55000 if the owner of the table that the application writes lacks the rights of the other one's, which the mirror writes with: after
/// ALTER TABLE OWNER.
pub fn require_owners(mapping: &Mapping, way: Direction) -> Result<()> {
    let owners = [mapping.source_owner, mapping.target_owner].map(|o| o.map(Oid::from));
    let [Some(source_owner), Some(target_owner)] = owners else {
        return Ok(());
    };
    let old = (source(mapping)?, source_owner);
    let new = (target(mapping)?, target_owner);
    let ((touched, toucher), (written, owner)) = match way {
        Direction::Forward => (old, new),
        Direction::Reverse => (new, old),
    };
    if role::has_privileges_of(toucher, owner) {
        return Ok(());
    }
    let [toucher, owner] = [toucher, owner].map(role::name);
    Err(Error::refusal(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "the owner of {} may not write {}",
            touched.plain(),
            written.plain()
        ),
        format!("Role {toucher} lacks rights of role {owner}: the tables have two owners."),
        format!(
            "ALTER TABLE {} OWNER TO {};",
            new.0,
            role::name(source_owner)
        ),
    ))
}

/// Errors: 55000 unless the expressions were given by a role with the owner's rights.
pub fn require_author(mapping: &Mapping, owner: Oid) -> Result<()> {
    if !mapping.spec.has_expressions() {
        return Ok(());
    }
    author::require_author_of_text(&mapping.source_text(), mapping.author, owner)
}
