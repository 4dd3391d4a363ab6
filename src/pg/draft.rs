//! Objects made from a user's text: views, maps of ids, anchors, and whatever is made only to see what PostgreSQL says of such a text.
//! PostgreSQL runs functions while it reads expressions, types and defaults (a literal of a domain's array calls the domain's checks).
//! So the tables' owner makes them, in a schema of its own that nobody has seen before; what stays is then moved to where it belongs.

use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::pg::{catalog, random, role, spi, state};
use crate::sqlgen::table;
use pgrx::pg_sys::Oid;

/// A schema to make objects in.
pub struct Draft {
    schema: Ident,
}

impl Draft {
    /// Makes the schema, which belongs to `owner`. For a look it is taken back with its subtransaction; see `within` otherwise.
    pub fn open(owner: Oid) -> Result<Self> {
        // Nobody can have made a schema of this name to be in our way.
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

    /// The name that `object` has in this schema.
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

/// Runs `make` as `owner`, with a schema to make objects in; then moves what it returns, by kind (`VIEW`, `TABLE`) and final name,
/// into `mig`. Nobody but the owner has rights on it.
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
            state::define(&format!(
                "ALTER {kind} {} SET SCHEMA {}",
                draft.name(&object),
                object.schema
            ))?;
        }
        Ok(())
    })
}

/// Runs `f` with a schema of `owner`'s, which has to be empty again when `f` ends.
pub fn in_draft_schema<T>(owner: Oid, f: impl FnOnce(&Draft) -> Result<T>) -> Result<T> {
    let draft = Draft::open(owner)?;
    let made = f(&draft)?;
    state::define(&format!("DROP SCHEMA {}", draft.schema))?;
    Ok(made)
}

/// Takes back whatever default privileges gave on the relation just made.
pub fn revoke_defaults(relation: &QualifiedName) -> Result<()> {
    for grantee in catalog::grantees(relation)? {
        spi::run(&table::revoke(relation, &grantee), &[])?;
    }
    Ok(())
}
