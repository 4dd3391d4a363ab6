//! Is this text one harmless expression? PostgreSQL's own parser and planner answer.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::pg::{spi, tx};
use pgrx::pg_sys;
use std::ffi::CString;

/// What PostgreSQL says of an expression that may be stored.
pub struct Checked {
    pub type_text: String,
    /// False where the value may depend on settings of the session or on the time of day.
    pub immutable: bool,
    /// Columns of a table that it reads.
    pub reads: Vec<Ident>,
    /// Its value, where no row and no setting has a say in it.
    pub constant: Option<String>,
}

/// Checks `text` as an expression over rows of `from`, an item of a FROM list. Refused: text that is more or
/// less than one expression, sub-selects, aggregates, sets, and anything volatile.
pub fn check(column: &str, text: &str, from: &str) -> Result<Checked> {
    judged(column, text, from, false)
}

/// The same of what draws a value once, and may be volatile.
pub fn check_draw(column: &str, text: &str, from: &str) -> Result<Checked> {
    judged(column, text, from, true)
}

/// Checks `text` as the default of a column of this type.
pub fn check_default(column: &str, text: &str, type_text: &str) -> Result<()> {
    single(column, text)?;
    let table = QualifiedName::new("mig", "default_check");
    let tried = tx::probe(|| {
        spi::run(
            &format!("CREATE TABLE {table} (value {type_text} DEFAULT ({text}\n))"),
            &[],
        )
    });
    match tried {
        Ok(_) => Ok(()),
        Err(Error::Sql { message, .. }) => Err(bad(column, format!("PostgreSQL says: {message}."))),
        Err(e) => Err(e),
    }
}

/// Whether a value of one type may be assigned to a column of the other (both as PostgreSQL writes them).
pub fn assignable(from: &str, to: &str) -> Result<bool> {
    let oid = |text: &str| spi::value::<pg_sys::Oid>("SELECT $1::regtype::oid", &[text.into()]);
    let (Some(from), Some(to)) = (oid(from)?, oid(to)?) else {
        return Ok(false);
    };
    // SAFETY: catalog look-ups; both arrays have one entry.
    Ok(unsafe {
        pg_sys::can_coerce_type(1, &from, &to, pg_sys::CoercionContext::COERCION_ASSIGNMENT)
    })
}

/// Whether the type has a default operator class of this access method.
pub fn indexable(type_text: &str, method: &str) -> Result<bool> {
    spi::value::<pg_sys::Oid>("SELECT $1::regtype::oid", &[type_text.into()])?.map_or(
        Ok(false),
        |kind| {
            let method = spi::value::<pg_sys::Oid>(
                "SELECT oid FROM pg_catalog.pg_am WHERE amname = $1",
                &[method.into()],
            )?;
            // SAFETY: catalog look-ups.
            Ok(method.is_some_and(|m| unsafe {
                pg_sys::GetDefaultOpClass(kind, m) != pg_sys::InvalidOid
            }))
        },
    )
}

fn judged(column: &str, text: &str, from: &str, draws: bool) -> Result<Checked> {
    single(column, text)?;
    let view = QualifiedName::new("mig", "expression_check");
    let found = tx::probe(|| {
        // The line break ends a comment that the expression may end with.
        spi::run(
            &format!("CREATE VIEW {view} AS SELECT ({text}\n) AS value FROM {from}"),
            &[],
        )?;
        let Harmless { immutable, fixed } = harmless(column, draws)?;
        let type_text = spi::value::<String>(
            "SELECT pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute \
             WHERE attrelid = 'mig.expression_check'::pg_catalog.regclass AND attnum = 1",
            &[],
        )?;
        let type_text =
            type_text.ok_or_else(|| Error::Internal("a view without its column".into()))?;
        let reads: Vec<Ident> = spi::json_rows(READS, &[])?;
        let constant = match fixed && immutable {
            true => spi::value(&format!("SELECT ({text}\n)::pg_catalog.text"), &[])?,
            false => None,
        };
        Ok(Checked {
            type_text,
            immutable,
            reads,
            constant,
        })
    });
    match found {
        Ok(checked) => Ok(checked),
        Err(Error::Sql { message, .. }) => Err(bad(column, format!("PostgreSQL says: {message}."))),
        Err(e) => Err(e),
    }
}

/// A view depends on each column that it reads.
const READS: &str = "SELECT DISTINCT pg_catalog.to_jsonb(a.attname) FROM pg_catalog.pg_rewrite r \
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
    JOIN pg_catalog.pg_attribute a ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.refobjid \
    AND a.attnum = d.refobjsubid WHERE r.ev_class = 'mig.expression_check'::pg_catalog.regclass AND d.refobjid <> r.ev_class";

fn bad(column: &str, detail: String) -> Error {
    Error::BadExpression {
        column: column.to_owned(),
        detail,
        hint: "Use one expression over the columns of the source row; name functions outside pg_catalog with their schema.".into(),
    }
}

/// One SELECT, one output column, nothing else: a text that closes our parenthesis and goes on is caught here.
fn single(column: &str, text: &str) -> Result<()> {
    let sql = CString::new(format!("SELECT ({text}\n)"))
        .map_err(|_| bad(column, "It contains a NUL byte.".into()))?;
    let parsed = tx::probe(|| {
        // SAFETY: the raw parser only allocates in the current context and raises on a syntax error, which
        // the surrounding subtransaction catches.
        Ok(unsafe {
            is_bare_select(pg_sys::raw_parser(
                sql.as_ptr(),
                pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
            ))
        })
    });
    match parsed {
        Ok(true) => Ok(()),
        Ok(false) => Err(bad(column, "It is more than one expression.".into())),
        Err(Error::Sql { message, .. }) => Err(bad(column, format!("PostgreSQL says: {message}."))),
        Err(e) => Err(e),
    }
}

/// # Safety
/// `parsed` is what `raw_parser` returned.
unsafe fn is_bare_select(parsed: *mut pg_sys::List) -> bool {
    // SAFETY: a list of RawStmt by contract; each node's tag is checked before it is read as that node.
    unsafe {
        if parsed.is_null() || (*parsed).length != 1 {
            return false;
        }
        let statement = (*(pg_sys::list_nth(parsed, 0) as *mut pg_sys::RawStmt)).stmt;
        if (*statement).type_ != pg_sys::NodeTag::T_SelectStmt {
            return false;
        }
        let s = &*(statement as *mut pg_sys::SelectStmt);
        let lists = [
            s.distinctClause,
            s.fromClause,
            s.groupClause,
            s.windowClause,
            s.valuesLists,
            s.sortClause,
            s.lockingClause,
        ];
        let nodes = [s.whereClause, s.havingClause, s.limitOffset, s.limitCount];
        !s.targetList.is_null()
            && (*s.targetList).length == 1
            && lists.iter().all(|l| l.is_null())
            && nodes.iter().all(|n| n.is_null())
            && s.intoClause.is_null()
            && s.withClause.is_null()
            && s.op == pg_sys::SetOperation::SETOP_NONE
    }
}

/// What is known of an expression that may be stored.
struct Harmless {
    immutable: bool,
    /// It reads nothing of a row.
    fixed: bool,
}

/// Looks at the analysed query of the view that `check` made.
fn harmless(column: &str, draws: bool) -> Result<Harmless> {
    let oid: Option<pg_sys::Oid> = spi::value(
        "SELECT 'mig.expression_check'::pg_catalog.regclass::pg_catalog.oid",
        &[],
    )?;
    let oid = oid.ok_or_else(|| Error::Internal("the view is not there".into()))?;
    // SAFETY: the view exists and is ours; the relation is closed again, and the query tree is only read.
    let (reads_tables, grouped, sets, volatile, mutable, varies) = unsafe {
        let relation = pg_sys::relation_open(oid, pg_sys::AccessShareLock as i32);
        let q = &*pg_sys::get_view_query(relation);
        let values = q.targetList as *mut pg_sys::Node;
        let found = (
            q.hasSubLinks,
            q.hasAggs || q.hasWindowFuncs,
            q.hasTargetSRFs,
            pg_sys::contain_volatile_functions(values),
            pg_sys::contain_mutable_functions(values),
            pg_sys::contain_var_clause(values),
        );
        pg_sys::relation_close(relation, pg_sys::AccessShareLock as i32);
        found
    };
    let refusals = [
        (reads_tables, "It reads other tables (a sub-select)."),
        (
            grouped,
            "It is an aggregate or a window function, not a value of one row.",
        ),
        (sets, "It returns a set."),
        (
            volatile && !draws,
            "It is volatile: it would give another value each time it is asked.",
        ),
    ];
    match refusals.iter().find(|(hit, _)| *hit) {
        Some((_, why)) => Err(bad(column, (*why).into())),
        None => Ok(Harmless {
            immutable: !mutable,
            fixed: !varies,
        }),
    }
}
