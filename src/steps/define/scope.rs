//! The scope: the column that targets have and sources lack, and its one value.

use crate::error::{About, Error, Result};
use crate::model::layout::Scope;
use crate::model::records::Migration;
use crate::pg::{catalog, guc, role, spi, tx};
use crate::store::migration;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;

pub struct ScopeArguments {
    pub table: Option<Oid>,
    pub value: Option<String>,
    pub column: String,
}

/// Returns the scope to store; None if neither table nor value is given.
pub fn check(scope: &ScopeArguments) -> Result<Option<migration::NewScope>> {
    let bad = |detail: String, hint: &str| Err(Error::bad_scope(detail, hint.into()));
    if scope.column.is_empty() {
        return bad(
            "The scope column has no name.".into(),
            "Leave scope_column out for project_id.",
        );
    }
    let (type_text, value) = match (&scope.table, &scope.value) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return bad(
                "A scope table is given, but no value.".into(),
                "Give the key of the row in scope_value.",
            );
        }
        (None, Some(value)) => ("text".to_owned(), value.clone()),
        (Some(table), Some(value)) => (scope_in_table(*table, value)?, value.clone()),
    };
    Ok(Some(migration::NewScope {
        table: scope.table,
        column: scope.column.clone(),
        value,
        type_text,
    }))
}

/// Returns the type of the scope table's key, after checking that the value exists in it.
fn scope_in_table(table: Oid, value: &str) -> Result<String> {
    let shape = catalog::shape(table)?.ok_or_else(|| {
        Error::bad_scope(
            "The scope table does not exist.".into(),
            "Give a table with one key column, for example 'projects'.".into(),
        )
    })?;
    let keys = shape.key_columns();
    let key = match keys.as_slice() {
        [only] => shape.column(only),
        _ => None,
    };
    let Some(key) = key else {
        return Err(Error::bad_scope(
            format!(
                "Table {} has no primary key of one column.",
                shape.name.plain()
            ),
            "Give a table with one key column, for example 'projects'.".into(),
        ));
    };
    catalog::require_plain(&key.type_text)?;
    // A role with REFERENCES learns through a foreign key whether a value exists, despite policies; a role with SELECT only
    // for rows that it sees.
    let may_know = spi::value::<bool>(
        "SELECT pg_catalog.has_column_privilege($1, $2, 'REFERENCES') \
           OR pg_catalog.has_column_privilege($1, $2, 'SELECT') AND NOT pg_catalog.row_security_active($1)",
        &[table.into(), key.name.as_str().into()],
    )?;
    if may_know != Some(true) {
        return Err(Error::sql(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for table {}", shape.name.plain()),
            Some(format!(
                "It is the scope table: its column {} has to be one that you may refer to (REFERENCES), or read in every row.",
                key.name.as_str()
            )),
        ));
    }
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE {} OPERATOR(pg_catalog.=) $1::{})",
        shape.name, key.name, key.type_text
    );
    // As the table's owner, as a foreign key does. `plan_guard` refuses a domain of another role.
    let look = || {
        let _owner = role::confine_for_key(Oid::from(shape.owner));
        guc::forbid_writes();
        spi::value::<bool>(&sql, &[value.into()])
    };
    match tx::subtransaction(look) {
        Ok(Some(true)) => Ok(key.type_text.clone()),
        Ok(_) => Err(Error::bad_scope(
            format!(
                "Table {} has no row with {} = {value}.",
                shape.name.plain(),
                key.name.as_str()
            ),
            format!(
                "Insert it first: INSERT INTO {} ({}, ...) VALUES ({}, ...);",
                shape.name,
                key.name,
                crate::ident::Literal(value)
            ),
        )),
        Err(e) if e.about() == About::Server && e.is_about_data() => Err(Error::bad_scope(
            format!("PostgreSQL says: {e}."),
            format!("The scope value must be a {}.", key.type_text),
        )),
        Err(e) => Err(e),
    }
}

/// Returns the scope of a migration, with the key column of its table.
pub fn load_scope(m: &Migration) -> Result<Option<Scope>> {
    let (Some(column), Some(value), Some(type_text)) =
        (&m.scope_column, &m.scope_value, &m.scope_type)
    else {
        return Ok(None);
    };
    let table = match (m.scope_table, &m.scope_table_name) {
        (Some(oid), Some(name)) => {
            let shape = catalog::shape_of(oid, &name.plain())?;
            shape
                .key_columns()
                .into_iter()
                .next()
                .map(|key| (name.clone(), key))
        }
        _ => None,
    };
    Ok(Some(Scope {
        column: column.clone(),
        type_text: type_text.clone(),
        value: value.clone(),
        table,
        equal_in: catalog::methods_with_equality(type_text)?,
    }))
}
