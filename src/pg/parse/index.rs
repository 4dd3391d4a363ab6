//! CREATE INDEX, as a user wrote it, for a build beside writers.

use super::node::{range, tag, text};
use crate::error::{Error, Result};
use crate::ident::Ident;
use crate::model::lint::statement::Written;
use crate::pg::{spi, tx};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::CString;

pub struct Index {
    pub table: Oid,
    pub name: Ident,
    /// The same with CONCURRENTLY and the name.
    pub statement: String,
}

/// Names are looked for on the session's own search_path. Errors: 22023 for anything but one CREATE INDEX, 42P01 without its table.
pub fn read(statement: &str) -> Result<Index> {
    let given = bare(parse(statement)?)?;
    let Some(table) = spi::value::<Oid>(
        "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
        &[given.table.sql().into()],
    )?
    else {
        return Err(Error::Sql {
            code: pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            message: format!("relation \"{}\" does not exist", given.table.plain()),
            detail: None,
        });
    };
    let Some(name) = given.name else {
        return Err(Error::Invalid {
            message: "the index has no name".into(),
            detail: "A build that is interrupted is found again by its name.".into(),
            hint: format!(
                "Give it one: CREATE INDEX {} ON …;",
                Ident::derived(&[given.table.name.as_str(), "idx"])
            ),
        });
    };
    let statement = if given.concurrently {
        statement.trim().trim_end_matches(';').to_owned()
    } else {
        concurrent(statement)?
    };
    Ok(Index {
        table,
        name: Ident::new(name),
        statement,
    })
}

/// With the word that it lacks, behind the first INDEX that makes the parser agree.
fn concurrent(statement: &str) -> Result<String> {
    let statement = statement.trim().trim_end_matches(';');
    let lower = statement.to_ascii_lowercase();
    let places = lower
        .match_indices("index")
        .map(|(at, word)| at + word.len());
    for at in places {
        let text = format!("{} CONCURRENTLY{}", &statement[..at], &statement[at..]);
        if let Ok(Parsed::Index(found)) = parse(&text)
            && found.concurrently
        {
            return Ok(text);
        }
    }
    Err(Error::Internal(
        "a CREATE INDEX without the word INDEX".into(),
    ))
}

struct Given {
    table: Written,
    name: Option<String>,
    concurrently: bool,
}

enum Parsed {
    Index(Given),
    Other,
}

fn bare(parsed: Parsed) -> Result<Given> {
    match parsed {
        Parsed::Index(given) => Ok(given),
        Parsed::Other => Err(Error::Invalid {
            message: "not one CREATE INDEX".into(),
            detail: "Other statements, and several of them, are not taken.".into(),
            hint: "For example: SELECT mig_create_index('CREATE INDEX tip_created_at ON tip (created_at)');".into(),
        }),
    }
}

fn parse(statement: &str) -> Result<Parsed> {
    let sql = CString::new(statement).map_err(|_| Error::Invalid {
        message: "the statement contains a NUL byte".into(),
        detail: String::new(),
        hint: "Leave it out.".into(),
    })?;
    tx::probe(|| {
        // SAFETY: the parser only allocates, and raises on a syntax error, which the subtransaction catches; nodes are read as
        // what their tags say.
        Ok(unsafe {
            let parsed = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
            let statements = super::node::items(parsed);
            let [one] = statements.as_slice() else {
                return Ok(Parsed::Other);
            };
            let node = (*one.cast::<pg_sys::RawStmt>()).stmt;
            if tag(node) != NodeTag::T_IndexStmt {
                return Ok(Parsed::Other);
            }
            let s = &*node.cast::<pg_sys::IndexStmt>();
            Parsed::Index(Given {
                table: range(s.relation),
                name: text(s.idxname),
                concurrently: s.concurrent,
            })
        })
    })
}
