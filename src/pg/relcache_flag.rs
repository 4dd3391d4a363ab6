//! Relcache invalidation: whether a table has changed since something was derived from its definition.

use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// Raised when one of its relations changes, when the invalidation names no relation, and when a schema, a role, a role's membership or
/// a cast changes: plans name relations by their schemas, and triggers trust owners.
pub struct InvalidationFlag {
    relations: Vec<pg_sys::Oid>,
    raised: Cell<bool>,
}

impl InvalidationFlag {
    pub fn relations(&self) -> impl Iterator<Item = pg_sys::Oid> {
        self.relations.iter().copied()
    }

    pub fn is_raised(&self) -> bool {
        self.raised.get()
    }
}

thread_local! {
    static WATCHED: RefCell<Vec<Weak<InvalidationFlag>>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Watches these relations from now on, for as long as the flag is kept.
pub fn relations(relations: Vec<pg_sys::Oid>) -> Rc<InvalidationFlag> {
    if !REGISTERED.replace(true) {
        // SAFETY: the callback lives as long as the library, which is never unloaded.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(raise_flags), pg_sys::Datum::from(0));
            for cache in [
                pg_sys::SysCacheIdentifier::NAMESPACEOID,
                pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
                pg_sys::SysCacheIdentifier::AUTHOID,
                pg_sys::SysCacheIdentifier::CASTSOURCETARGET,
            ] {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(raise_all), 0.into());
            }
        }
    }
    let flag = Rc::new(InvalidationFlag {
        relations,
        raised: Cell::new(false),
    });
    WATCHED.with_borrow_mut(|all| {
        all.retain(|f| f.strong_count() > 0);
        all.push(Rc::downgrade(&flag));
    });
    flag
}

/// Only raises flags, because it may be called at any point of the server's work.
#[pg_guard]
extern "C-unwind" fn raise_flags(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    WATCHED.with(|all| {
        if let Ok(all) = all.try_borrow() {
            for flag in all.iter().filter_map(Weak::upgrade) {
                if relation == pg_sys::InvalidOid || flag.relations.contains(&relation) {
                    flag.raised.set(true);
                }
            }
        }
    });
}

#[pg_guard]
extern "C-unwind" fn raise_all(argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    raise_flags(argument, pg_sys::InvalidOid);
}
