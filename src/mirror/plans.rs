//! Plans of the mirrors that this session has met, dropped when their tables change.

use crate::error::{Error, Result};
use crate::pg::{plan, role};
use crate::sqlgen::mirror;
use crate::store::mapping::{self, Registered};
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Everything that one trigger needs to run.
pub struct Mirror {
    relations: [pg_sys::Oid; 3],
    stale: Cell<bool>,
    /// Owner of the table that is written.
    pub owner: pg_sys::Oid,
    pub target_name: String,
    attributes: Vec<KeyAttribute>,
    pub upsert: plan::KeptPlan,
    pub delete: plan::KeptPlan,
    pub exists: plan::KeptPlan,
    pub clear: plan::KeptPlan,
    /// None where the target's key cannot be updated (GENERATED ALWAYS AS IDENTITY).
    pub rekey: Option<plan::KeptPlan>,
    pub lock: Option<plan::KeptPlan>,
}

/// Where a key column stands in the source's row, and how its values are stored.
struct KeyAttribute {
    number: i16,
    length: i16,
    by_value: bool,
}

impl KeyAttribute {
    fn new(number: i16, type_oid: pg_sys::Oid) -> Self {
        let (mut length, mut by_value) = (0, false);
        // SAFETY: a catalog look-up that fills two variables of ours.
        unsafe { pg_sys::get_typlenbyval(type_oid, &mut length, &mut by_value) };
        Self {
            number,
            length,
            by_value,
        }
    }

    /// Equal bit by bit, as datumIsEqual() has it.
    ///
    /// # Safety
    /// Both datums are of this column.
    unsafe fn same_image(&self, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        if self.by_value {
            return a.value() == b.value();
        }
        // SAFETY: not by value, so a pointer to `length` bytes, or to a varlena that knows its size.
        let bytes = |d: pg_sys::Datum| unsafe {
            let size = match self.length {
                -1 => pgrx::varsize_any(d.cast_mut_ptr()),
                n => usize::from(n.unsigned_abs()),
            };
            std::slice::from_raw_parts(d.cast_mut_ptr::<u8>(), size)
        };
        // A C string (length -2) is no type for a key column.
        self.length != -2 && bytes(a) == bytes(b)
    }
}

thread_local! {
    static MIRRORS: RefCell<HashMap<pg_sys::Oid, Rc<Mirror>>> = RefCell::new(HashMap::new());
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// The mirror of the trigger that fired, from the session's cache or made anew.
pub fn of(data: &pg_sys::TriggerData) -> Result<Rc<Mirror>> {
    // SAFETY: both pointers are valid while the trigger runs.
    let (trigger, relation) = unsafe { (&*data.tg_trigger, (*data.tg_relation).rd_id) };
    let known = MIRRORS.with_borrow(|m| m.get(&trigger.tgoid).cloned());
    if let Some(found) = known.filter(|m| !m.stale.get() && m.relations[0] == relation) {
        return Ok(found);
    }
    watch();
    // SAFETY: `trigger` is the running trigger.
    let made = Rc::new(make(unsafe { mapping_id(trigger)? }, trigger, relation)?);
    // The old entry is freed outside the borrow, and only when no call further up still uses it.
    let replaced = MIRRORS.with_borrow_mut(|m| m.insert(trigger.tgoid, Rc::clone(&made)));
    drop(replaced);
    Ok(made)
}

/// # Safety
/// `trigger` is the running trigger.
unsafe fn mapping_id(trigger: &pg_sys::Trigger) -> Result<i32> {
    // SAFETY: tgargs has tgnargs C strings.
    let text = unsafe {
        if trigger.tgnargs != 1 {
            return Err(stray());
        }
        std::ffi::CStr::from_ptr(*trigger.tgargs).to_string_lossy()
    };
    text.parse().map_err(|_| stray())
}

fn stray() -> Error {
    Error::Sql {
        code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        message: "this trigger was not installed by mig_dual_write".into(),
        detail: Some("mig.mirror() serves registered tables only.".into()),
    }
}

fn make(id: i32, trigger: &pg_sys::Trigger, relation: pg_sys::Oid) -> Result<Mirror> {
    let found = mapping::registered(id)?.ok_or_else(stray)?;
    let (owner, view) = trusted(&found, trigger, relation)?;
    let (layout, target) = (
        mapping::layout(&found.mapping)?,
        mapping::target(&found.mapping)?,
    );
    let sql = mirror::statements(id, target, layout);
    let types: Vec<pg_sys::Oid> = found
        .attributes
        .iter()
        .map(|(_, t)| pg_sys::Oid::from(*t))
        .collect();
    if types.len() != layout.key.len() {
        return Err(Error::ShapeDiffers {
            relation: found.mapping.source_text(),
            detail: "Its primary key is not the one that the mapping was made for.".into(),
            hint: "Restore the key, or take the mirror out with mig_rollback.".into(),
        });
    }
    let both: Vec<pg_sys::Oid> = types.iter().chain(&types).copied().collect();
    // Planned as the owner: row-level security and rights are decided for him.
    let _owner = role::act_as(owner);
    let connection = plan::connect()?;
    let planned = |sql: Option<&String>, types: &[pg_sys::Oid]| {
        sql.map(|sql| connection.prepare(sql, types)).transpose()
    };
    Ok(Mirror {
        relations: [
            relation,
            pg_sys::Oid::from(found.mapping.target.unwrap_or(0)),
            view,
        ],
        stale: Cell::new(false),
        owner,
        target_name: target.plain(),
        attributes: found
            .attributes
            .iter()
            .map(|(n, t)| KeyAttribute::new(*n, pg_sys::Oid::from(*t)))
            .collect(),
        upsert: connection.prepare(&sql.upsert, &types)?,
        delete: connection.prepare(&sql.delete, &types)?,
        exists: connection.prepare(&sql.exists, &types)?,
        clear: connection.prepare(&sql.clear, &[])?,
        rekey: planned((!found.fixed_identity).then_some(&sql.rekey), &both)?,
        lock: planned(sql.lock.as_ref(), &types)?,
    })
}

/// Owner of the target and oid of the view, if this trigger is the one we installed, and if the owner of the
/// table it sits on could write the target himself: a row forged into our state gains nobody anything.
fn trusted(
    found: &Registered,
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
) -> Result<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: the name is a C string that lives as long as the trigger.
    let name = unsafe { std::ffi::CStr::from_ptr(trigger.tgname) }.to_string_lossy();
    let p = &found.mapping;
    let ours = mirror::KINDS
        .iter()
        .any(|kind| mirror::trigger_name(p.id, kind).as_str() == name);
    let oid = |o: Option<u32>| o.map(pg_sys::Oid::from);
    match (
        oid(p.source_owner),
        oid(p.target_owner),
        oid(found.view_owner),
        oid(found.view),
    ) {
        (Some(source), Some(target), Some(view_owner), Some(view))
            if ours
                && relation == pg_sys::Oid::from(p.source)
                && role::has_privileges_of(source, target)
                && role::has_privileges_of(source, view_owner) =>
        {
            Ok((target, view))
        }
        (_, None, ..) => mapping::target(p).and_then(|_| Err(stray())),
        (.., None) if ours => Err(Error::Unsuitable {
            relation: crate::sqlgen::view::name(p.id).plain(),
            kind: "gone: the view that says what a new row is was dropped".into(),
            hint: mapping::DETACH.into(),
        }),
        _ => Err(stray()),
    }
}

impl Mirror {
    /// # Safety
    /// `tuple` is a row of `relation`.
    pub unsafe fn key_of(
        &self,
        relation: pg_sys::Relation,
        tuple: pg_sys::HeapTuple,
    ) -> Vec<pg_sys::Datum> {
        let mut null = false;
        // SAFETY: key columns exist and are not null.
        let value = |k: &KeyAttribute| unsafe {
            pg_sys::heap_getattr(tuple, i32::from(k.number), (*relation).rd_att, &mut null)
        };
        self.attributes.iter().map(value).collect()
    }

    /// # Safety
    /// Both keys came from `key_of`, of rows that are still there.
    pub unsafe fn same_key(&self, a: &[pg_sys::Datum], b: &[pg_sys::Datum]) -> bool {
        // SAFETY: length and by-value flag are those of the key's type.
        self.attributes
            .iter()
            .zip(a.iter().zip(b))
            .all(|(k, (a, b))| unsafe { k.same_image(*a, *b) })
    }
}

/// Registers for the server's messages about changed relations, once for the session.
fn watch() {
    if !WATCHING.replace(true) {
        // SAFETY: the callback lives as long as the library, which is never unloaded.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0)) };
    }
}

/// Only sets flags: it may be called in the middle of anything.
#[pg_guard]
extern "C-unwind" fn changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    MIRRORS.with(|mirrors| {
        if let Ok(mirrors) = mirrors.try_borrow() {
            let hit =
                |m: &&Rc<Mirror>| relation == pg_sys::InvalidOid || m.relations.contains(&relation);
            mirrors.values().filter(hit).for_each(|m| m.stale.set(true));
        }
    });
}
