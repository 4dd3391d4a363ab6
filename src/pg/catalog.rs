//! Catalog look-ups of relations.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::shape::{Grant, Shape};
use crate::model::text_enum::text_enum;
use crate::pg::{prepared, spi, syscache};
use pgrx::pg_sys::{self, Oid};

/// Returns the relation's shape; None if there is no such relation.
pub fn shape(oid: Oid) -> Result<Option<Shape>> {
    Ok(shapes(&[oid])?.into_iter().next())
}

/// Returns the shapes of the relations that exist, in any order.
pub fn shapes(oids: &[Oid]) -> Result<Vec<Shape>> {
    spi::json_rows(
        include_str!("../../sql/query/table_shape.sql"),
        &[oids.to_vec().into()],
    )
}

/// Errors: 42P01 unless the name means this relation now.
pub fn require_name(relation: Oid, name: &QualifiedName) -> Result<()> {
    if oid_of(name) == Some(relation) {
        return Ok(());
    }
    Err(Error::sql(
        pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        format!("{} is another table now", name.plain()),
        Some("A table or a schema was renamed, or given its place by another.".into()),
    ))
}

/// The error for a table that should exist and does not.
pub fn missing_table(name: &str) -> Error {
    Error::unsuitable(
        name.to_owned(),
        "gone: the table was dropped".into(),
        "Remove the migration with mig_drop, or restore the table.".into(),
    )
}

/// Returns the shape of a relation that must exist.
pub fn shape_of(oid: u32, name: &str) -> Result<Shape> {
    shape(Oid::from(oid))?.ok_or_else(|| missing_table(name))
}

/// Resolves a relation name in a document: qualified, or in schema public, because documents are read with a pinned search_path.
pub fn regclass(text: &str) -> Result<Oid> {
    let name =
        QualifiedName::parse(text, "public").ok_or_else(|| Error::bad_name(text.to_owned()))?;
    find(&name)?.ok_or_else(|| {
        Error::sql(
            pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation \"{text}\" does not exist"),
            Some(format!("{} was looked for.", name.plain())),
        )
    })
}

/// Returns the relation of this name, if it exists.
pub fn find(name: &QualifiedName) -> Result<Option<Oid>> {
    spi::value(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2",
        &[name.schema.as_str().into(), name.name.as_str().into()],
    )
}

/// Returns the roles other than the owner that have rights on a relation: quoted names, or PUBLIC.
pub fn grantees(relation: &QualifiedName) -> Result<Vec<String>> {
    spi::json_rows(
        "SELECT DISTINCT pg_catalog.to_jsonb(CASE WHEN e.grantee = 0 THEN 'PUBLIC' \
         ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END) \
         FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) e \
         WHERE c.oid = $1::pg_catalog.regclass AND e.grantee <> c.relowner",
        &[relation.to_string().into()],
    )
}

/// Returns the grants on a sequence to roles other than its owner.
pub fn sequence_grants(sequence: &QualifiedName) -> Result<Vec<Grant>> {
    spi::rows(
        "SELECT CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END AS grantee, \
         e.privilege_type AS privilege, e.is_grantable AS grantable, NULL::text AS column \
         FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) e WHERE c.oid = $1::pg_catalog.regclass AND e.grantee <> c.relowner",
        &[sequence.to_string().into()],
    )
}

/// Returns a view's definition, options, grants and triggers as one text; None if there is no view of this name.
pub fn view_text(name: &QualifiedName) -> Result<Option<String>> {
    let Some(oid) = find(name)? else {
        return Ok(None);
    };
    spi::value(
        "SELECT pg_catalog.concat_ws(' | ', pg_catalog.pg_get_viewdef(c.oid), c.reloptions::pg_catalog.text, c.relacl::pg_catalog.text, \
         c.relowner::pg_catalog.text, (SELECT pg_catalog.string_agg(t.tgname || t.tgenabled::pg_catalog.text, ' ' ORDER BY t.tgname) \
         FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)) FROM pg_catalog.pg_class c WHERE c.oid = $1 AND c.relkind = 'v'",
        &[oid.into()],
    )
}

/// Returns the index access methods for exclusion constraints, besides btree, whose default operator class of the type has `=` (that of
/// btree_gist, say).
pub fn methods_with_equality(type_text: &str) -> Result<Vec<String>> {
    spi::json_rows(
        include_str!("../../sql/query/methods_with_equality.sql"),
        &[type_text.into()],
    )
}

/// Returns the sequence of a serial or identity column.
pub fn sequence_of(table: &QualifiedName, column: &Ident) -> Result<Option<QualifiedName>> {
    spi::first(
        "SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = pg_catalog.pg_get_serial_sequence($1, $2)::pg_catalog.regclass",
        &[table.to_string().into(), column.as_str().into()],
    )
}

/// Checks that a view's expressions use no function, operator or type that was created after initdb. Those that initdb created are
/// pinned, and pg_depend has no rows for them (pg_depend, manual).
pub fn uses_nothing_of_users(view: Oid) -> Result<bool> {
    #[derive(serde::Deserialize)]
    struct Use {
        is_there: bool,
        is_of_users: bool,
    }
    // The view may be newer than the snapshot of the transaction that writes.
    let found: Option<Use> = prepared::first_latest(
        "SELECT pg_catalog.count(*) > 0 AS is_there, coalesce(pg_catalog.bool_or(d.refclassid <> 'pg_catalog.pg_class'::regclass), false) AS is_of_users \
         FROM pg_catalog.pg_rewrite r LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid \
         WHERE r.ev_class = $1",
        &[pg_sys::OIDOID],
        &mut [pg_sys::Datum::from(view)],
    )?;
    Ok(found.is_some_and(|u| u.is_there && !u.is_of_users))
}

/// Errors with 22023 where the text is not PostgreSQL's own name of a type: any other content, such as a comment, would become part
/// of a statement of pg_mig.
fn require_canonical_type(type_text: &str) -> Result<()> {
    let refused = || {
        Error::bad_scope(
            format!("\"{type_text}\" is not the name of a type, as PostgreSQL writes it."),
            "Leave the state of pg_mig as mig_define and mig_create wrote it.".into(),
        )
    };
    let text = std::ffi::CString::new(type_text).map_err(|_| refused())?;
    let (mut oid, mut modifier) = (Oid::INVALID, -1);
    // SAFETY: the text is NUL-terminated, and both variables are written; the name is copied.
    let name = unsafe {
        pg_sys::parseTypeString(text.as_ptr(), &mut oid, &mut modifier, true);
        if oid == Oid::INVALID {
            return Err(refused());
        }
        let name = pg_sys::format_type_with_typemod(oid, modifier);
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    };
    if name == type_text {
        Ok(())
    } else {
        Err(refused())
    }
}

/// Errors with 22023 where not only PostgreSQL's own code reads a literal of the type. Reading a literal of an array, a row or a
/// range evaluates the checks of the domains in it, which are users' functions; and pg_mig's triggers contain the scope's value as
/// a literal.
pub fn require_plain(type_text: &str) -> Result<()> {
    require_canonical_type(type_text)?;
    let plain = spi::value::<bool>(
        "WITH RECURSIVE t AS ( \
           SELECT y.oid, y.typtype, y.typbasetype, y.typelem, y.typnamespace FROM pg_catalog.pg_type y WHERE y.oid = pg_catalog.to_regtype($1) \
           UNION ALL SELECT y.oid, y.typtype, y.typbasetype, y.typelem, y.typnamespace FROM t JOIN pg_catalog.pg_type y ON y.oid = t.typbasetype) \
         SELECT pg_catalog.bool_or(t.typtype = 'e' OR t.typtype = 'b' AND (t.typelem = 0 OR t.typnamespace = 'pg_catalog'::regnamespace)) FROM t",
        &[type_text.into()],
    )?;
    if plain == Some(true) {
        return Ok(());
    }
    Err(Error::bad_scope(
        format!("Its type, {type_text}, is made of other types."),
        "Take a column of a base type, an enum, or a domain over one.".into(),
    ))
}

/// Returns the relation's owner. Errors: 42P01 where the relation is gone.
pub fn owner_of(relation: Oid) -> Result<Oid> {
    syscache::owner_of(relation).ok_or_else(|| missing_table("the table"))
}

/// Returns a relation by its name, from the session's catalog cache; None if there is none.
pub fn oid_of(name: &QualifiedName) -> Option<Oid> {
    let [schema, relation] =
        [&name.schema, &name.name].map(|n| std::ffi::CString::new(n.as_str()).ok());
    let (schema, relation) = (schema?, relation?);
    // SAFETY: catalog look-ups inside a transaction that copy nothing.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::get_relname_relid(relation.as_ptr(), schema)
    };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// A table's filenode, size in blocks and estimated number of rows. None for a relation without a file, such as a view.
#[derive(serde::Deserialize)]
pub struct Extent {
    pub filenode: i64,
    pub blocks: i64,
    pub rows: i64,
}

pub fn extent(table: u32) -> Result<Option<Extent>> {
    spi::first(
        "SELECT pg_catalog.pg_relation_filenode(c.oid)::bigint AS filenode, \
         pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS blocks, \
         (CASE WHEN c.relpages > 0 THEN c.reltuples / c.relpages ELSE 100 END \
          * (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint))::bigint AS rows \
         FROM pg_catalog.pg_class c WHERE c.oid = $1 AND pg_catalog.pg_relation_filenode(c.oid) IS NOT NULL",
        &[Oid::from(table).into()],
    )
}

text_enum! {
    pub enum DependentKind {
        /// Or a rule of another table.
        View = "view",
        ForeignKey = "foreign key",
        Policy = "policy",
        Other = "dependent object",
    }
}

/// An object of others that depends on a table.
#[derive(serde::Deserialize)]
pub struct OutsideDependent {
    pub relation: u32,
    pub kind: DependentKind,
    pub what: String,
}

/// Returns what depends on these tables and is neither theirs nor ours.
pub fn outside_dependents(tables: impl Iterator<Item = u32>) -> Result<Vec<OutsideDependent>> {
    let tables: Vec<Oid> = tables.map(Oid::from).collect();
    spi::rows(
        include_str!("../../sql/query/outside_dependents.sql"),
        &[tables.into()],
    )
}
