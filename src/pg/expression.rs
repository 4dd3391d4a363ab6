//! Checks that a text is one harmless expression, with PostgreSQL's own parser and planner.

use crate::error::{About, Error, Result};
use crate::ident::Ident;
use crate::pg::draft::Draft;
use crate::pg::{catalog, parse, role, spi, tx};
use pgrx::{PgSqlErrorCode, pg_sys};

/// The most tokens (words, numbers and signs) of an expression: a longer one is a list of values, which belongs in a table.
const MOST_TOKENS: usize = 100_000;

/// PostgreSQL's findings about an expression that may be stored.
pub struct CheckedExpression {
    pub type_text: String,
    /// False where the value may depend on settings of the session or on the current time.
    pub immutable: bool,
    /// The columns that the expression reads.
    pub reads: Vec<Ident>,
    /// The value, where it depends on no row and no setting.
    pub constant: Option<String>,
}

/// Checks `text` as an expression over rows of `from`, an item of a FROM list. Refused: text that is more or less than one
/// expression, sub-selects, aggregates, sets, and anything volatile. PostgreSQL may run functions that the text names; they run as
/// `owner`, the owner of the table.
pub fn check(
    owner: pg_sys::Oid,
    column: &str,
    text: &str,
    from: &str,
) -> Result<CheckedExpression> {
    judge(owner, column, text, from, false)
}

/// As `check`, for an expression that draws a value once, and may be volatile.
pub fn check_draw(
    owner: pg_sys::Oid,
    column: &str,
    text: &str,
    from: &str,
) -> Result<CheckedExpression> {
    judge(owner, column, text, from, true)
}

/// Checks `text` as the default of a column of this type.
pub fn check_default(owner: pg_sys::Oid, column: &str, text: &str, type_text: &str) -> Result<()> {
    require_single(column, text)?;
    let tried = tx::probe(|| {
        let draft = Draft::open(owner)?;
        let _owner = role::confine(owner)?;
        let table = draft.qualify(&"default_check".into());
        spi::run(
            &format!("CREATE TABLE {table} (value {type_text} DEFAULT ({text}\n))"),
            &[],
        )
    });
    tried.map(|_| ()).map_err(|e| expression_error(column, e))
}

/// Checks whether a value of type `from` may be assigned to a column of type `to` (both as PostgreSQL writes them).
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

/// Checks whether the type has a default operator class of this access method.
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

fn judge(
    owner: pg_sys::Oid,
    column: &str,
    text: &str,
    from: &str,
    draws: bool,
) -> Result<CheckedExpression> {
    require_single(column, text)?;
    let found = tx::probe(|| {
        let draft = Draft::open(owner)?;
        let _owner = role::confine(owner)?;
        let view = make_view(&draft, text, from)?;
        let ExpressionFacts { immutable, fixed } = require_harmless(view, column, draws)?;
        let type_text = spi::value::<String>(
            "SELECT pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute \
             WHERE attrelid = $1 AND attnum = 1",
            &[view.into()],
        )?;
        Ok(CheckedExpression {
            type_text: type_text.ok_or_else(no_view)?,
            immutable,
            reads: spi::json_rows(READS, &[view.into()])?,
            constant: match fixed && immutable {
                true => constant(owner, text)?,
                false => None,
            },
        })
    });
    found.map_err(|e| expression_error(column, e))
}

/// Creates a view with one column, the value of the expression.
fn make_view(draft: &Draft, text: &str, from: &str) -> Result<pg_sys::Oid> {
    let view = draft.qualify(&"expression_check".into());
    // The line break ends a comment that the expression may end with.
    spi::run(
        &format!("CREATE VIEW {view} AS SELECT ({text}\n) AS value FROM {from}"),
        &[],
    )?;
    catalog::find(&view)?.ok_or_else(no_view)
}

fn no_view() -> Error {
    Error::internal("the view is not there".into())
}

/// Returns the value of a constant; None above 10,000 bytes. It may be as long as `repeat()` can make it, and does not tell two
/// sources apart then.
fn constant(owner: pg_sys::Oid, text: &str) -> Result<Option<String>> {
    const MOST_BYTES: usize = 10_000;
    let _reading = role::confine_reading(owner)?;
    spi::value(
        &format!(
            "SELECT value FROM (SELECT ({text}\n)::pg_catalog.text AS value OFFSET 0) q \
             WHERE pg_catalog.octet_length(value) OPERATOR(pg_catalog.<=) {MOST_BYTES}"
        ),
        &[],
    )
}

/// A view depends on each column that it reads.
const READS: &str = "SELECT DISTINCT pg_catalog.to_jsonb(a.attname) FROM pg_catalog.pg_rewrite r \
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
    JOIN pg_catalog.pg_attribute a ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.refobjid \
    AND a.attnum = d.refobjsubid WHERE r.ev_class = $1 AND d.refobjid <> r.ev_class";

fn bad_expression(column: &str, detail: String) -> Error {
    refused_with(column, None, detail)
}

/// `code`: PostgreSQL's, where it refused the expression.
fn refused_with(column: &str, code: Option<PgSqlErrorCode>, detail: String) -> Error {
    Error::bad_expression(
        column.to_owned(),
        code,
        detail,
        "Use one expression over the columns of the source row; name functions outside pg_catalog with their schema.".into(),
    )
}

/// Requires one SELECT with one output column and nothing else: catches a text that closes the enclosing parenthesis and goes on.
fn require_single(column: &str, text: &str) -> Result<()> {
    if let Some(why) = parse::too_much(text, MOST_TOKENS) {
        return Err(bad_expression(
            column,
            format!("Nobody can read it: {why}."),
        ));
    }
    let sql = format!("SELECT ({text}\n)");
    // SAFETY: the statements come from the parser.
    match parse::raw(&sql, |all| unsafe { is_bare_select(all) }) {
        Ok(true) => Ok(()),
        Ok(false) => Err(bad_expression(
            column,
            "It is more than one expression.".into(),
        )),
        Err(e) => Err(expression_error(column, e)),
    }
}

/// Turns PostgreSQL's error into one about the expression. An error that the expression does not cause, such as a cancel, is
/// returned unchanged.
fn expression_error(column: &str, e: Error) -> Error {
    if e.about() != About::Server {
        return e;
    }
    let code = e.code();
    match parse::syntax_message(e) {
        Ok(message) => refused_with(column, Some(code), format!("PostgreSQL says: {message}.")),
        Err(e) => e,
    }
}

/// # Safety
/// `parsed` is what `raw_parser` returned.
unsafe fn is_bare_select(parsed: &[*mut pg_sys::RawStmt]) -> bool {
    // SAFETY: the caller passes statements of the parser; each node's tag is checked before it is cast.
    unsafe {
        let [one] = parsed else {
            return false;
        };
        let statement = (**one).stmt;
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

/// The facts about an expression that may be stored.
struct ExpressionFacts {
    immutable: bool,
    /// It reads no column.
    fixed: bool,
}

/// Checks the analysed query of the view that `judge` made.
fn require_harmless(view: pg_sys::Oid, column: &str, draws: bool) -> Result<ExpressionFacts> {
    // SAFETY: the view exists and was made by `judge`; the relation is closed again, and the query tree is only read.
    let (reads_tables, grouped, sets, volatile, mutable, varies) = unsafe {
        let relation = pg_sys::relation_open(view, pg_sys::AccessShareLock as i32);
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
        Some((_, why)) => Err(bad_expression(column, (*why).into())),
        None => Ok(ExpressionFacts {
            immutable: !mutable,
            fixed: !varies,
        }),
    }
}
