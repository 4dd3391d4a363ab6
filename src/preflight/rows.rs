//! Rows that are obstacles to moving a table: of the source, for keys that only the target has, and of the target.

use super::{PreflightFinding, Severity};
use crate::error::Result;
use crate::ident::{Ident, Literal, list};
use crate::model::layout::id_map::NewIds;
use crate::model::layout::{Layout, Origin, Scope};
use crate::model::records::{Mapping, Migration};
use crate::model::shape::Shape;
use crate::pg::{role, spi, tx};
use crate::sqlgen::{archive, check_rows};
use crate::store::sides;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

#[derive(Deserialize)]
struct DuplicateKey {
    key: String,
    n: i64,
}

/// Finds rows that a new unique key would refuse, with examples.
pub fn duplicates(p: &Mapping, layout: &Layout) -> Result<Vec<PreflightFinding>> {
    let mut found = Vec::new();
    for columns in &p.spec.unique_keys {
        let own: Vec<&Ident> = columns
            .iter()
            .filter(|c| layout.scope.as_ref().is_none_or(|s| s.column != **c))
            .collect();
        let texts: Vec<String> = own.iter().filter_map(|c| source_text(layout, c)).collect();
        if texts.is_empty() || texts.len() != own.len() {
            continue;
        }
        let not_null: Vec<String> = texts.iter().map(|t| format!("{t} IS NOT NULL")).collect();
        let filter = p
            .spec
            .filter
            .as_ref()
            .map_or(String::new(), |f| format!(" AND ({f}\n)"));
        let sql = format!(
            "SELECT pg_catalog.format('(%s)', pg_catalog.concat_ws(', ', {0})) AS key, count(*) AS n FROM {1} WHERE {2}{filter} \
             GROUP BY {0} HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 3",
            texts.join(", "),
            sides::source(p)?,
            not_null.join(" AND "),
        );
        let examples: Vec<DuplicateKey> = {
            let _owner = role::confine_reading(sides::owner(p)?)?;
            spi::rows(&sql, &[])?
        };
        if examples.is_empty() {
            continue;
        }
        let text: Vec<String> = examples
            .iter()
            .map(|d| format!("{} is there {} times", d.key, d.n))
            .collect();
        found.push(PreflightFinding {
            severity: Severity::Error,
            check_name: "duplicate rows".into(),
            relation: Some(p.source),
            detail: format!("The new unique key ({}) would refuse rows: {}.", list(own.iter().copied()), text.join("; ")),
            hint: Some(format!(
                "See them all: SELECT {0}, count(*) FROM {1} GROUP BY {0} HAVING count(*) > 1; then remove the doubles, or leave the key out.",
                texts.join(", "),
                sides::source(p)?,
            )),
        });
    }
    Ok(found)
}

/// Returns a target column as an expression over the source.
fn source_text(layout: &Layout, column: &Ident) -> Option<String> {
    layout
        .columns
        .iter()
        .find(|c| c.name == *column)
        .and_then(|c| match &c.origin {
            Origin::Scope | Origin::Partner => None,
            Origin::Source(name) => Some(name.to_string()),
            Origin::Expression(text) => Some(format!("({text}\n)")),
        })
}

/// Checks the rows of this scope that the target holds. They are paired with source rows by the user's keys; a row without
/// a source row would stay a difference for ever.
fn check_matched_rows(
    p: &Mapping,
    layout: &Layout,
    drawn: &NewIds,
    target: Oid,
) -> Result<Vec<PreflightFinding>> {
    let name = &p.target_name;
    let finding = |severity: Severity, detail: String, hint: Option<String>| PreflightFinding {
        severity,
        check_name: "rows of this scope".into(),
        relation: Some(target.to_u32()),
        detail,
        hint,
    };
    let mut same = Vec::new();
    for columns in &drawn.natural {
        let each: Option<Vec<String>> = columns
            .iter()
            .map(|(c, equals)| {
                let goes_through = layout
                    .columns
                    .iter()
                    .any(|t| t.name == *c && t.via.is_some());
                let text = source_text(layout, c).filter(|_| !goes_through)?;
                Some(equals.infix(&format!("t.{c}"), &text))
            })
            .collect();
        match each {
            Some(each) => same.push(format!("({})", each.join(" AND "))),
            None => {
                let detail = "The target holds rows of this scope. A key with an id or an expression in it decides which of them are the source's, so only the check after the backfill can say whether all are.";
                return Ok(vec![finding(Severity::Info, detail.into(), None)]);
            }
        }
    }
    let own = crate::sqlgen::scope::scope_is_mine("t", layout)
        .map_or(String::new(), |s| format!("{s} AND "));
    let filter = p
        .spec
        .filter
        .as_ref()
        .map_or(String::new(), |f| format!(" AND ({f}\n)"));
    let source = sides::source(p)?;
    let unmatched = format!(
        "FROM {name} AS t WHERE {own}NOT EXISTS (SELECT FROM {source} WHERE ({}){filter})",
        same.join(" OR ")
    );
    let key: Vec<String> = drawn
        .natural
        .iter()
        .flatten()
        .map(|(c, _)| format!("t.{c}"))
        .collect();
    let sql = format!(
        "SELECT pg_catalog.format('(%s)', pg_catalog.concat_ws(', ', {})) AS key, count(*) OVER () AS n {unmatched} LIMIT 3",
        key.join(", ")
    );
    let examples: Vec<DuplicateKey> = {
        let _owner = role::confine_reading(sides::owner(p)?)?;
        spi::rows(&sql, &[])?
    };
    let Some(first) = examples.first() else {
        let detail = "The target holds rows of this scope; each is taken for the source's row of its key, and becomes what that one is. mig_rollback gives them back what they were.";
        return Ok(vec![finding(Severity::Info, detail.into(), None)]);
    };
    let names: Vec<&str> = examples.iter().map(|e| e.key.as_str()).collect();
    Ok(vec![finding(
        Severity::Error,
        format!(
            "{} rows of this scope in the target are the row of none in the source: {}.",
            first.n,
            names.join(", ")
        ),
        Some(format!("Insert them into {source}, or DELETE {unmatched};")),
    )])
}

/// Whether the tables' owner sees such a row. As the owner, because the target's name may belong to anything, also to a
/// view that calls functions.
fn is_any(rows: &str, p: &Mapping) -> Result<bool> {
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let found = spi::value::<bool>(&format!("SELECT EXISTS (SELECT {rows})"), &[])?;
    Ok(found == Some(true))
}

fn has_rights_of(target: &Shape, p: &Mapping) -> bool {
    p.source_owner
        .is_none_or(|owner| role::has_privileges_of(target.owner.into(), owner.into()))
}

/// Counts the rows that the filter leaves out: they stay in the old table, also when the new one is the only one that moves on.
pub fn count_left(p: &Mapping) -> Result<Option<PreflightFinding>> {
    let Some(filter) = &p.spec.filter else {
        return Ok(None);
    };
    let source = sides::source(p)?;
    let rows = {
        let _owner = role::confine_reading(sides::owner(p)?)?;
        spi::value::<i64>(&archive::count_rest(source, filter), &[])?.unwrap_or(0)
    };
    Ok((rows > 0).then(|| PreflightFinding {
        severity: Severity::Warning,
        check_name: "rows outside the filter".into(),
        relation: Some(p.source),
        detail: format!(
            "The filter leaves out {rows} rows. They stay in {}, which takes writes of such rows also after mig_stop.",
            source.plain()
        ),
        hint: Some(
            "Nothing is to be done while the old table stays. mig_archive and mig_drop refuse as long as there are such rows, unless force is true.".into(),
        ),
    }))
}

/// Checks whether an existing target holds rows of this scope: nothing shows that they are the source's.
pub fn check_target_rows(p: &Mapping, layout: &Layout) -> Result<Vec<PreflightFinding>> {
    let Some(target) = crate::pg::catalog::find(&p.target_name)? else {
        return Ok(Vec::new());
    };
    let name = &p.target_name;
    let standing = crate::pg::catalog::shape(target)?;
    let has = |s: &Scope| {
        let column = standing.as_ref().and_then(|t| t.column(&s.column));
        column.is_some_and(|c| c.type_text == s.type_text)
    };
    // Another kind of relation has a finding of its own, and is not read: a view runs code, and may be another role's.
    if standing.as_ref().is_none_or(|t| t.kind != "r") {
        return Ok(Vec::new());
    }
    if let Some(other) = standing.as_ref().filter(|t| !has_rights_of(t, p)) {
        return Ok(vec![PreflightFinding {
            severity: Severity::Error,
            check_name: "target of another owner".into(),
            relation: Some(target.to_u32()),
            detail: format!(
                "{} exists already, and belongs to role {}.",
                name.plain(),
                other.owner_name
            ),
            hint: Some("Give another name for the target, or give both tables one owner.".into()),
        }]);
    }
    let has_scope = layout.marks().all(has);
    let own = crate::sqlgen::scope::scope_is_mine("t", layout)
        .map_or(String::new(), |s| format!(" WHERE {s}"));
    if !has_scope || !is_any(&format!("FROM {name} AS t{own}"), p)? {
        return Ok(Vec::new());
    }
    if let Some(drawn) = layout.drawn.as_ref().filter(|d| !d.natural.is_empty()) {
        return check_matched_rows(p, layout, drawn, target);
    }
    Ok(vec![PreflightFinding {
        severity: Severity::Error,
        check_name: "target not empty".into(),
        relation: Some(target.to_u32()),
        detail:
            "The target holds rows of this scope already; a backfill would keep them as they are."
                .into(),
        hint: Some(format!("{};", crate::sqlgen::mirror::clear(name, layout))),
    }])
}

/// Finds expressions that PostgreSQL understood at mig_add_table and does not now: a function or a type has another name, or is gone.
pub fn broken_expressions(
    m: &Migration,
    p: &Mapping,
    source: &Shape,
) -> Result<Vec<PreflightFinding>> {
    // A bare column name is a rename, even if it is a keyword.
    let computes = |up: &str| source.column(&Ident::new(up.trim())).is_none();
    let columns = p.spec.columns.iter();
    let texts = columns.filter_map(|(name, e)| Some((name.as_str(), e.as_ref()?.up.as_str())));
    let texts = texts.filter(|(_, up)| computes(up));
    let filter = p.spec.filter.as_deref().map(|f| ("filter", f));
    let mut found = Vec::new();
    for (name, text) in texts.chain(filter) {
        let sql = check_rows::read_none(sides::source(p)?, text);
        let owner = sides::owner(p)?;
        let tried = tx::probe(|| {
            let _owner = role::confine_reading(owner)?;
            spi::look::<bool>(&sql, &[]).map(|_| ())
        });
        if let Err(e) = tried {
            found.push(PreflightFinding {
                severity: Severity::Error,
                check_name: "expression".into(),
                relation: Some(p.source),
                detail: format!("The expression of \"{name}\" is not understood any more: {e}."),
                hint: Some(format!(
                    "Give what it names its old name back; or forget the migration and define it anew: SELECT mig_rollback({0}, 'defined'); SELECT mig_drop({0});",
                    Literal(&m.name)
                )),
            });
        }
    }
    Ok(found)
}
