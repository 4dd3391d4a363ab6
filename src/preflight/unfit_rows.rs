//! Rows that would fail later: they do not convert, a check of the target refuses them, or they refer to a row that is not there.

use super::{PreflightFinding, Severity, new_finding};
use crate::error::Result;
use crate::ident::Ident;
use crate::model::layout::{Layout, Origin};
use crate::model::records::Mapping;
use crate::model::reference::ColumnPair;
use crate::model::shape::{CheckConstraint, ForeignKey, Shape};
use crate::pg::{catalog, role, spi, tx};
use crate::relation::failing_rows;
use crate::sqlgen::columns::cast_expression;
use crate::sqlgen::{check_rows, orphan};
use crate::store::sides;
use pgrx::PgSqlErrorCode;

/// Number of rows that a finding names.
const EXAMPLES: usize = 10;

/// Returns the findings for the rows of one source. `standing`: the target, where it exists already.
pub fn findings(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    standing: Option<&Shape>,
) -> Result<Vec<PreflightFinding>> {
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let mut found = Vec::new();
    let failing = list_unconverted(p, source, layout)?;
    if !failing.is_empty() {
        found.push(new_finding(
            p,
            Severity::Error,
            "rows that do not convert",
            format!("{}.", failing_rows::describe(&failing)),
            "Correct those rows, or write an expression that takes them.".into(),
        ));
    } else if layout.merge.is_none() {
        found.extend(check_refused(p, source, layout, standing)?);
    }
    found.extend(check_generated(p, source, layout)?);
    for key in source.fkeys.iter().filter(|k| !k.validated) {
        found.push(check_orphans(p, source, key)?);
    }
    Ok(found)
}

/// Rows for which the filter or an expression of the mapping fails.
fn list_unconverted(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
) -> Result<Vec<failing_rows::FailingRow>> {
    let values: Vec<String> = layout
        .columns
        .iter()
        .filter_map(|c| match &c.origin {
            Origin::Expression(text) => Some(cast_expression(text, &c.type_text)),
            _ => None,
        })
        .collect();
    let texts = match (&p.spec.filter, values.is_empty()) {
        (None, true) => return Ok(Vec::new()),
        (None, false) => values,
        (Some(filter), true) => vec![format!("({filter}\n)")],
        (Some(filter), false) => {
            let values = values.join(", ");
            vec![format!("CASE WHEN ({filter}\n) THEN ROW({values}) END")]
        }
    };
    let blocks = catalog::extent(p.source)?.map_or(0, |e| e.blocks);
    let key = source.key_columns();
    failing_rows::list(&source.name, &key, &texts, (0, blocks), EXAMPLES)
}

/// Rows that a check of the target refuses: an existing target's own checks, and those of the source that may have become false since
/// they were made (they read a clock, say).
fn check_refused(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    standing: Option<&Shape>,
) -> Result<Vec<PreflightFinding>> {
    let checks: Vec<&CheckConstraint> = match standing {
        Some(target) => target.checks.iter().collect(),
        None => source.checks.iter().filter(|c| c.mutable).collect(),
    };
    let mut found = Vec::new();
    for check in checks {
        let target = standing.map_or(&p.target_name, |t| &t.name);
        let filter = p.spec.filter.as_deref();
        let Some(sql) = check_rows::list_refused(source, target, layout, filter, check, EXAMPLES)
        else {
            continue;
        };
        let detail = match tx::probe(|| spi::json_rows::<String>(&sql, &[])) {
            Ok(rows) if rows.is_empty() => continue,
            Ok(rows) => format!("Check {} is false for ({}).", check.name, rows.join("), (")),
            // It calls a function that raises it, or that does not find what it needs.
            Err(e) => format!(
                "Check {} ends in an error: {} {e}.",
                check.name,
                e.sqlstate()
            ),
        };
        found.push(new_finding(
            p,
            Severity::Error,
            "rows that a check refuses",
            detail,
            format!(
                "Correct those rows, or do without the check: ALTER TABLE {} DROP CONSTRAINT {};",
                standing.map_or(&source.name, |t| &t.name),
                check.name
            ),
        ));
    }
    Ok(found)
}

/// Stored values of generated columns that the expression does not give any more: its function has changed. The target would have others.
fn check_generated(p: &Mapping, source: &Shape, layout: &Layout) -> Result<Vec<PreflightFinding>> {
    let mut found = Vec::new();
    for c in layout.columns.iter().filter(|c| !c.insert) {
        let Origin::Source(name) = &c.origin else {
            continue;
        };
        let Some(generated) = source.column(name).and_then(|s| s.generated.as_ref()) else {
            continue;
        };
        let sql = check_rows::list_outdated(source, name, generated, EXAMPLES);
        let rows = match tx::probe(|| spi::json_rows::<String>(&sql, &[])) {
            Err(e) if e.is_about_data() => vec![e.to_string()],
            other => other?,
        };
        if !rows.is_empty() {
            found.push(new_finding(
                p,
                Severity::Error,
                "generated values out of date",
                format!(
                    "Column {name} is generated as {generated}, which gives another value for ({}). The target's rows would differ.",
                    rows.join("), (")
                ),
                format!(
                    "Write those rows anew, by a column that it reads: UPDATE {} SET {} WHERE {name} IS DISTINCT FROM {generated};",
                    source.name,
                    read_columns(source, name)?
                        .first()
                        .map_or_else(|| "…".into(), |c| format!("{c} = {c}")),
                ),
            ));
        }
    }
    Ok(found)
}

/// The columns that a generated column is computed from. PostgreSQL computes it anew only where one of them is written.
fn read_columns(table: &Shape, generated: &Ident) -> Result<Vec<Ident>> {
    spi::json_rows(
        "SELECT pg_catalog.to_jsonb(r.attname) FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum \
         JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = e.oid AND d.deptype = 'n' \
           AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = a.attrelid \
         JOIN pg_catalog.pg_attribute r ON r.attrelid = a.attrelid AND r.attnum = d.refobjsubid \
         WHERE a.attrelid = $1 AND a.attname = $2 ORDER BY r.attnum",
        &[
            pgrx::pg_sys::Oid::from(table.oid).into(),
            generated.as_str().into(),
        ],
    )
}

/// What a foreign key that is NOT VALID leaves open.
fn check_orphans(p: &Mapping, source: &Shape, key: &ForeignKey) -> Result<PreflightFinding> {
    let operators = key.equals.iter().map(Some).chain(std::iter::repeat(None));
    let pairs: Vec<ColumnPair> = key
        .columns
        .iter()
        .zip(&key.ref_columns)
        .zip(operators)
        .map(|((child, parent), equals)| ColumnPair {
            child: child.clone(),
            parent: parent.clone(),
            equals: equals.cloned(),
        })
        .collect();
    let own: Vec<Ident> = source.key_columns();
    let sql = orphan::list(&source.name, &own, &key.ref_name, &pairs, EXAMPLES);
    let rows: Option<Vec<String>> = match tx::probe(|| spi::json_rows(&sql, &[])) {
        Ok(rows) => Some(rows),
        // Another role's table, whose rows the owner may not see.
        Err(e) if e.code() == PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE => None,
        Err(e) => return Err(e),
    };
    let violated = match rows.as_deref() {
        None => format!(
            "{} may not be read, so no row was looked at",
            key.ref_name.plain()
        ),
        Some([]) => "no row violates it".to_owned(),
        Some(rows) => format!("rows refer to nothing: {}", rows.join("; ")),
    };
    Ok(new_finding(
        p,
        if rows.is_some_and(|r| r.is_empty()) {
            Severity::Info
        } else {
            Severity::Warning
        },
        "foreign key not valid",
        format!(
            "Foreign key {} is NOT VALID, and so will the target's be; {violated}.",
            key.name
        ),
        format!(
            "Correct such rows, then: ALTER TABLE {} VALIDATE CONSTRAINT {};",
            source.name, key.name
        ),
    ))
}
