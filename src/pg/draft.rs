//! Objects made from a user's text: views, id maps, and objects made only to see what PostgreSQL says of such a text. PostgreSQL
//! runs functions while it reads expressions, types and defaults (a literal of a domain's array calls the domain's checks). So the
//! table's owner makes the objects, in a new schema of its own whose name nobody could know. Objects that are kept are then moved
//! to their final schema.

use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::pg::{catalog, random, role, spi, state, syscache};
use crate::sqlgen::table;
use pgrx::pg_sys::Oid;

/// A temporary schema to make objects in.
pub struct Draft {
    schema: Ident,
}

impl Draft {
    /// Creates the schema, which belongs to `owner`. A caller that only probes rolls it back with its subtransaction; see
    /// `in_draft_schema` otherwise.
    pub fn open(owner: Oid) -> Result<Self> {
        // The name is random, so nobody can have created a schema of this name beforehand.
        let draft = Self {
            schema: Ident::new(format!("mig:draft:{:016x}", random::number()?)),
        };
        state::define(&format!(
            "CREATE SCHEMA {} AUTHORIZATION {}",
            draft.schema,
            role::name(owner)
        ))?;
        Ok(draft)
    }

    /// Returns the name that `object` has in this schema.
    pub fn name(&self, object: &QualifiedName) -> QualifiedName {
        self.qualify(&object.name)
    }

    pub fn qualify(&self, name: &Ident) -> QualifiedName {
        QualifiedName {
            schema: self.schema.clone(),
            name: name.clone(),
        }
    }
}

/// Runs `make` as `owner`, with a schema to make objects in. Then moves the objects that it returns, by kind (`VIEW`, `TABLE`) and
/// final name, into `mig`. Only the owner has rights on them.
pub fn make<'a>(
    owner: Oid,
    make: impl FnOnce(&Draft) -> Result<Vec<(&'a str, QualifiedName)>>,
) -> Result<()> {
    in_draft_schema(owner, |draft| {
        let made = {
            let _owner = role::confine(owner)?;
            let made = make(draft)?;
            for (_, object) in &made {
                revoke_defaults(&draft.name(object))?;
            }
            made
        };
        for (kind, object) in made {
            let name = draft.name(&object);
            let made = catalog::oid_of(&name).and_then(syscache::owner_of);
            // Its owner can rename schemas.
            if made != Some(owner) {
                return Err(catalog::missing_table(&name.plain()));
            }
            state::define(&format!(
                "ALTER {kind} {} SET SCHEMA {}",
                draft.name(&object),
                object.schema
            ))?;
        }
        Ok(())
    })
}

/// Runs `f` with a schema that `owner` owns. The schema must be empty again when `f` ends.
pub fn in_draft_schema<T>(owner: Oid, f: impl FnOnce(&Draft) -> Result<T>) -> Result<T> {
    let draft = Draft::open(owner)?;
    let made = f(&draft)?;
    state::define(&format!("DROP SCHEMA {}", draft.schema))?;
    Ok(made)
}

/// Revokes the rights that default privileges granted on the relation just made.
pub fn revoke_defaults(relation: &QualifiedName) -> Result<()> {
    for grantee in catalog::grantees(relation)? {
        spi::run(&table::revoke(relation, &grantee), &[])?;
    }
    Ok(())
}
