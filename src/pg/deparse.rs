//! Deparses catalog expressions for a table of another name. Inside a sub-select PostgreSQL qualifies an outer column with the name
//! of its table, and pg_get_expr() knows only the table's own name.

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::pg::spi;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgBox, PgList};
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

/// Returns a trigger's WHEN condition over a table whose columns have other names: `rename` returns the name for a column of `relation`.
pub fn trigger_condition(
    tree: &str,
    relation: u32,
    rename: impl Fn(&Ident) -> Option<Ident>,
) -> Result<String> {
    #[derive(Deserialize)]
    struct NumberedColumn {
        attname: Ident,
        attisdropped: bool,
    }
    let columns: Vec<NumberedColumn> = spi::rows(
        "SELECT attname, attisdropped FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 ORDER BY attnum",
        &[Oid::from(relation).into()],
    )?;
    let names = columns.iter().map(|c| match c.attisdropped {
        false => rename(&c.attname).unwrap_or_else(|| c.attname.clone()),
        // Deparsing takes an empty name for a dropped column.
        true => Ident::new(String::new()),
    });
    let names = names
        .map(|name| c_string(name.as_str()))
        .collect::<Result<Vec<_>>>()?;
    let tree = c_string(tree)?;
    // SAFETY: the tree comes from this server's catalog. As pg_get_triggerdef() (ruleutils.c): OLD is the first relation, NEW the second;
    // the columns' names come from their aliases. All is made in the current memory context, from which the text is copied.
    unsafe {
        let mut relations = PgList::<pg_sys::RangeTblEntry>::new();
        let mut aliases = PgList::<std::ffi::c_char>::new();
        for row in [c"old", c"new"] {
            let mut columns = PgList::<pg_sys::String>::new();
            for name in &names {
                columns.push(pg_sys::makeString(pg_sys::pstrdup(name.as_ptr())));
            }
            let mut relation =
                PgBox::<pg_sys::RangeTblEntry>::alloc_node(pg_sys::NodeTag::T_RangeTblEntry);
            relation.rtekind = pg_sys::RTEKind::RTE_VALUES;
            relation.eref = pg_sys::makeAlias(row.as_ptr(), columns.into_pg());
            relations.push(relation.into_pg());
            aliases.push(pg_sys::pstrdup(row.as_ptr()));
        }
        let mut plan = PgBox::<pg_sys::PlannedStmt>::alloc_node(pg_sys::NodeTag::T_PlannedStmt);
        plan.rtable = relations.into_pg();
        let context = pg_sys::deparse_context_for_plan_tree(plan.into_pg(), aliases.into_pg());
        let node = pg_sys::stringToNode(tree.as_ptr());
        let text = pg_sys::deparse_expression(node.cast(), context, true, false);
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|e| Error::internal(e.to_string()))
}

fn text(tree: &str, relation: u32, name: &Ident) -> Result<String> {
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
