//! Deparses catalog expressions for a table of another name. Inside a sub-select PostgreSQL qualifies an outer column with the name
//! of its table, and pg_get_expr() knows only the table's own name.

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

/// Returns the policies of `relation` as they would be written for a table `name` with columns of the same names.
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

/// Returns an expression over `relation` with some columns replaced by others of the same types. `pairs` has old and new column
/// numbers; no new number is also an old one.
pub fn with_columns(
    tree: &str,
    relation: u32,
    name: &Ident,
    pairs: &[(i16, i16)],
) -> Result<String> {
    let mut changed = tree.to_owned();
    for (old, new) in pairs {
        // Fields of a Var as outfuncs.c writes them: nothing else in a tree has these field names.
        for field in [":varattno", ":varattnosyn"] {
            changed = changed.replace(&format!("{field} {old} "), &format!("{field} {new} "));
        }
    }
    text(&changed, relation, name)
}

fn text(tree: &str, relation: u32, name: &Ident) -> Result<String> {
    let c_string = |s: &str| CString::new(s).map_err(|e| Error::internal(e.to_string()));
    let (tree, name) = (c_string(tree)?, c_string(name.as_str())?);
    // SAFETY: the tree comes from this server's catalog, and its columns' names are looked up in `relation`; the steps of
    // pg_get_expr() (ruleutils.c), with another name. The text is copied out of the current memory context.
    unsafe {
        let node = pg_sys::stringToNode(tree.as_ptr());
        let context = pg_sys::deparse_context_for(name.as_ptr(), Oid::from(relation));
        let text = pg_sys::deparse_expression(node.cast(), context, false, false);
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
