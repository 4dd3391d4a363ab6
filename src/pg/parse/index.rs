//! A user's CREATE INDEX statement, read so that the index can be built concurrently with writers.

use super::node::{range, tag, text};
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::lint::statement::WrittenName;
use crate::pg::{spi, top_level};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::CString;

/// The most tokens (words, numbers and signs) of a statement.
const MOST_TOKENS: usize = 100_000;

/// What is known of the statement before PostgreSQL has analysed it.
pub struct ParsedIndex {
    pub table: Oid,
    pub name: Ident,
    /// None for the default tablespace.
    pub tablespace: Option<Ident>,
}

/// Reads the statement. Names are looked up on the session's own search_path. Errors: 22023 for anything but one CREATE INDEX,
/// 42P01 without its table.
pub fn read(statement: &str) -> Result<ParsedIndex> {
    let given = bare(parse(statement)?)?;
    let Some(table) = spi::value::<Oid>(
        "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
        &[given.table.sql().into()],
    )?
    else {
        return Err(Error::sql(
            pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation \"{}\" does not exist", given.table.plain()),
            None,
        ));
    };
    let Some(name) = given.name else {
        return Err(Error::invalid(
            "the index has no name".into(),
            "A build that is interrupted is found again by its name.".into(),
            format!(
                "Give it one: CREATE INDEX {} ON …;",
                Ident::derive(&[given.table.name.as_str(), "idx"])
            ),
        ));
    };
    Ok(ParsedIndex {
        table,
        name: Ident::new(name),
        tablespace: given.tablespace.map(Ident::new),
    })
}

/// Runs the statement for another, empty table with the same columns. The catalog then has its definition, with every name resolved
/// on the session's search_path.
pub fn make_on(statement: &str, table: &QualifiedName) -> Result<()> {
    let c_string = |s: &str| CString::new(s).map_err(|_| nul_byte());
    let text = c_string(statement)?;
    let (schema, name) = (
        c_string(table.schema.as_str())?,
        c_string(table.name.as_str())?,
    );
    // SAFETY: inside a transaction; the three texts outlive the call, and nodes are cast according to their tags.
    unsafe {
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        for raw in super::node::items(parsed) {
            let raw = raw.cast::<pg_sys::RawStmt>();
            if tag((*raw).stmt) != NodeTag::T_IndexStmt {
                continue;
            }
            let index = &mut *(*raw).stmt.cast::<pg_sys::IndexStmt>();
            (*index.relation).schemaname = pg_sys::pstrdup(schema.as_ptr());
            (*index.relation).relname = pg_sys::pstrdup(name.as_ptr());
            index.concurrent = false;
            index.tableSpace = std::ptr::null_mut();
            top_level::run_parsed(raw, &text);
        }
    }
    Ok(())
}

fn nul_byte() -> Error {
    Error::invalid(
        "the statement contains a NUL byte".into(),
        String::new(),
        "Leave it out.".into(),
    )
}

struct IndexStatement {
    table: WrittenName,
    name: Option<String>,
    tablespace: Option<String>,
}

enum IndexOrOther {
    Index(IndexStatement),
    Other,
}

fn bare(parsed: IndexOrOther) -> Result<IndexStatement> {
    match parsed {
        IndexOrOther::Index(given) => Ok(given),
        IndexOrOther::Other => Err(Error::invalid(
            "not one CREATE INDEX".into(),
            "Other statements, and several of them, are not taken.".into(),
            "For example: SELECT mig_create_index('CREATE INDEX tip_created_at ON tip (created_at)');".into(),
        )),
    }
}

fn parse(statement: &str) -> Result<IndexOrOther> {
    if let Some(why) = super::too_much(statement, MOST_TOKENS) {
        return Err(Error::invalid(
            "the statement is too long to be read".into(),
            format!("Nobody can read it: {why}."),
            "Put a long expression into a function, and the function into the index.".into(),
        ));
    }
    // SAFETY: the statements come from the parser; nodes are cast according to their tags.
    super::raw(statement, |all| unsafe {
        let [one] = all else {
            return IndexOrOther::Other;
        };
        let node = (**one).stmt;
        if tag(node) != NodeTag::T_IndexStmt {
            return IndexOrOther::Other;
        }
        let s = &*node.cast::<pg_sys::IndexStmt>();
        IndexOrOther::Index(IndexStatement {
            table: range(s.relation),
            name: text(s.idxname),
            tablespace: text(s.tableSpace),
        })
    })
}
