//! Code of other roles that PostgreSQL runs where a table is only read.

use crate::pg::syscache;
use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, PgList};
use std::collections::HashSet;
use std::ffi::CStr;

/// Whether reading the table runs built-in functions only. The planner computes constant parts of index expressions, index predicates and
/// statistics expressions as the reading role (relcache.c, plancat.c), and of CHECKs if constraint_exclusion is on. The relation is locked.
pub fn runs_nothing_when_read(relation: Oid) -> bool {
    lock_indexes(relation);
    // SAFETY: the caller's statement holds a lock on the relation, so that its entry can be opened without another one.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        if table.is_null() {
            return false;
        }
        let checks = (*(*table).rd_att)
            .constr
            .as_ref()
            .is_some_and(|c| c.num_check > 0);
        let excluded = pg_sys::constraint_exclusion
            == pg_sys::ConstraintExclusionType::CONSTRAINT_EXCLUSION_ON.cast_signed();
        let indexes = PgList::<Oid>::from_pg(pg_sys::RelationGetIndexList(table));
        let statistics = PgList::<Oid>::from_pg(pg_sys::RelationGetStatExtList(table));
        let plain = !(checks && excluded)
            && indexes.iter_oid().all(|index| {
                [
                    pg_sys::Anum_pg_index_indexprs,
                    pg_sys::Anum_pg_index_indpred,
                ]
                .iter()
                .all(|n| is_built_in(pg_sys::SysCacheIdentifier::INDEXRELID, index, *n))
            })
            && statistics.iter_oid().all(|of| {
                let number = pg_sys::Anum_pg_statistic_ext_stxexprs;
                is_built_in(pg_sys::SysCacheIdentifier::STATEXTOID, of, number)
            });
        pg_sys::RelationClose(table);
        plain
    }
}

/// Takes the locks that the planner takes on the table's indexes. Otherwise it could wait for one after it was looked at, and find other
/// statistics then.
fn lock_indexes(relation: Oid) {
    // SAFETY: the caller's statement holds a lock on the relation. The indexes' locks are kept to the end of the transaction.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        if table.is_null() {
            return;
        }
        let indexes = PgList::<Oid>::from_pg(pg_sys::RelationGetIndexList(table));
        pg_sys::RelationClose(table);
        for index in indexes.iter_oid() {
            pg_sys::LockRelationOid(index, pg_sys::AccessShareLock.cast_signed());
        }
    }
}

/// Whether the expression in this attribute of a catalog row, if there is one, names built-in objects only. In the text of an expression
/// (`pg_node_tree`) each object is its oid, and users' objects have oids from FirstNormalObjectId on. Other numbers as large make the
/// answer false, which is safe.
unsafe fn is_built_in(cache: pg_sys::SysCacheIdentifier::Type, row: Oid, attribute: u32) -> bool {
    // SAFETY: a catalog look-up inside a transaction; the attribute is a text or null, and is copied before the row is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, pg_sys::Datum::from(row));
        if tuple.is_null() {
            return false;
        }
        let mut null = false;
        let value = pg_sys::SysCacheGetAttr(cache as i32, tuple, attribute as i16, &mut null);
        let built_in = null || {
            let text = pg_sys::text_to_cstring(value.cast_mut_ptr());
            let text = CStr::from_ptr(text).to_string_lossy();
            let numbers = text.split(|c: char| !c.is_ascii_digit());
            numbers.filter(|n| !n.is_empty()).all(|n| {
                n.parse()
                    .is_ok_and(|n: u32| n < pg_sys::FirstNormalObjectId)
            })
        };
        pg_sys::ReleaseSysCache(tuple);
        built_in
    }
}

/// Code of another role that comes with a column's type.
pub struct ForeignType {
    pub column: String,
    pub owner: Oid,
}

/// Finds a column whose type brings code of a role that lacks the privileges of `current`, where a value is converted: a domain with
/// constraints, or a cast to json, jsonb or text by a function. PostgreSQL calls such casts where a value becomes JSON
/// (json_categorize_type in jsonfuncs.c) or text. Types are looked into: arrays, domains, rows and ranges. The relation is locked.
pub fn find_foreign_type(relation: Oid, current: Oid) -> Option<ForeignType> {
    // SAFETY: the caller's statement holds a lock on the relation; names are copied while its entry is open.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        if table.is_null() {
            return None;
        }
        let row = &*(*table).rd_att;
        let all = row.attrs.as_slice(usize::try_from(row.natts).unwrap_or(0));
        let mut seen = HashSet::new();
        let found = all.iter().filter(|a| !a.attisdropped).find_map(|a| {
            let owner = foreign_owner(a.atttypid, current, &mut seen)?;
            let column = CStr::from_ptr(a.attname.data.as_ptr());
            Some(ForeignType {
                column: column.to_string_lossy().into_owned(),
                owner,
            })
        });
        pg_sys::RelationClose(table);
        found
    }
}

/// Returns the owner of such code of a type, or of a type that it is made of. `seen`: types that were looked into already. Types can be
/// nested deeper than the stack is: they wait in a list.
unsafe fn foreign_owner(kind: Oid, current: Oid, seen: &mut HashSet<Oid>) -> Option<Oid> {
    let mut waiting = vec![kind];
    while let Some(kind) = waiting.pop() {
        if kind.to_u32() < pg_sys::FirstNormalObjectId || !seen.insert(kind) {
            continue;
        }
        pgrx::check_for_interrupts!();
        // SAFETY: upheld by the caller.
        unsafe {
            let owner = foreign_cast_owner(kind, current);
            if owner.is_some() {
                return owner;
            }
            // A type that is gone ends nothing: the others are still looked into.
            if pg_sys::get_typtype(kind) as u8 == pg_sys::TYPTYPE_DOMAIN
                && let Some(owner) = syscache::type_owner(kind)
                && !syscache::has_privileges_of(owner, current)
                && pg_sys::DomainHasConstraints(kind)
            {
                return Some(owner);
            }
            waiting.extend(parts(kind));
        }
    }
    None
}

/// Returns the types that a type is made of.
unsafe fn parts(kind: Oid) -> Vec<Oid> {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        match pg_sys::get_typtype(kind) as u8 {
            pg_sys::TYPTYPE_DOMAIN => syscache::domain_base(kind).into_iter().collect(),
            pg_sys::TYPTYPE_RANGE => vec![pg_sys::get_range_subtype(kind)],
            pg_sys::TYPTYPE_MULTIRANGE => vec![pg_sys::get_multirange_range(kind)],
            pg_sys::TYPTYPE_COMPOSITE => {
                let row = pg_sys::get_typ_typrelid(kind);
                let count = syscache::find_relation(row).map_or(0, |r| r.columns);
                (1..=count).map(|n| pg_sys::get_atttype(row, n)).collect()
            }
            _ => vec![pg_sys::get_element_type(kind)],
        }
    }
}

unsafe fn foreign_cast_owner(kind: Oid, current: Oid) -> Option<Oid> {
    let targets = [pg_sys::JSONOID, pg_sys::JSONBOID, pg_sys::TEXTOID];
    let mut casts = targets.iter();
    // SAFETY: upheld by the caller.
    casts.find_map(|to| unsafe { foreign_cast_between(kind, *to, current) })
}

/// Anum_pg_cast_castfunc in pg_cast_d.h.
const CASTFUNC: i16 = 4;

unsafe fn foreign_cast_between(from: Oid, to: Oid, current: Oid) -> Option<Oid> {
    // SAFETY: catalog look-ups inside a transaction; each tuple is read before it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::CASTSOURCETARGET as i32;
        let tuple =
            pg_sys::SearchSysCache2(cache, pg_sys::Datum::from(from), pg_sys::Datum::from(to));
        if tuple.is_null() {
            return None;
        }
        let mut null = false;
        let function = pg_sys::SysCacheGetAttr(cache, tuple, CASTFUNC, &mut null);
        let function = Oid::from_datum(function, null).unwrap_or(Oid::INVALID);
        pg_sys::ReleaseSysCache(tuple);
        let owner = syscache::function_owner(function)?;
        (!syscache::has_privileges_of(owner, current)).then_some(owner)
    }
}
