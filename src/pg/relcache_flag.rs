//! Whether a table has changed since something was made from what it was.

use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// Raised when one of its relations changes, or when nobody can say which one did.
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

/// From now on, for as long as somebody keeps the flag.
pub fn relations(relations: Vec<pg_sys::Oid>) -> Rc<InvalidationFlag> {
    if !REGISTERED.replace(true) {
        // SAFETY: the callback lives as long as the library, which is never unloaded.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0)) };
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

/// Only raises flags: it may be called in the middle of anything.
#[pg_guard]
extern "C-unwind" fn changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
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
