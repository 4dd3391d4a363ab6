//! Code of other roles that PostgreSQL runs where a table is only read.

use crate::pg::syscache;
use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, PgList};
use std::ffi::CStr;

/// Whether reading the table runs built-in functions only. The planner computes constant parts of index expressions, index predicates and
/// statistics expressions as the reading role (relcache.c, plancat.c), and of CHECKs if constraint_exclusion is on. The relation is locked.
pub fn runs_nothing_when_read(relation: Oid) -> bool {
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

/// A cast that calls a function of another role.
pub struct ForeignCast {
    pub column: String,
    pub owner: Oid,
}

/// Finds a column whose type has a cast to json, jsonb or text by a function whose owner lacks the privileges of `current`. PostgreSQL
/// calls such casts where a value becomes JSON (json_categorize_type in jsonfuncs.c) or text. The relation is locked.
pub fn find_foreign_cast(relation: Oid, current: Oid) -> Option<ForeignCast> {
    // SAFETY: the caller's statement holds a lock on the relation; names are copied while its entry is open.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        if table.is_null() {
            return None;
        }
        let row = &*(*table).rd_att;
        let all = row.attrs.as_slice(usize::try_from(row.natts).unwrap_or(0));
        let found = all.iter().filter(|a| !a.attisdropped).find_map(|a| {
            let owner = foreign_cast_of(a.atttypid, current, 0)?;
            let column = CStr::from_ptr(a.attname.data.as_ptr());
            Some(ForeignCast {
                column: column.to_string_lossy().into_owned(),
                owner,
            })
        });
        pg_sys::RelationClose(table);
        found
    }
}

/// Types of types: domains, arrays and rows; deeper ones are not looked into.
const DEEPEST: u32 = 8;

unsafe fn foreign_cast_of(kind: Oid, current: Oid, depth: u32) -> Option<Oid> {
    if kind.to_u32() < pg_sys::FirstNormalObjectId || depth > DEEPEST {
        return None;
    }
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let base = pg_sys::getBaseType(kind);
        let element = pg_sys::get_element_type(base);
        if element != Oid::INVALID {
            return foreign_cast_of(element, current, depth + 1);
        }
        let targets = [pg_sys::JSONOID, pg_sys::JSONBOID, pg_sys::TEXTOID];
        let own = targets
            .iter()
            .find_map(|to| foreign_cast_between(base, *to, current));
        if own.is_some() {
            return own;
        }
        let row = pg_sys::get_typ_typrelid(base);
        if row == Oid::INVALID {
            return None;
        }
        let count = syscache::find_relation(row).map_or(0, |r| r.columns);
        (1..=count).find_map(|n| foreign_cast_of(pg_sys::get_atttype(row, n), current, depth + 1))
    }
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
