//! Argument types whose decoding can fail: they raise an error that names the problem, where pgrx's own types panic.

use crate::error::{Error, Result};
use crate::pg::document::JsonText;
use crate::pg::encoding;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{PgLogLevel, pg_sys};
use serde_json::Value;
use std::ops::Deref;

/// A jsonb argument. PostgreSQL stores deeper documents and larger numbers than can be read here.
pub struct Document(pub Value);

/// The greatest depth of a document. No setting of pg_mig is that deep. A document is stored inside others, which are read to twice
/// this depth.
const MOST_LEVELS: usize = 64;

impl Document {
    fn read(text: &str) -> Result<Value> {
        let refused = |detail: String| {
            Error::invalid(
                "the document cannot be read".into(),
                detail,
                "See the examples of this function in the README.".into(),
            )
        };
        require_size(text.len())?;
        if levels(text) > MOST_LEVELS {
            return Err(refused(format!(
                "It is nested more than {MOST_LEVELS} levels deep."
            )));
        }
        serde_json::from_str(text).map_err(|e| refused(format!("{e}.")))
    }
}

/// Returns the depth of a document that PostgreSQL has written.
fn levels(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// A name, an expression or another short text, in a database of any encoding.
pub struct Text(String);

/// A migration file: a text of any size, in a database of any encoding.
pub struct Script(pub String);

/// The greatest size of a text or a document in bytes.
const MOST_BYTES: usize = 16 << 20;

fn require_size(bytes: usize) -> Result<()> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Error::too_large(bytes, MOST_BYTES))
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Returns the value, or raises an ERROR: arguments are decoded before the function itself begins.
fn or_raise<T>(read: Result<T>) -> Option<T> {
    read.map_err(|e| ErrorReport::from(e).report(PgLogLevel::ERROR))
        .ok()
}

impl FromDatum for Document {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the datum is a jsonb.
        let text = unsafe { JsonText::from_datum(datum, is_null) }?;
        or_raise(Self::read(&text.0)).map(Self)
    }
}

impl FromDatum for Text {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: the datum is a text, which has the layout of bytea.
        let bytes = unsafe { <&[u8]>::from_datum(datum, is_null) }?;
        or_raise(require_size(bytes.len()).and_then(|()| encoding::read(bytes))).map(Self)
    }
}

impl FromDatum for Script {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: the datum is a text, which has the layout of bytea.
        let bytes = unsafe { <&[u8]>::from_datum(datum, is_null) }?;
        or_raise(encoding::read(bytes)).map(Self)
    }
}

macro_rules! argument {
    ($kind:ty, $sql:literal) => {
        // SAFETY: the datum is read by `FromDatum` of the same type.
        unsafe impl<'fcx> ArgAbi<'fcx> for $kind {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: upheld by the caller; pg_mig's functions take it only as an `Option`.
                unsafe { arg.unbox_arg_using_from_datum() }
                    .unwrap_or_else(|| Self(Default::default()))
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> pgrx::nullable::Nullable<Self> {
                // SAFETY: upheld by the caller.
                unsafe { arg.unbox_arg_using_from_datum() }.into()
            }
        }

        // SAFETY: names the SQL type that `FromDatum` reads.
        unsafe impl SqlTranslatable for $kind {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($kind);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }
    };
}

argument!(Document, "jsonb");
argument!(Text, "text");
argument!(Script, "text");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        assert_eq!(levels(r#"{"a": [1, {"]}": "[[[\"{"}]}"#), 3);
        assert_eq!(levels("1"), 0);
    }

    #[test]
    fn a_document_that_is_too_deep_or_too_large_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Document::read(&deep(MOST_LEVELS)).is_ok());
        assert!(Document::read(&deep(MOST_LEVELS + 1)).is_err());
        assert!(Document::read(&deep(1_000_000)).is_err());
        assert!(Document::read(&"9".repeat(400)).is_err());
        assert!(Document::read(r#"{"a": 1e2}"#).is_ok());
    }
}
