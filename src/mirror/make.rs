//! What a trigger needs, made from the mapping that it belongs to.

use super::merged::{self, Merged};
use super::plans::{Forth, Later, Mirror, Names, stray};
use crate::error::{Error, Result};
use crate::model::layout::merge::Merge;
use crate::pg::direct::Direct;
use crate::pg::image::KeyColumns;
use crate::pg::{plan, role, watch};
use crate::sqlgen::flow::{Flow, Way};
use crate::sqlgen::mirror::MergeSql;
use crate::sqlgen::{mirror, trigger};
use crate::store::mapping::{self, Registered};
use pgrx::prelude::*;

/// `leader`: the flow whose trigger it is, if that is another mapping's.
pub(super) fn mirror(
    id: i32,
    way: Way,
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
    leader: Option<&Flow>,
) -> Result<Mirror> {
    let found = mapping::registered(id, way)?.ok_or_else(stray)?;
    let flow = mapping::flow(&found.mapping, way)?.ok_or_else(stray)?;
    let parties = trusted(&found, &flow, leader.unwrap_or(&flow), trigger, relation)?;
    let partners = match (way, leader) {
        (Way::Reverse, None) => merged::partners(&found, &flow, trigger, relation)?,
        _ => Vec::new(),
    };
    let sql = mirror::statements(&flow);
    let types: Vec<pg_sys::Oid> = found
        .attributes
        .iter()
        .map(|(_, t)| pg_sys::Oid::from(*t))
        .collect();
    if types.len() != flow.key.len() {
        return Err(Error::ShapeDiffers {
            relation: flow.touched.plain(),
            detail: "Its primary key is not the one that the mapping was made for.".into(),
            hint: "Restore the key, or take the mirror out with mig_rollback.".into(),
        });
    }
    let truncated: Vec<Flow> = mapping::truncated_with(id, way)?
        .iter()
        .filter_map(|p| mapping::flow(p, way).transpose())
        .collect::<Result<_>>()?;
    let both: Vec<pg_sys::Oid> = types.iter().chain(&types).copied().collect();
    // Planned as the owner: row-level security and rights are decided for him.
    let _owner = role::act_as(parties.owner);
    let connection = plan::connect()?;
    let planned = |sql: Option<&String>, types: &[pg_sys::Oid]| {
        sql.map(|sql| connection.prepare(sql, types)).transpose()
    };
    let forth = match way {
        Way::Reverse if found.rewrites || sql.may_change => {
            let forward = mapping::forward(&found.mapping)?.asked_by_written();
            let forward = mirror::statements(&forward);
            Some(Forth {
                returns: connection.prepare(&sql.returns, &types)?,
                again: connection.prepare(&forward.update, &types)?,
                exists: connection.prepare(&forward.exists, &types)?,
            })
        }
        _ => None,
    };
    let later = match found.catching_up {
        true => Some(Later {
            note: connection.prepare(&mirror::note(&flow), &types)?,
            early: match &found.late_checks {
                None => None,
                Some(names) => Some([
                    connection.prepare(&format!("SET CONSTRAINTS {names} IMMEDIATE"), &[])?,
                    connection.prepare(&format!("SET CONSTRAINTS {names} DEFERRED"), &[])?,
                ]),
            },
        }),
        false => None,
    };
    let all = |sql: &[String]| -> Result<Vec<plan::KeptPlan>> {
        sql.iter()
            .map(|sql| connection.prepare(sql, &types))
            .collect()
    };
    let noting = match way {
        Way::Forward => !found.mapping.settled,
        Way::Reverse => found.catching_up,
    };
    let names = match &sql.unready {
        None => None,
        Some(unready) => Some(Names {
            unready: connection.prepare(unready, &types)?,
            give: all(&sql.give_named)?,
            note: planned(noting.then(|| mirror::note(&flow)).as_ref(), &types)?,
        }),
    };
    let merge = found.mapping.merge();
    let decides = merge.is_none_or(|m| m.decides());
    let merged = match &sql.merge {
        None => None,
        Some(texts) => {
            let note = noting.then(|| mirror::note(&flow));
            let others = other_parts(merge)?;
            Some(Merged::new(
                &connection,
                texts,
                &others,
                note.as_ref(),
                &types,
            )?)
        }
    };
    let mut watched = vec![relation, parties.written, parties.view];
    let theirs = partners.iter().flat_map(|p| p.changed.relations());
    watched.extend(theirs);
    let clear =
        std::iter::once(mirror::clear_all(&flow, &truncated)).chain(mirror::clear_share(&flow));
    Ok(Mirror {
        touched: relation,
        written: parties.written,
        changed: watch::relations(watched),
        owner: parties.owner,
        written_name: flow.written.plain(),
        touched_name: flow.touched.plain(),
        refused: match way {
            Way::Forward => "A row of another scope has its key.",
            Way::Reverse => {
                "A row that the mapping's filter leaves out has its key, or a trigger there skips the row."
            }
        },
        clear_touched: mirror::clear_scope(&flow),
        way,
        both_ways: found.both_ways,
        key: KeyColumns::new(
            found
                .attributes
                .iter()
                .map(|(n, t)| (*n, pg_sys::Oid::from(*t))),
        ),
        direct: match found.both_ways || found.catching_up {
            true => None,
            false => Direct::between(&flow, relation, parties.view, parties.written)?,
        },
        insert: connection.prepare(&sql.insert, &types)?,
        update: connection.prepare(&sql.update, &types)?,
        rewrites: found.rewrites,
        delete: connection.prepare(&sql.delete, &types)?,
        exists: connection.prepare(&sql.exists, &types)?,
        clear: clear
            .map(|sql| connection.prepare(&sql, &[]))
            .collect::<Result<_>>()?,
        rekey: planned(
            (decides || way == Way::Reverse)
                .then_some(&sql.rekey)
                .filter(|_| !found.fixed_identity),
            &both,
        )?,
        lock: planned(sql.lock.as_ref(), &types)?,
        others: planned(sql.others.as_ref(), &[])?,
        forth,
        later,
        give: planned(sql.give.as_ref(), &types)?,
        names,
        merged,
        same: planned(sql.same.as_ref(), &types)?,
        partners,
    })
}

/// The parts that a row may be there for beside this one: all others, or the one that decides.
fn other_parts(merge: Option<&Merge>) -> Result<Vec<MergeSql>> {
    let Some(merge) = merge.filter(|m| !m.decides()) else {
        return Ok(Vec::new());
    };
    let matters = |id: &i32| *id != merge.me && (!merge.by_main || *id == merge.leader());
    let ids: Vec<i32> = merge.mappings().filter(matters).collect();
    let mut found = Vec::new();
    for p in mapping::partners(&ids)? {
        found.extend(mirror::statements(&mapping::forward(&p)?).merge);
    }
    Ok(found)
}

/// Who owns what is written, and what it is.
struct Parties {
    owner: pg_sys::Oid,
    written: pg_sys::Oid,
    view: pg_sys::Oid,
}

/// The parties, if this trigger is one that we installed, and if the owner of the table it sits on could write the other
/// table himself: a row forged into our state gains nobody anything.
fn trusted(
    found: &Registered,
    flow: &Flow,
    leader: &Flow,
    trigger: &pg_sys::Trigger,
    relation: pg_sys::Oid,
) -> Result<Parties> {
    // SAFETY: the name is a C string that lives as long as the trigger.
    let name = unsafe { std::ffi::CStr::from_ptr(trigger.tgname) }.to_string_lossy();
    let p = &found.mapping;
    let ours = trigger::names(leader).iter().any(|n| n.as_str() == name);
    let oid = |o: Option<u32>| o.map(pg_sys::Oid::from);
    let source = (Some(pg_sys::Oid::from(p.source)), oid(p.source_owner));
    let target = (oid(p.target), oid(p.target_owner));
    let (touched, written) = match flow.way {
        Way::Forward => (source, target),
        Way::Reverse => (target, source),
    };
    match (touched, written, oid(found.view_owner), oid(found.view)) {
        (
            (Some(sits), Some(toucher)),
            (Some(written), Some(owner)),
            Some(view_owner),
            Some(view),
        ) if ours
            && relation == sits
            && role::has_privileges_of(toucher, owner)
            && role::has_privileges_of(toucher, view_owner) =>
        {
            Ok(Parties {
                owner,
                written,
                view,
            })
        }
        (.., None) if ours => Err(Error::Unsuitable {
            relation: flow.view.plain(),
            kind: "gone: the view that says what a new row is was dropped".into(),
            hint: mapping::DETACH.into(),
        }),
        _ => Err(stray()),
    }
}
