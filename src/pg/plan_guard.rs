//! What pg_mig's own statements are planned over. Their texts name relations, and between the check of a relation and the planning of
//! a statement another role can rename a schema and put an object of its own there. So each plan of a text of ours is looked at when
//! the planner gets it, with the relations already resolved. PostgreSQL runs the plan over these very relations, and plans the text
//! again, here, when one of them changes (plancache.c).

use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::pg::guc::{self, SettingsGuard};
use crate::pg::own_statement::{self, RunningGuard};
use crate::pg::syscache::RelationEntry;
use crate::pg::{application_path, foreign_code, syscache};
use pgrx::PgList;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use std::ffi::{CStr, c_char};

/// Checks each plan of this text until the guard is dropped. A plan may do something to a relation only if the relation's owner has
/// the privileges of the current role: triggers, rules, defaults, policies and a view's expressions are their owner's code. Ordinary
/// tables of other owners may be read, if that runs no function of a user. Otherwise the statement errors with 42501.
pub fn watch(text: &CStr) -> RunningGuard<'_> {
    own_statement::run(text)
}

/// As `watch`, for a statement that finds rows by their keys. It is never planned as a scan of the table: the plan is kept, and the table may
/// be small when it is made and large when it is used. In a SERIALIZABLE transaction a scan also leaves a predicate lock on all of the table.
pub fn watch_look_up(text: &CStr) -> RunningGuard<'_> {
    own_statement::look_up(text)
}

/// Checks the plan of a statement of ours. Returns a guard where settings have been set: the application's search_path, because the planner
/// runs functions of constants, and looks into functions in SQL; and those for look-ups by key.
///
/// # Safety
/// The planner passes a rewritten query and its text.
pub unsafe fn check(query: *mut pg_sys::Query, text: *const c_char) -> Option<SettingsGuard> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if !own_statement::is_text(text) {
            return None;
        }
        let relations = all_relations(query);
        if let Err(error) = require_trusted(query, &relations) {
            ErrorReport::from(error).report(PgLogLevel::ERROR);
        }
        let by_index = own_statement::looks_up().then(|| guc::pin(&[(c"enable_seqscan", c"off")]));
        let path = application_path::switch_for(relations);
        // The outer guard restores what was set inside it, too.
        match by_index {
            None => path,
            outer => {
                path.map(SettingsGuard::into_level);
                outer
            }
        }
    }
}

unsafe fn require_trusted(query: *mut pg_sys::Query, relations: &[Oid]) -> Result<()> {
    let current = syscache::current_role();
    // SAFETY: passed on.
    let written = unsafe { written_relations(query) };
    for relation in relations.iter().copied() {
        let Some(found) = syscache::find_relation(relation) else {
            continue;
        };
        require_trusted_types(relation, current)?;
        if syscache::has_privileges_of(found.owner, current) {
            continue;
        }
        if !written.contains(&relation) && is_passive(relation, &found) {
            continue;
        }
        let detail = format!(
            "It belongs to role {}, whose code (triggers, rules, policies, views) would run with the rights of {}.",
            role_name(found.owner),
            role_name(current)
        );
        let hint = "See whether a schema or table was renamed or given to another role: SELECT * FROM mig_status();";
        return Err(refuse(relation, current, detail, hint));
    }
    Ok(())
}

/// All relations of the query: those in views, policies, rules and subqueries, too.
unsafe fn all_relations(query: *mut pg_sys::Query) -> Vec<Oid> {
    let (mut relations, mut others) = (std::ptr::null_mut(), std::ptr::null_mut());
    let mut policies = false;
    // SAFETY: a walk over the query that only reads it; the lists live in the planner's memory.
    unsafe {
        pg_sys::extract_query_dependencies(
            query.cast(),
            &mut relations,
            &mut others,
            &mut policies,
        );
        PgList::<pg_sys::Oid>::from_pg(relations)
            .iter_oid()
            .collect()
    }
}

/// The relations that the query and its WITH parts write. PostgreSQL allows parts that write only at the top.
unsafe fn written_relations(query: *mut pg_sys::Query) -> Vec<Oid> {
    // SAFETY: the planner passes a whole query: indexes into its range table begin with 1.
    unsafe {
        let parts = PgList::<pg_sys::CommonTableExpr>::from_pg((*query).cteList);
        let parts = parts.iter_ptr().map(|part| (*part).ctequery.cast());
        let written = std::iter::once(query)
            .chain(parts)
            .filter_map(|q: *mut pg_sys::Query| {
                let index = usize::try_from((*q).resultRelation).ok()?.checked_sub(1)?;
                let table = PgList::<pg_sys::RangeTblEntry>::from_pg((*q).rtable).get_ptr(index)?;
                Some((*table).relid)
            });
        written.collect()
    }
}

fn is_passive(relation: Oid, found: &RelationEntry) -> bool {
    found.may_be_passive && foreign_code::runs_nothing_when_read(relation)
}

/// Whether statements of ours may read the relation as the current role. The caller has a lock on it.
pub fn may_be_read(relation: Oid) -> bool {
    syscache::find_relation(relation).is_some_and(|found| {
        syscache::has_privileges_of(found.owner, syscache::current_role())
            || is_passive(relation, &found)
    })
}

/// Statements of ours turn values into JSON and text and back, and PostgreSQL runs code of the value's type for that.
fn require_trusted_types(relation: Oid, current: Oid) -> Result<()> {
    let Some(found) = foreign_code::find_foreign_type(relation, current) else {
        return Ok(());
    };
    let detail = format!(
        "The type of its column \"{}\" brings code of role {} (a domain's constraint, or a cast to json, jsonb or text), which would run with the rights of {}.",
        found.column,
        role_name(found.owner),
        role_name(current)
    );
    let hint = "Give the type, or the cast's function, to a role with these rights: ALTER DOMAIN ... OWNER TO ...;";
    Err(refuse(relation, current, detail, hint))
}

fn refuse(relation: Oid, current: Oid, detail: String, hint: &str) -> Error {
    let name = syscache::relation_name(relation);
    let name = name.map_or_else(|| relation.to_u32().to_string(), |n| n.plain());
    Error::refusal(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!(
            "a statement of pg_mig for role {} is not run over {name}",
            role_name(current)
        ),
        detail,
        hint.to_owned(),
    )
}

fn role_name(role: Oid) -> String {
    Ident::new(syscache::role_name(role)).to_string()
}
