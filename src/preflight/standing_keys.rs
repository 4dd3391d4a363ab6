//! Rows that keys of a standing target refuse: its unique keys, exclusion constraints and foreign keys. `mig_create` takes it over with them.

use super::{PreflightFinding, Severity};
use crate::error::Result;
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use crate::model::records::Mapping;
use crate::model::reference::ColumnPair;
use crate::model::shape::{ForeignKey, IndexColumn, Shape, TableIndex};
use crate::pg::tid::BlockSlice;
use crate::pg::{catalog, role, spi, tx};
use crate::sqlgen::standing_keys::StandingPair;
use crate::store::sides;
use pgrx::PgSqlErrorCode;
use pgrx::datum::DatumWithOid;

/// Number of rows that a finding names.
const EXAMPLES: usize = 5;
/// Most pairs of rows that are compared for one exclusion constraint, where neither an order nor equal values narrow them down.
const MOST_PAIRS: i64 = 100_000_000;

/// Returns the findings for the rows of one source. `members`: all targets of the migration, to which no key may refer yet.
pub fn findings(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    target: &Shape,
    members: &[&Mapping],
) -> Result<Vec<PreflightFinding>> {
    if layout.merge.is_some() || target.owner != source.owner {
        return Ok(Vec::new());
    }
    let _owner = role::confine_reading(sides::owner(p)?)?;
    let look = StandingLook {
        p,
        pair: StandingPair {
            source,
            target,
            layout,
            filter: p.spec.filter.as_deref(),
            limit: EXAMPLES,
        },
    };
    let mut found = Vec::new();
    for index in target.indexes.iter().filter(|i| i.valid) {
        if index.exclusion {
            found.extend(look.exclusion(index)?);
        } else if index.unique {
            found.extend(look.unique(index)?);
        }
    }
    let refers_to_member = |k: &&ForeignKey| members.iter().any(|m| m.target_name == k.ref_name);
    let keys = target.fkeys.iter().filter(|k| k.enforced);
    for key in keys.filter(|k| !refers_to_member(k)) {
        found.extend(look.foreign_key(key)?);
    }
    Ok(found)
}

/// What a comparison of rows has found.
#[derive(Default)]
struct ComparedRows {
    violating: Vec<String>,
    /// The block before which it ended, and the number of blocks, if rows were left out.
    left_at: Option<(i64, i64)>,
}

fn is_equality(operator: &QualifiedName) -> bool {
    *operator == QualifiedName::new("pg_catalog", "=")
}

struct StandingLook<'a> {
    p: &'a Mapping,
    pair: StandingPair<'a>,
}

impl StandingLook<'_> {
    fn new_error(&self, check: &str, detail: String, name: &Ident) -> PreflightFinding {
        self.new_finding(
            Severity::Error,
            check,
            detail,
            &format!(
                "Correct those rows, or do without it: ALTER TABLE {} DROP CONSTRAINT {name};",
                self.pair.target.name
            ),
        )
    }

    fn new_finding(
        &self,
        severity: Severity,
        check: &str,
        detail: String,
        hint: &str,
    ) -> PreflightFinding {
        PreflightFinding {
            severity,
            check_name: check.into(),
            relation: Some(self.p.source),
            detail,
            hint: Some(hint.into()),
        }
    }

    /// The source's column that a column of the target carries.
    fn carries(&self, target: &Ident) -> Option<&Ident> {
        let mut columns = self.pair.layout.columns.iter();
        let column = columns.find(|c| c.name == *target && c.via.is_none())?;
        column.source_column()
    }

    /// Whether a unique key of the source keeps the rows apart already.
    fn is_unique_in_source(&self, index: &TableIndex) -> bool {
        let carried: Vec<&Ident> = index
            .columns
            .iter()
            .filter_map(|c| self.carries(c.name.as_ref()?))
            .collect();
        self.pair.source.indexes.iter().any(|i| {
            i.unique
                && i.valid
                && i.predicate.is_none()
                && (i.primary || i.nulls_not_distinct || !index.nulls_not_distinct)
                && i.columns
                    .iter()
                    .all(|c| c.name.as_ref().is_some_and(|n| carried.contains(&n)))
        })
    }

    fn unique(&self, index: &TableIndex) -> Result<Vec<PreflightFinding>> {
        let (layout, columns) = (self.pair.layout, self.columns_read_by(index)?);
        let mut texts = Vec::new();
        if !self.is_unique_in_source(index) {
            let doubles = self.pair.list_doubles(index, &columns);
            let rows = self.list(doubles, &[])?;
            texts.extend(
                (!rows.is_empty()).then(|| format!("several rows have {}", rows.join("; "))),
            );
        }
        let is_scoped = |n: &Ident| layout.scope.as_ref().is_some_and(|s| s.column == *n);
        if !columns.iter().any(is_scoped) {
            let rows = self.list(self.pair.list_taken(index, &columns), &[])?;
            texts.extend((!rows.is_empty()).then(|| {
                format!(
                    "a row of another scope has the values of ({})",
                    rows.join("), (")
                )
            }));
        }
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let check = "rows that a unique key refuses";
        let detail = format!(
            "Unique key {} of {}: {}.",
            index.name,
            self.pair.target.name.plain(),
            texts.join("; ")
        );
        let mut finding = self.new_error(check, detail, &index.name);
        if !index.constraint {
            let schema = &self.pair.target.name.schema;
            finding.hint = Some(format!(
                "Correct those rows, or do without it: DROP INDEX {schema}.{};",
                index.name
            ));
        }
        Ok(vec![finding])
    }

    /// Whether the source has a constraint that excludes at least the same rows.
    fn is_excluded_in_source(&self, index: &TableIndex) -> bool {
        let as_ours = |(c, o): (&IndexColumn, &QualifiedName)| {
            let mut theirs = index.columns.iter().zip(&index.operators);
            theirs.any(|(t, to)| {
                let same = t.name.as_ref().and_then(|n| self.carries(n));
                to == o && c.name.is_some() && same == c.name.as_ref()
            })
        };
        let mut all = self.pair.source.exclusions();
        all.any(|x| x.predicate.is_none() && x.columns.iter().zip(&x.operators).all(as_ours))
    }

    fn exclusion(&self, index: &TableIndex) -> Result<Option<PreflightFinding>> {
        let columns = self.columns_read_by(index)?;
        let mut compared = ComparedRows::default();
        if !self.is_excluded_in_source(index) {
            compared = self.compare_rows(index, &columns)?;
        }
        let is_equal_scope = |(c, o): (&IndexColumn, &QualifiedName)| {
            let scope = self.pair.layout.scope.as_ref();
            is_equality(o) && scope.is_some_and(|s| c.name.as_ref() == Some(&s.column))
        };
        let mut elements = index.columns.iter().zip(&index.operators);
        if !elements.any(is_equal_scope) {
            let sql = self.pair.list_excluded_by_others(index, &columns);
            compared.violating.extend(self.list(sql, &[])?);
        }
        let (name, table) = (&index.name, self.pair.target.name.plain());
        let check = "rows that an exclusion constraint refuses";
        if !compared.violating.is_empty() {
            let rows = compared.violating.join("; ");
            let detail = format!("Exclusion constraint {name} of {table}: {rows}.");
            return Ok(Some(self.new_error(check, detail, name)));
        }
        Ok(compared.left_at.map(|(block, of)| {
            let detail = format!(
                "Exclusion constraint {name} of {table}: the rows of {block} of {of} blocks were compared with all others, and none of them violates it."
            );
            let hint = "Rows that it refuses would be in mig.errors after the backfill.";
            self.new_finding(Severity::Warning, check, detail, hint)
        }))
    }

    /// Compares the source's rows with each other.
    fn compare_rows(&self, index: &TableIndex, columns: &[Ident]) -> Result<ComparedRows> {
        if let Some(range) = self.find_range(index)? {
            let sql = self.pair.list_overlapping(index, columns, range);
            return Ok(ComparedRows {
                violating: self.list(sql, &[])?,
                left_at: None,
            });
        }
        let Some(sql) = self.pair.list_excluded(index, columns) else {
            return Ok(ComparedRows::default());
        };
        let blocks = catalog::extent(self.p.source)?.map_or(0, |e| e.blocks);
        let rows = self.pair.source.est_rows.max(1);
        let narrowed = index.operators.iter().any(is_equality);
        let most = match narrowed {
            true => blocks,
            false => (MOST_PAIRS / rows * blocks / rows).min(blocks),
        };
        let slice = BlockSlice::new(0, most)?;
        Ok(ComparedRows {
            violating: self.list(Some(sql), &slice.args())?,
            left_at: (most < blocks).then_some((most, blocks)),
        })
    }

    /// The one element that is a range compared by `&&`, where all others are compared by `=`.
    fn find_range(&self, index: &TableIndex) -> Result<Option<usize>> {
        let others: Vec<usize> = (0..index.operators.len())
            .filter(|n| !is_equality(&index.operators[*n]))
            .collect();
        let [n] = others.as_slice() else {
            return Ok(None);
        };
        if index.operators[*n] != QualifiedName::new("pg_catalog", "&&") {
            return Ok(None);
        }
        let is_range = spi::value::<bool>(
            "SELECT t.typtype = 'r' FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = $3 JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             WHERE i.indrelid = $1 AND c.relname = $2",
            &[
                pgrx::pg_sys::Oid::from(self.pair.target.oid).into(),
                index.name.as_str().into(),
                i16::try_from(n + 1).unwrap_or(0).into(),
            ],
        )?;
        Ok((is_range == Some(true)).then_some(*n))
    }

    fn foreign_key(&self, key: &ForeignKey) -> Result<Option<PreflightFinding>> {
        let operators = key.equals.iter().map(Some).chain(std::iter::repeat(None));
        let columns = key.columns.iter().zip(&key.ref_columns).zip(operators);
        let pairs: Vec<ColumnPair> = columns
            .map(|((child, parent), equals)| ColumnPair {
                child: child.clone(),
                parent: parent.clone(),
                equals: equals.cloned(),
            })
            .collect();
        let same = |k: &ForeignKey| {
            let carried = key.columns.iter().map(|c| self.carries(c));
            k.validated
                && k.enforced
                && k.ref_oid == key.ref_oid
                && k.ref_columns == key.ref_columns
                && k.columns.iter().map(Some).eq(carried)
        };
        if self.pair.source.fkeys.iter().any(same) {
            return Ok(None);
        }
        let Some(sql) = self.pair.list_orphans(&key.ref_name, &pairs) else {
            return Ok(None);
        };
        let (name, parent) = (&key.name, key.ref_name.plain());
        let check = "rows that a foreign key refuses";
        match tx::probe(|| spi::json_rows::<String>(&sql, &[])) {
            Ok(rows) if rows.is_empty() => Ok(None),
            Ok(rows) => {
                let detail = format!(
                    "Foreign key {name} of {}: no row of {parent} for {}.",
                    self.pair.target.name.plain(),
                    rows.join("; ")
                );
                Ok(Some(self.new_error(check, detail, name)))
            }
            // Another role's table, whose rows the owner may not see.
            Err(e) if e.code() == PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE => {
                let detail = format!(
                    "Foreign key {name} of {}: {parent} may not be read, so no row was looked at.",
                    self.pair.target.name.plain()
                );
                let hint = "Rows that it refuses would be in mig.errors after the backfill.";
                Ok(Some(self.new_finding(
                    Severity::Warning,
                    check,
                    detail,
                    hint,
                )))
            }
            Err(e) => Err(e),
        }
    }

    /// The columns of the target that the index reads, in expressions and in its condition too.
    fn columns_read_by(&self, index: &TableIndex) -> Result<Vec<Ident>> {
        spi::json_rows(
            "SELECT DISTINCT pg_catalog.to_jsonb(a.attname) FROM pg_catalog.pg_class x \
             JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid AND i.indrelid = $1 \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND (a.attnum = ANY (i.indkey) \
               OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid \
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)) \
             WHERE x.relname = $2 AND a.attnum > 0",
            &[
                pgrx::pg_sys::Oid::from(self.pair.target.oid).into(),
                index.name.as_str().into(),
            ],
        )
    }

    /// No rows where there is no query, or where a value fails: that has a finding of its own.
    fn list(&self, sql: Option<String>, args: &[DatumWithOid]) -> Result<Vec<String>> {
        let Some(sql) = sql else {
            return Ok(Vec::new());
        };
        match tx::probe(|| spi::json_rows(&sql, args)) {
            Err(e) if e.is_about_data() => Ok(Vec::new()),
            other => other,
        }
    }
}
