//! Source and target ids that differ: the id maps that connect them, and the ids that rows get before they are written.

use crate::error::Result;
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::id_map::NewIds;
use crate::model::order;
use crate::model::records::Mapping;
use crate::model::shape::Shape;
use crate::pg::tid::{self, TidList};
use crate::pg::{catalog, guc, role, spi};
use crate::sqlgen::direction::Flow;
use crate::sqlgen::id_lookup;
use crate::sqlgen::id_map::{self, IdChoice};
use crate::store::sides;
use pgrx::pg_sys::Oid;

/// Returns the expression that draws a value for the column, as the text of a default; None if nothing does.
pub fn default_of_column(table: &Shape, column: &Ident) -> Option<String> {
    let column = table.column(column)?;
    let sequence = column.identity.as_ref().map(ToString::to_string);
    let identity =
        sequence.map(|s| format!("pg_catalog.nextval({}::pg_catalog.regclass)", Literal(&s)));
    identity.or_else(|| column.default.clone())
}

/// Gives new ids to the rows that the locked rows refer to, and to the locked rows.
pub fn give_ids(flow: &Flow, locked: &TidList) -> Result<()> {
    let named = id_map::give_named(flow, IdChoice::Places);
    for sql in named.iter().chain(&id_map::give(flow, IdChoice::Places)) {
        tid::run(sql, locked)?;
    }
    Ok(())
}

/// As `give`, for the row of one key.
pub fn give_id(flow: &Flow, key: &[String]) -> Result<()> {
    let named = id_map::give_named(flow, IdChoice::KeyText);
    for sql in named.iter().chain(&id_map::give(flow, IdChoice::KeyText)) {
        spi::run(sql, &[key.to_vec().into()])?;
    }
    Ok(())
}

/// Pairs rows that the targets already hold with source rows, by the users' keys. Such a key may contain an id itself, so
/// parents come first, and the search repeats until nothing more is found.
pub fn find(mappings: &[Mapping]) -> Result<()> {
    loop {
        let mut found = 0;
        for n in order::parents_first(mappings) {
            if let Some(sql) = id_map::find(&sides::forward(&mappings[n])?) {
                let _owner = role::confine(sides::owner(&mappings[n])?)?;
                found += spi::run(&sql, &[])?;
            }
        }
        if found == 0 {
            return Ok(());
        }
    }
}

/// Drops the id map. With `keep` it stays with the target, as a table of the user; returns its name.
pub fn drop_or_keep_map(p: &Mapping, drawn: &NewIds, keep: bool) -> Result<Option<QualifiedName>> {
    let table = id_lookup::name(p.id);
    if !keep {
        spi::run(&format!("DROP TABLE IF EXISTS {table}"), &[])?;
        return Ok(None);
    }
    let kept = id_map::kept_name(sides::target(p)?);
    for sql in id_map::hand_over(drawn, &kept) {
        spi::run(&sql, &[])?;
    }
    Ok(Some(kept))
}

/// Returns the new id of an old one; None if the target has no such row. The caller must be able to read the target, and
/// the id map if there is one. Types and operators of keys belong to the owner and run with the owner's rights.
pub fn look_up(p: &Mapping, old: &str) -> Result<Option<String>> {
    let (target, layout) = (sides::target(p)?, sides::layout(p)?);
    let mut tables = vec![target.clone()];
    let sql = match (&layout.drawn, layout.key.as_slice()) {
        (Some(drawn), _) => {
            tables.push(id_lookup::name(drawn.map.mapping));
            id_map::look_up(drawn, target)
        }
        (None, [key]) => id_map::look_up_kept(key, layout.scope.as_ref(), target),
        (None, _) => return Ok(Some(old.to_owned())),
    };
    for table in &tables {
        let oid = catalog::oid_of(table).ok_or_else(|| catalog::missing_table(&table.plain()))?;
        role::require_reading(oid, table)?;
    }
    let owner = p.target_owner.map(Oid::from);
    let owner = owner.ok_or_else(|| catalog::missing_table(&target.plain()))?;
    let _owner = role::confine_for_key(owner);
    guc::forbid_writes();
    spi::value(&sql, &[old.into()])
}
