//! Builds what a mirror's trigger needs, from the trigger's mapping.

use super::trust::{self, RunningTrigger};
use super::types::{DeferredWrite, MergePlans, Mirror, MissingIds, PendingNote, RoundTrip};
use crate::error::{Error, Result};
use crate::model::layout::merge::Merge;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::error_context::Told;
use crate::pg::visible_parts::WritingRole;
use crate::pg::{prepared, relcache_flag, role};
use crate::row_writer::Direct;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::mirror;
use crate::sqlgen::mirror::MergeSql;
use crate::store::mapping::{self, TrustedMapping};
use pgrx::prelude::*;

/// Builds the mirror of a mapping in one direction. `leader`: the flow that the trigger belongs to, if it belongs to another mapping's.
pub(super) fn mirror(
    id: i32,
    way: Direction,
    running: RunningTrigger,
    leader: Option<&Flow>,
) -> Result<Mirror> {
    let stray = || running.foreign_trigger("is of a mapping that is not there");
    let found = mapping::find_registered(id, way)?.ok_or_else(stray)?;
    let flow = mapping::flow(&found.mapping, way)?.ok_or_else(stray)?;
    let parties = trust::parties(&found, &flow, leader.unwrap_or(&flow), running)?;
    let relation = running.relation();
    let partners = match (way, leader) {
        (Direction::Reverse, None) => partners(&found, &flow, running)?,
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
    // Plans are made as the owner: row-level security and privileges are those of the owner.
    let _owner = role::act_as(parties.owner);
    let connection = prepared::connect()?;
    let planned = |sql: Option<&String>, types: &[pg_sys::Oid]| {
        sql.map(|sql| connection.prepare(sql, types)).transpose()
    };
    let forth = match way {
        Direction::Reverse if found.rewrites || sql.may_change => {
            let forward = mapping::forward(&found.mapping)?.asked_by_written();
            let forward = mirror::statements(&forward);
            Some(RoundTrip {
                returns: connection.prepare(&sql.returns, &types)?,
                again: connection.prepare(&forward.update, &types)?,
                exists: connection.prepare(&forward.exists, &types)?,
            })
        }
        _ => None,
    };
    let later = match found.catching_up {
        true => Some(DeferredWrite {
            note: PendingNote::new(&connection, &flow, &types)?,
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
    let all = |sql: &[String]| -> Result<Vec<prepared::PreparedPlan>> {
        sql.iter()
            .map(|sql| connection.prepare(sql, &types))
            .collect()
    };
    let noting = match way {
        Direction::Forward => !found.mapping.settled,
        Direction::Reverse => found.catching_up,
    };
    let note = |wanted: bool| {
        let note = wanted.then(|| PendingNote::new(&connection, &flow, &types));
        note.transpose()
    };
    let names = match &sql.unready {
        None => None,
        Some(unready) => Some(MissingIds {
            unready: connection.prepare(unready, &types)?,
            give: all(&sql.give_named)?,
            note: note(noting)?,
        }),
    };
    let merge = found.mapping.merge();
    let decides = merge.is_none_or(|m| m.decides());
    let merged = match &sql.merge {
        None => None,
        Some(texts) => {
            let others = other_parts(merge)?;
            Some(MergePlans::new(
                &connection,
                texts,
                &others,
                note(noting)?,
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
        fires: running.trigger().tgtype,
        written: parties.written,
        changed: relcache_flag::relations(watched),
        owner: parties.owner,
        written_name: flow.written.plain(),
        touched_name: flow.touched.plain(),
        told: error_texts(&flow),
        reader: WritingRole::default(),
        refused: match way {
            Direction::Forward => "A row of another scope has its key.",
            Direction::Reverse => {
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
            false => Direct::for_flow(&flow, relation, parties.view, parties.written)?,
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
            (decides || way == Direction::Reverse)
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

fn error_texts(flow: &Flow) -> Told {
    let (touched, written) = (flow.touched.plain(), flow.written.plain());
    Told::new(
        &format!("mirror of {touched} to {written}"),
        (flow.written.schema.as_str(), flow.written.name.as_str()),
        &format!("a row of {touched} cannot be brought to {written}"),
    )
}

/// The other parts that can be the reason for a merged row to exist: all others, or only the one that decides.
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

/// Mirrors for the other source tables that a row of the new table is written back to.
fn partners(found: &TrustedMapping, leader: &Flow, running: RunningTrigger) -> Result<Vec<Mirror>> {
    let Some(merge) = found.mapping.merge().filter(|m| m.leads()) else {
        return Ok(Vec::new());
    };
    merge
        .mappings()
        .filter(|id| *id != merge.me)
        .map(|id| mirror(id, leader.way, running, Some(leader)))
        .collect()
}
