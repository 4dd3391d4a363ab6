//! pg_mig's triggers: those that exist, found by their functions and arguments wherever they are, and those that should.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::column_change::ColumnChange;
use crate::model::records::Mapping;
use crate::pg::lock::{self, LockMode, LockRequest};
use crate::pg::notice::notice;
use crate::pg::{catalog, guc, role, spi, state, trigger_state};
use crate::sqlgen::direction::Direction;
use crate::sqlgen::{trigger, view_names};
use crate::store::unmirrored;
use pgrx::pg_sys::{self, Oid};

/// An existing trigger that calls a function of pg_mig with the arguments of one mapping or column change.
#[derive(serde::Deserialize)]
pub struct InstalledTrigger {
    pub table: QualifiedName,
    relation: u32,
    owner: u32,
    pub name: Ident,
    pub enabled: bool,
    function: String,
    way: Option<String>,
    at_home: bool,
    trusted: bool,
}

impl InstalledTrigger {
    /// It refuses writes to a source that is not used any more.
    pub fn is_guard(&self) -> bool {
        self.function == "guard"
    }

    pub fn goes(&self, way: Direction) -> bool {
        !self.is_guard() && self.way.as_deref() == Some(way.as_str())
    }

    fn drop_sql(&self) -> String {
        trigger::drop(&self.table, &self.name)
    }
}

/// What has the triggers.
#[derive(Clone, Copy)]
pub enum TriggerKeeper {
    Mapping(i32),
    Columns(i32),
}

impl From<&Mapping> for TriggerKeeper {
    fn from(p: &Mapping) -> Self {
        Self::Mapping(p.id)
    }
}

impl From<&ColumnChange> for TriggerKeeper {
    fn from(r: &ColumnChange) -> Self {
        Self::Columns(r.id)
    }
}

/// Lists all triggers in the database that are the keeper's by function and arguments, under the latest snapshot.
fn list_everywhere(keeper: TriggerKeeper) -> Result<Vec<InstalledTrigger>> {
    #[derive(serde::Deserialize)]
    struct TriggerDocument {
        all: Vec<InstalledTrigger>,
    }
    let (column, id) = match keeper {
        TriggerKeeper::Mapping(id) => ("mapping", id),
        TriggerKeeper::Columns(id) => ("leader", id),
    };
    let found: Option<TriggerDocument> = state::first_latest(
        &format!(
            "SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('table', pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname), \
             'relation', c.oid::bigint, 'owner', c.relowner::bigint, 'name', g.name, 'enabled', g.enabled <> 'D', 'function', g.function, 'way', g.way, \
             'at_home', g.at_home, 'trusted', g.trusted) ORDER BY c.oid, g.name), '[]') AS \"all\" \
             FROM ({}) g JOIN pg_catalog.pg_class c ON c.oid = g.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE g.{column} = $1",
            include_str!("../../sql/query/own_triggers.sql")
        ),
        &[pg_sys::INT4OID],
        &mut [pg_sys::Datum::from(id)],
    )?;
    Ok(found.map_or_else(Vec::new, |f| f.all))
}

/// Lists pg_mig's triggers of a mapping or a column change, on whatever table they are. A dropped table has taken its triggers with it.
/// A trigger on a table whose owner may not act for the owner of ours is not pg_mig's doing, and never writes anything: it is left out.
pub fn list_installed(keeper: impl Into<TriggerKeeper>) -> Result<Vec<InstalledTrigger>> {
    let mut found = list_everywhere(keeper.into())?;
    found.retain(|t| t.trusted);
    Ok(found)
}

/// Returns the locks of tables that have triggers of the keepers and are not theirs: a table that took the place of another one, for example.
pub fn locks_elsewhere<K: Into<TriggerKeeper>>(
    keepers: impl IntoIterator<Item = K>,
    mode: LockMode,
) -> Result<Vec<LockRequest>> {
    let mut found = Vec::new();
    for keeper in keepers {
        found.extend(list_installed(keeper)?);
    }
    found.retain(|t| !t.at_home);
    locks_of(&found, mode)
}

/// Returns the locks of the triggers' tables. Errors: 42501 unless the caller has the rights of their owners.
fn locks_of<'a>(
    triggers: impl IntoIterator<Item = &'a InstalledTrigger>,
    mode: LockMode,
) -> Result<Vec<LockRequest>> {
    let mut found: Vec<LockRequest> = Vec::new();
    for t in triggers {
        require_right(t)?;
        if !found.iter().any(|l| l.relation == Oid::from(t.relation)) {
            found.push(LockRequest::new(t.relation.into(), &t.table, mode));
        }
    }
    Ok(found)
}

/// Errors: 42501 unless the caller has the rights of the owner of the trigger's table.
fn require_right(t: &InstalledTrigger) -> Result<()> {
    let owner = Oid::from(t.owner);
    if role::has_privileges_of(role::current(), owner) {
        return Ok(());
    }
    Err(Error::trigger_of_another(
        t.name.as_str(),
        t.table.plain(),
        role::name(owner),
        t.drop_sql(),
    ))
}

/// Drops all of the keeper's triggers, and forgets what they let pass. The caller has locked the tables, see `locks_elsewhere`. Errors: 55000 with the name of one that is
/// left, 42501 where it is on a table that the caller has no rights to.
pub fn drop_all(keeper: impl Into<TriggerKeeper>) -> Result<()> {
    let keeper = keeper.into();
    drop_chosen(keeper, |_| true)?;
    match keeper {
        TriggerKeeper::Mapping(id) => unmirrored::forget_mapping(id)?,
        TriggerKeeper::Columns(id) => unmirrored::forget_columns(id)?,
    }
    for t in list_everywhere(keeper)? {
        if t.trusted {
            return Err(Error::trigger_left(
                t.name.as_str(),
                t.table.plain(),
                t.drop_sql(),
            ));
        }
        notice(&format!(
            "trigger {} on {} calls mig.{}() and was not made by pg_mig: role {} may not act for the owner of the migration's tables; it writes nothing; as that role: {};",
            t.name,
            t.table.plain(),
            t.function,
            role::name(t.owner.into()),
            t.drop_sql()
        ));
    }
    Ok(())
}

/// Drops whatever triggers the keepers still have, where there should be none.
pub fn remove_left<'a, K>(keepers: &'a [K], timeout_ms: i32) -> Result<()>
where
    TriggerKeeper: From<&'a K>,
{
    let mut found = Vec::new();
    for keeper in keepers {
        found.extend(list_installed(keeper)?);
    }
    lock::lock_all(&locks_of(&found, LockMode::AccessExclusive)?, timeout_ms)?;
    keepers.iter().try_for_each(drop_all)
}

/// Drops those of the keeper's triggers that are chosen.
pub fn drop_chosen(
    keeper: impl Into<TriggerKeeper>,
    is_chosen: impl Fn(&InstalledTrigger) -> bool,
) -> Result<()> {
    for t in list_installed(keeper)?.iter().filter(|t| is_chosen(t)) {
        require_right(t)?;
        catalog::require_name(t.relation.into(), &t.table)?;
        spi::run(&t.drop_sql(), &[])?;
    }
    Ok(())
}

/// Disables those of `found` that are enabled; returns how many they were. Locks their tables ShareRowExclusive, which DISABLE TRIGGER needs;
/// DROP TRIGGER would make readers wait as well.
pub fn disable(found: &[InstalledTrigger]) -> Result<usize> {
    let on: Vec<&InstalledTrigger> = found.iter().filter(|t| t.enabled).collect();
    let locks = locks_of(on.iter().copied(), LockMode::ShareRowExclusive)?;
    lock::lock_in_emergency(&locks)?;
    for t in &on {
        trigger_state::disable(t.relation.into(), &t.name)?;
    }
    Ok(on.len())
}

/// Records the mirror triggers that exist now; `mig.drift` reports later changes to them.
pub fn record_installed(id: i32) -> Result<()> {
    state::run(
        "UPDATE mig.mapping p SET seal = s.place || ' ' || s.triggers, mirrors = s.mirrors, sealed_at = clock_timestamp() FROM mig.standing s WHERE s.mapping = p.id AND p.id = $1",
        &[id.into()],
    )?;
    Ok(())
}

/// Runs TRUNCATE for the tables without firing a trigger of the application, which the hook of the executor never sees
/// (`pg/silent_triggers.rs`). The caller has locked the tables AccessExclusive, and is their owner.
pub fn truncate_silently(tables: &[&QualifiedName]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct TruncateTrigger {
        table: QualifiedName,
        name: Ident,
        enabled: String,
    }
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let found: Vec<TruncateTrigger> = spi::rows(
        "SELECT pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS \"table\", t.tgname AS name, t.tgenabled AS enabled \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid \
         WHERE t.tgrelid = ANY ($1::pg_catalog.regclass[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
         AND t.tgtype & 32 <> 0 AND f.pronamespace <> 'mig'::pg_catalog.regnamespace",
        &[names.clone().into()],
    )?;
    for t in &found {
        spi::run(&trigger::disable(&t.table, &t.name), &[])?;
    }
    spi::run(&format!("TRUNCATE ONLY {}", names.join(", ")), &[])?;
    for t in &found {
        spi::run(&trigger::enable(&t.table, &t.name, &t.enabled), &[])?;
    }
    Ok(())
}

/// Drops the mapping's views that exist.
pub fn drop_views(id: i32) -> Result<()> {
    // IF EXISTS, without a NOTICE for each missing view.
    let _quiet = guc::pin(&[(c"client_min_messages", c"warning")]);
    for name in [view_names::reverse_name(id), view_names::name(id)] {
        spi::run(&format!("DROP VIEW IF EXISTS {name}"), &[])?;
    }
    Ok(())
}
