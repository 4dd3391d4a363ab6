//! Builds what a mirror's trigger needs, from the trigger's mapping.

use super::trust::{self, RunningTrigger};
use super::types::{DeferredWrite, MergePlans, Mirror, MissingIds, PendingNote, RoundTrip};
use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::layout::merge::Merge;
use crate::pg::datum_equality::KeyColumns;
use crate::pg::error_context::ErrorTexts;
use crate::pg::prepared::PreparedPlan;
use crate::pg::visible_parts::WritingRole;
use crate::pg::{application_path, prepared, relcache_flag, role, syscache};
use crate::row_writer::DirectWriter;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::mirror::{self, MergeSql, MirrorSql};
use crate::store::mapping::{self, TrustedMapping};
use crate::store::sides;
use pgrx::pg_sys::Oid;

/// Builds the mirror of a mapping in one direction; None if an owner lacks rights: see `trust`. `leader`: the flow that the trigger belongs to,
/// if it belongs to another mapping's.
pub(super) fn build_mirror(
    id: i32,
    way: Direction,
    running: RunningTrigger,
    leader: Option<&Flow>,
) -> Result<Option<Mirror>> {
    let unknown = || {
        running.foreign_trigger("is of a mapping that is not there, as in a copy that was dumped without the rows of schema mig")
    };
    let found = mapping::find_registered(id, way)?.ok_or_else(unknown)?;
    let flow = sides::flow(&found.mapping, way)?.ok_or_else(unknown)?;
    let trusted = trust::find_trusted(&found, &flow, leader.unwrap_or(&flow), running)?;
    let Some(owners) = trusted else {
        return Ok(None);
    };
    require_columns(&flow, owners.written)?;
    let partners = match (way, leader) {
        (Direction::Reverse, None) => partner_mirrors(&found, &flow, running)?,
        _ => Some(Vec::new()),
    };
    let Some(partners) = partners else {
        return Ok(None);
    };
    let truncated: Vec<Flow> = mapping::truncated_with(id, way)?
        .iter()
        .filter_map(|p| sides::flow(p, way).transpose())
        .collect::<Result<_>>()?;
    let code_path = found.code_path.as_ref();
    let path = code_path.and_then(|c| c.for_code_of(owners.owner));
    let path = path.map(application_path::to_c_string).transpose()?;
    let _path = application_path::enter(path.clone());
    // Plans are made as the owner: row-level security and privileges are those of the owner.
    let _owner = role::act_as(owners.owner);
    let connection = prepared::connect()?;
    let sql = mirror::statements(&flow);
    let plans = Plans {
        types: key_types(&found, &flow)?,
        found: &found,
        flow: &flow,
        sql: &sql,
        connection: &connection,
    };
    let relation = running.relation();
    let mut watched = vec![relation, owners.written, owners.view];
    watched.extend(partners.iter().flat_map(|p| p.changed.relations()));
    Ok(Some(Mirror {
        touched: relation,
        fires: running.trigger().tgtype,
        written: owners.written,
        changed: relcache_flag::relations(watched),
        owner: owners.owner,
        path,
        written_name: flow.written.plain(),
        touched_name: flow.touched.plain(),
        error_texts: error_texts(&flow),
        reader: WritingRole::default(),
        refused: match way {
            Direction::Forward => "A row of another scope has its key.",
            Direction::Reverse => "A row that the mapping's filter leaves out has its key.",
        },
        clear_touched: mirror::clear_scope(&flow),
        way,
        both_ways: found.both_ways,
        key: KeyColumns::new(found.attributes.iter().map(|(n, t)| (*n, Oid::from(*t)))),
        direct: match found.catching_up {
            true => None,
            false => DirectWriter::for_flow(
                &flow,
                relation,
                owners.view,
                owners.written,
                found.both_ways,
            )?,
        },
        insert: plans.prepare(&sql.insert)?,
        update: plans.prepare(&sql.update)?,
        delete: plans.prepare(&sql.delete)?,
        exists: plans.prepare(&sql.exists)?,
        clear: plans.clear(&truncated)?,
        rekey: plans.rekey()?,
        lock: plans.prepare_if(sql.lock.as_ref())?,
        others: match &sql.others {
            None => None,
            Some(sql) => Some(connection.prepare(sql, &[])?),
        },
        round_trip: plans.round_trip()?,
        deferred_write: plans.deferred_write()?,
        give: plans.prepare_if(sql.give.as_ref())?,
        missing_ids: plans.missing_ids()?,
        merged: plans.merge()?,
        same: plans.prepare_if(sql.same.as_ref())?,
        partners,
    }))
}

/// Errors: 55000 if a column that the mirror writes was renamed or dropped.
fn require_columns(flow: &Flow, written: Oid) -> Result<()> {
    let lacks = |c: &&Ident| !syscache::has_column(written, c);
    let Some(column) = flow.columns.iter().find(lacks) else {
        return Ok(());
    };
    Err(Error::mirror_misfit(
        flow.touched.plain(),
        flow.written.plain(),
        column.as_str(),
        sides::DETACH,
    ))
}

/// Types of the touched table's key. Errors: 55000 if it is not the key that the mapping was made for.
fn key_types(found: &TrustedMapping, flow: &Flow) -> Result<Vec<Oid>> {
    if found.attributes.len() != flow.key.len() {
        return Err(Error::shape_differs(
            flow.touched.plain(),
            "Its primary key is not the one that the mapping was made for.".into(),
            "Restore the key, or take the mirror out with mig_rollback.".into(),
        ));
    }
    let types = found.attributes.iter().map(|(_, t)| Oid::from(*t));
    Ok(types.collect())
}

/// Makes the plans of one flow, whose parameters are the touched row's key.
struct Plans<'a> {
    found: &'a TrustedMapping,
    flow: &'a Flow,
    sql: &'a MirrorSql,
    connection: &'a prepared::Connection,
    types: Vec<Oid>,
}

impl Plans<'_> {
    fn prepare(&self, sql: &str) -> Result<PreparedPlan> {
        self.connection.prepare(sql, &self.types)
    }

    fn prepare_if(&self, sql: Option<&String>) -> Result<Option<PreparedPlan>> {
        sql.map(|sql| self.prepare(sql)).transpose()
    }

    /// For TRUNCATE.
    fn clear(&self, truncated: &[Flow]) -> Result<Vec<PreparedPlan>> {
        let all = std::iter::once(mirror::clear_all(self.flow, truncated));
        all.chain(mirror::clear_share(self.flow))
            .map(|sql| self.connection.prepare(&sql, &[]))
            .collect()
    }

    /// Moves a row to another key; None where the key cannot be updated, or does not decide about a merged row.
    fn rekey(&self) -> Result<Option<PreparedPlan>> {
        let decides = self.found.mapping.merge().is_none_or(|m| m.decides());
        let moves = decides || self.flow.direction == Direction::Reverse;
        if !moves || self.found.fixed_identity {
            return Ok(None);
        }
        let both: Vec<Oid> = self.types.iter().chain(&self.types).copied().collect();
        self.connection.prepare(&self.sql.rekey, &both).map(Some)
    }

    /// Where a written row may not come back as it went.
    fn round_trip(&self) -> Result<Option<RoundTrip>> {
        if self.flow.direction == Direction::Forward || !self.sql.may_change {
            return Ok(None);
        }
        let forward = sides::forward(&self.found.mapping)?.asked_by_written();
        let forward = mirror::statements(&forward);
        Ok(Some(RoundTrip {
            returns: self.prepare(&self.sql.returns)?,
            again: self.prepare(&forward.update)?,
            exists: self.prepare(&forward.exists)?,
        }))
    }

    fn deferred_write(&self) -> Result<Option<DeferredWrite>> {
        if !self.found.catching_up {
            return Ok(None);
        }
        let set = |names: &str, when: &str| {
            let sql = format!("SET CONSTRAINTS {names} {when}");
            self.connection.prepare(&sql, &[])
        };
        Ok(Some(DeferredWrite {
            note: PendingNote::new(self.connection, self.flow, &self.types)?,
            early: match &self.found.late_checks {
                None => None,
                Some(names) => Some([set(names, "IMMEDIATE")?, set(names, "DEFERRED")?]),
            },
        }))
    }

    /// Leaves a row to the job, as long as there is one that comes by.
    fn note(&self) -> Result<Option<PendingNote>> {
        let noting = match self.flow.direction {
            Direction::Forward => !self.found.mapping.settled,
            Direction::Reverse => self.found.catching_up,
        };
        let note = noting.then(|| PendingNote::new(self.connection, self.flow, &self.types));
        note.transpose()
    }

    fn missing_ids(&self) -> Result<Option<MissingIds>> {
        let Some(unready) = &self.sql.unready else {
            return Ok(None);
        };
        let give = self.sql.give_named.iter().map(|sql| self.prepare(sql));
        Ok(Some(MissingIds {
            unready: self.prepare(unready)?,
            give: give.collect::<Result<_>>()?,
            note: self.note()?,
        }))
    }

    fn merge(&self) -> Result<Option<MergePlans>> {
        let Some(texts) = &self.sql.merge else {
            return Ok(None);
        };
        let others = other_parts(self.found.mapping.merge())?;
        MergePlans::new(self.connection, texts, &others, self.note()?, &self.types).map(Some)
    }
}

fn error_texts(flow: &Flow) -> ErrorTexts {
    let (touched, written) = (flow.touched.plain(), flow.written.plain());
    ErrorTexts::new(
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
        found.extend(mirror::statements(&sides::forward(&p)?).merge);
    }
    Ok(found)
}

/// Mirrors for the other source tables that a row of the new table is written back to.
fn partner_mirrors(
    found: &TrustedMapping,
    leader: &Flow,
    running: RunningTrigger,
) -> Result<Option<Vec<Mirror>>> {
    let Some(merge) = found.mapping.merge().filter(|m| m.leads()) else {
        return Ok(Some(Vec::new()));
    };
    merge
        .mappings()
        .filter(|id| *id != merge.me)
        .map(|id| build_mirror(id, leader.direction, running, Some(leader)))
        .collect()
}
