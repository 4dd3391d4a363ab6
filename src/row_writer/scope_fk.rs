//! The foreign key of the scope's column: all rows refer to the same parent row. If the mapping's scope pin holds that row
//! (`sqlgen::scope_pin`), no check is needed. Otherwise the row is looked up and locked once in a transaction, where PostgreSQL would do so
//! for each row.

use crate::error::Result;
use crate::ident::{Ident, Literal, QualifiedName};
use crate::pg::{guc, prepared, role, syscache, tx};
use pgrx::pg_sys;
use serde::Deserialize;
use std::cell::Cell;

/// The id of the top-level transaction as a subtransaction (TopSubTransactionId in c.h).
const TOP: u32 = 1;

pub struct ScopeParent {
    pub constraint: pg_sys::Oid,
    owner: pg_sys::Oid,
    /// The scope pin holds the parent row.
    pub anchored: bool,
    /// `$1`: the scope value, which all rows have.
    lock: prepared::PreparedPlan,
    /// The transaction and subtransaction that hold the parent row.
    held: Cell<(u32, u32)>,
}

#[derive(Deserialize)]
struct ScopeFkRow {
    constraint: u32,
    table: u32,
    owner: u32,
    column: Ident,
    kind: u32,
    anchor: Option<Ident>,
}

/// Finds the foreign keys over `column` of `table` alone that refer to ordinary tables, with the same column type and built-in operators.
pub fn find_scope_parents(
    table: pg_sys::Oid,
    column: i16,
    value: pg_sys::Datum,
    anchor: &QualifiedName,
) -> Result<Vec<ScopeParent>> {
    let found: Option<Vec<ScopeFkRow>> = prepared::first_latest::<ScopeFkRows>(
        &format!(
            "SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('constraint', c.oid::bigint, 'table', r.oid::bigint, 'owner', r.relowner::bigint, \
             'column', a.attname, 'kind', a.atttypid::bigint, 'anchor', \
               (SELECT ha.attname FROM pg_catalog.pg_constraint h JOIN pg_catalog.pg_attribute ha ON ha.attrelid = h.conrelid AND h.conkey = ARRAY[ha.attnum] \
                WHERE h.conrelid = pg_catalog.to_regclass({}) AND h.contype = 'f' AND h.convalidated \
                AND h.confrelid = c.confrelid AND h.confkey = c.confkey))) AS keys \
             FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.confrelid AND r.relkind = 'r' \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = c.confkey[1] \
             JOIN pg_catalog.pg_attribute s ON s.attrelid = c.conrelid AND s.attnum = c.conkey[1] AND s.atttypid = a.atttypid \
             WHERE c.conrelid = {} AND c.contype = 'f' AND c.conkey = ARRAY[{column}]::int2[] AND c.conpfeqop[1] < {}",
            Literal(&anchor.to_string()),
            table.to_u32(),
            pg_sys::FirstNormalObjectId
        ),
        &[],
        &mut [],
    )?
    .and_then(|k| k.keys);
    let connection = prepared::connect()?;
    let parent = |f: ScopeFkRow| {
        let Some(name) = syscache::relation_name(f.table.into()) else {
            return Ok(None);
        };
        let anchored = match &f.anchor {
            None => false,
            Some(column) => {
                let sql = format!(
                    "SELECT 1 FROM {anchor} AS h WHERE h.{column} OPERATOR(pg_catalog.=) $1"
                );
                let plan = connection.prepare(&sql, &[f.kind.into()])?;
                connection.run_latest(&plan, &mut [value])? > 0
            }
        };
        let owner = pg_sys::Oid::from(f.owner);
        // Like PostgreSQL's own check, runs with the privileges of the parent table's owner (ri_PerformCheck).
        // In a security-restricted operation: the planner runs constant parts of that table's index expressions.
        let _owner = role::confine_for_key(owner);
        let sql = format!(
            "SELECT 1 FROM ONLY {name} AS p WHERE p.{} OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF p",
            f.column
        );
        Ok(Some(ScopeParent {
            constraint: f.constraint.into(),
            owner,
            anchored,
            lock: connection.prepare(&sql, &[f.kind.into()])?,
            held: Cell::new((0, 0)),
        }))
    };
    let all: Result<Vec<Option<ScopeParent>>> =
        found.unwrap_or_default().into_iter().map(parent).collect();
    Ok(all?.into_iter().flatten().collect())
}

#[derive(Deserialize)]
struct ScopeFkRows {
    keys: Option<Vec<ScopeFkRow>>,
}

impl ScopeParent {
    /// Whether the parent row with this key exists and is locked until the transaction ends.
    pub fn is_held(&self, key: pg_sys::Datum) -> Result<bool> {
        let transaction = tx::local_number();
        // SAFETY: reads the state of this backend.
        let sub = unsafe { pg_sys::GetCurrentSubTransactionId() };
        let (held, by) = self.held.get();
        // A subtransaction that is rolled back releases its locks.
        if held == transaction && (by == sub || by == TOP) {
            return Ok(true);
        }
        let _owner = role::confine_for_key(self.owner);
        let _safe = guc::pin_names();
        let connection = prepared::connect()?;
        let there = connection.run_latest(&self.lock, &mut [key])? > 0;
        if there {
            self.held.set((transaction, sub));
        }
        Ok(there)
    }
}
