//! Expressions of the catalog as text that speaks of another table. Inside a sub-select PostgreSQL writes an outer column with
//! the name of its table, and pg_get_expr() knows only the name that the table has.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::pg::spi;
use pgrx::pg_sys::{self, Oid};
use serde::Deserialize;
use std::ffi::{CStr, CString};

/// A policy's expressions.
pub struct PolicyText {
    pub name: Ident,
    pub using: Option<String>,
    pub check: Option<String>,
}

/// The policies of `relation`, as they would be written for a table `name` with columns of the same names.
pub fn policies_as(relation: u32, name: &Ident) -> Result<Vec<PolicyText>> {
    #[derive(Deserialize)]
    struct StoredPolicy {
        polname: Ident,
        polqual: Option<String>,
        polwithcheck: Option<String>,
    }
    let stored: Vec<StoredPolicy> = spi::rows(
        "SELECT polname, polqual::text, polwithcheck::text FROM pg_catalog.pg_policy WHERE polrelid = $1 ORDER BY polname",
        &[Oid::from(relation).into()],
    )?;
    let mut found = Vec::new();
    for s in stored {
        let text = |tree: Option<String>| tree.map(|t| text(&t, relation, name)).transpose();
        found.push(PolicyText {
            name: s.polname,
            using: text(s.polqual)?,
            check: text(s.polwithcheck)?,
        });
    }
    Ok(found)
}

/// An expression over `relation`, with some of its columns in the place of others of the same types: pairs of old and new numbers,
/// no new one of which is an old one.
pub fn with_columns(
    tree: &str,
    relation: u32,
    name: &Ident,
    pairs: &[(i16, i16)],
) -> Result<String> {
    let mut changed = tree.to_owned();
    for (old, new) in pairs {
        // A Var's fields, as outfuncs.c writes them: nothing else in a tree has these names.
        for field in [":varattno", ":varattnosyn"] {
            changed = changed.replace(&format!("{field} {old} "), &format!("{field} {new} "));
        }
    }
    text(&changed, relation, name)
}

fn text(tree: &str, relation: u32, name: &Ident) -> Result<String> {
    let c_string = |s: &str| CString::new(s).map_err(|e| Error::Internal(e.to_string()));
    let (tree, name) = (c_string(tree)?, c_string(name.as_str())?);
    // SAFETY: the tree comes from the catalog of this server, and the names that its columns have are looked up in `relation`;
    // what pg_get_expr() does (ruleutils.c), with another name. The text is copied out of the current memory context.
    unsafe {
        let node = pg_sys::stringToNode(tree.as_ptr());
        let context = pg_sys::deparse_context_for(name.as_ptr(), Oid::from(relation));
        let text = pg_sys::deparse_expression(node.cast(), context, false, false);
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
