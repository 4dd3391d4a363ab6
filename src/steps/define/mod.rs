//! Definition of a migration and its tables: writes only pg_mig's own rows.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::column_change::{ColumnChange, NewColumn};
use crate::model::config::{Config, ConfigColumn, ConfigTable};
use crate::model::layout::{Layout, Member, merge, resolve};
use crate::model::options;
use crate::model::records::{Mapping, Migration};
use crate::model::shape::Shape;
use crate::model::spec::{IdMode, Spec, TableArguments, read, read_id_mode};
use crate::pg::{application_path, catalog, spi};
use crate::sqlgen::view_names::RESERVED;
use crate::store::{log, mapping, migration};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Oid;
use serde_json::{Value, json};

mod expressions;
pub mod scope;

use scope::ScopeArguments;

/// Adds the migration `name`. `path`: the caller's search_path. Errors: 42710 if it exists, 22023 for a bad option or scope.
pub fn migration(
    name: &str,
    scope: &ScopeArguments,
    option_values: &Value,
    path: &str,
) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid(
            "invalid migration name".into(),
            "The name is empty.".into(),
            "Name it after what moves, for example 'cover'.".into(),
        ));
    }
    if migration::by_name(name)?.is_some() {
        return Err(Error::migration_exists(name.to_owned()));
    }
    let option_values = merge_options(&json!({}), option_values)?;
    let path = application_path::resolve(path, false)?;
    migration::insert(name, scope::check(scope)?, option_values, &path)?;
    log::write(name, "defined", "mig_define")
}

/// Returns `stored` with `changes` applied, as `options::merge`; a search_path as it means schemas now. Errors: 3F000 for a schema that does
/// not exist.
pub fn merge_options(stored: &Value, changes: &Value) -> Result<Value> {
    let mut merged = options::merge(stored, changes)?;
    if let Some(path) = changes.get(options::SEARCH_PATH).and_then(Value::as_str) {
        merged[options::SEARCH_PATH] = json!(application_path::resolve(path, true)?);
    }
    Ok(merged)
}

/// Adds one table to a migration in phase `defined`.
pub fn table(m: &Migration, source: Oid, target: &str, arguments: &TableArguments) -> Result<()> {
    m.require_defined()?;
    let shape = catalog::shape(source)?.ok_or_else(|| {
        Error::unsuitable(
            format!("relation {}", source.to_u32()),
            "not there".into(),
            "Give the name of an existing table.".into(),
        )
    })?;
    suitable(&shape)?;
    migration::require_owner_of(&shape)?;
    if shape.primary_key().is_none() {
        return Err(Error::no_primary_key(shape.name));
    }
    require_free_names(&shape)?;
    let name = QualifiedName::parse(target, shape.name.schema.as_str())
        .ok_or_else(|| Error::bad_name(target.to_owned()))?;
    free_target(m, &shape, &name)?;
    let id_mode = read_id_mode(&arguments.id_mode)?;
    let remap = id_mode == IdMode::Remap;
    let mut spec = expressions::resolve_types(read(arguments, &shape)?, &shape, remap)?;
    check_refs(&spec, &shape)?;
    let layout = check_layout(m, &shape, &mut spec, &name, remap)?;
    let spec = expressions::given_back(spec, &shape, &layout, &name)?;
    // The caller has the rights of the table's owner, which are those that the expressions run with.
    mapping::insert(m.id, source, &name, id_mode, &spec, shape.owner.into())?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("mig_add_table {} -> {}", shape.name.plain(), name.plain()),
    )
}

/// Errors with 42939 for a column whose name is one of ours in SQL text.
fn require_free_names(shape: &Shape) -> Result<()> {
    let mut names = shape.columns.iter().map(|c| &c.name);
    let Some(column) = names.find(|n| n.as_str().starts_with(RESERVED)) else {
        return Ok(());
    };
    Err(Error::refusal(
        PgSqlErrorCode::ERRCODE_RESERVED_NAME,
        format!(
            "column {column} of {} has a reserved name",
            shape.name.plain()
        ),
        format!(
            "Names that begin with \"{RESERVED}\" are pg_mig's own in its views and statements."
        ),
        format!(
            "ALTER TABLE {} RENAME COLUMN {column} TO {};",
            shape.name,
            Ident::new(column.as_str().replace(RESERVED, ""))
        ),
    ))
}

fn suitable(shape: &Shape) -> Result<()> {
    let table_hint = "Give an ordinary table.".to_owned();
    let (kind, hint) = match shape.kind.as_str() {
        _ if shape.is_catalog => ("a system table", table_hint),
        "v" => ("a view", "Give the table behind the view.".into()),
        "m" => ("a materialized view", "Give the tables behind it.".into()),
        "f" => (
            "a foreign table",
            "Run the migration on the server that holds the rows.".into(),
        ),
        "r" if shape.persistence == "t" => ("a temporary table", table_hint),
        "r" => return Ok(()),
        "p" => {
            return Err(Error::not_supported(
                format!("partitioned table {} as a source", shape.name.plain()),
                "TRUNCATE, ATTACH and DETACH of one partition fire no trigger on the parent."
                    .into(),
                "Give an ordinary table.".into(),
            ));
        }
        _ => ("no table", table_hint),
    };
    Err(Error::unsuitable(shape.name.plain(), kind.into(), hint))
}

fn free_target(m: &Migration, source: &Shape, target: &QualifiedName) -> Result<()> {
    if source.name == *target {
        return Err(Error::invalid(
            "source and target are the same table".into(),
            format!("Both are {}.", target.plain()),
            format!(
                "Name another target, for example {}.",
                Ident::derive(&["new", target.name.as_str()])
            ),
        ));
    }
    if mapping::list(m.id)?.iter().any(|p| p.source == source.oid) {
        return Err(Error::mapping_exists(m.name.clone(), source.name.plain()));
    }
    require_right_to_make(target)?;
    match mapping::takes_target(target)? {
        Some(migration) if migration != m.name => {
            Err(Error::mapping_exists(migration, target.plain()))
        }
        _ => Ok(()),
    }
}

/// Errors: 42501 if the caller neither owns the target nor could create it, so that nobody takes the name of another role's
/// table.
fn require_right_to_make(target: &QualifiedName) -> Result<()> {
    if let Some(stands) = catalog::oid_of(target) {
        return migration::require_table(target, catalog::owner_of(stands)?);
    }
    let may_create = spi::value::<bool>(
        "SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = $1",
        &[target.schema.as_str().into()],
    )?;
    let (code, message) = match may_create {
        Some(true) => return Ok(()),
        Some(false) => (
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied for schema",
        ),
        None => (
            PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
            "there is no schema",
        ),
    };
    Err(Error::sql(
        code,
        format!("{message} {}", target.schema.as_str()),
        Some("The target is to be made in it.".into()),
    ))
}

fn check_refs(spec: &Spec, shape: &Shape) -> Result<()> {
    for (column, table) in &spec.refs {
        let name = QualifiedName::parse(table, shape.name.schema.as_str())
            .ok_or_else(|| Error::bad_name(table.clone()))?;
        if catalog::find(&name)?.is_none() {
            return Err(Error::invalid(
                format!("invalid reference of column \"{}\"", column.as_str()),
                format!("Table {} does not exist.", name.plain()),
                "Give the source table that the column points to.".into(),
            ));
        }
    }
    Ok(())
}

/// Plans the layout once, so that a wrong column is refused now and not at `mig_create`.
fn check_layout(
    m: &Migration,
    shape: &Shape,
    spec: &mut Spec,
    target: &QualifiedName,
    remap: bool,
) -> Result<Layout> {
    // Sources that were added before and share the target.
    let sharing: Vec<Mapping> = mapping::list(m.id)?
        .into_iter()
        .filter(|p| p.target_name == *target)
        .collect();
    let shapes = sharing
        .iter()
        .map(|p| catalog::shape_of(p.source, &p.source_text()))
        .collect::<Result<Vec<_>>>()?;
    let before = sharing.iter().zip(&shapes).map(|(p, shape)| Member {
        id: p.id,
        shape,
        spec: &p.spec,
        target,
        remap: p.remaps(),
        adopted_shape: None,
    });
    let mut members: Vec<Member> = before.collect();
    let given = spec.clone();
    let me = |spec| Member {
        id: 0,
        shape,
        spec,
        target,
        remap,
        adopted_shape: None,
    };
    spec.columns
        .extend(merge::renamed_key(&members, me(&given))?);
    members.push(me(spec));
    resolve(&members, members.len() - 1, scope::load_scope(m)?.as_ref())
}

/// Returns the stored definition as a configuration document.
pub fn config(m: &Migration, mappings: &[Mapping], reworks: &[ColumnChange]) -> Config {
    let tables = mappings
        .iter()
        .map(|p| {
            ConfigTable::from_spec(
                p.source_text(),
                p.target_name.plain(),
                p.id_mode.as_str().to_owned(),
                &p.spec,
            )
        })
        .collect();
    Config {
        migration: m.name.clone(),
        scope_table: m.scope_table_name.as_ref().map(QualifiedName::plain),
        scope_value: m.scope_value.clone(),
        scope_column: m
            .scope_column
            .as_ref()
            .map_or_else(crate::model::config::default_scope_column, |c| {
                c.as_str().to_owned()
            }),
        options: m.options.clone(),
        tables,
        columns: reworks.iter().flat_map(columns).collect(),
    }
}

/// Returns the columns, with their names from before the archive.
fn columns(r: &ColumnChange) -> Vec<ConfigColumn> {
    let one = |c: &NewColumn| {
        let before = c.archived.as_ref();
        let name = before.and_then(|a| a.new.as_ref()).unwrap_or(&c.name);
        let old = before.map(|a| &a.old).or(c.replaces.as_ref());
        ConfigColumn {
            relation: r
                .table
                .as_ref()
                .map_or_else(|| r.relation.to_string(), QualifiedName::plain),
            column_name: name.as_str().to_owned(),
            type_text: c.type_text.clone(),
            up: c.up.clone(),
            down: c.down.clone(),
            column_default: c.column_default.clone(),
            not_null: c.not_null,
            replaces: old.map(|o| o.as_str().to_owned()),
        }
    };
    r.columns.iter().map(one).collect()
}
