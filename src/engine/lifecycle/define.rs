//! Definition, creation and dual writing. Each function does the work of one transaction.

use crate::engine::columns;
use crate::engine::gate::{actions, lock_idle_migration, require_phase};
use crate::engine::types::Action;
use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::config::{self, Config};
use crate::model::options;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration, MigrationState};
use crate::model::spec::TableArguments;
use crate::pg::catalog;
use crate::pg::notice::notice;
use crate::preflight::{self, PreflightFinding, Severity, combined};
use crate::settings;
use crate::steps::define::scope::ScopeArguments;
use crate::steps::{canary, create, define, install_triggers};
use crate::store::drift::{self, DriftKind};
use crate::store::{log, mapping, migration, sides};
use pgrx::pg_sys::Oid;
use serde_json::Value;

/// Defines a migration. A name that is a JSON object is a document whose `::jsonb` was left out: PostgreSQL reads an
/// untyped literal as text.
pub fn define(name: &str, scope: &ScopeArguments, option_values: &Value) -> Result<String> {
    if name.trim_start().starts_with('{') {
        let document =
            serde_json::from_str(name).map_err(|e| config::malformed_document(format!("{e}.")))?;
        return define_config(&document);
    }
    define::migration(name, scope, option_values)?;
    Ok(name.to_owned())
}

/// Defines the whole document, or nothing.
pub fn define_config(document: &Value) -> Result<String> {
    let Config {
        migration: name,
        scope_table,
        scope_value,
        scope_column,
        options,
        tables,
        columns: new_columns,
    } = config::read(document)?;
    let table = scope_table.as_deref().map(catalog::regclass).transpose()?;
    define::migration(
        &name,
        &ScopeArguments {
            table,
            value: scope_value,
            column: scope_column,
        },
        &options,
    )?;
    let m = migration::find(Some(&name))?;
    for t in &tables {
        define::table(&m, catalog::regclass(&t.source)?, &t.target, &t.arguments())?;
    }
    for c in new_columns {
        let asked = columns::ColumnArguments {
            relation: catalog::regclass(&c.relation)?,
            name: c.column_name,
            type_text: &c.type_text,
            up: &c.up,
            down: c.down.as_deref(),
            column_default: c.column_default.as_deref(),
            not_null: c.not_null,
            replaces: c.replaces,
        };
        columns::add(&name, &asked)?;
    }
    Ok(name)
}

pub fn add_table(name: &str, source: Oid, target: &str, arguments: &TableArguments) -> Result<()> {
    let (m, _) = lock_idle_migration(Some(name), "mig_add_table")?;
    columns::require_none(&m)?;
    define::table(&m, source, target, arguments)
}

/// Changes options. Running jobs read them before each batch.
pub fn configure(name: &str, changes: &Value) -> Result<Value> {
    let m = migration::find_mine(Some(name))?;
    let merged = options::merge(&m.options, changes)?;
    migration::set_options(m.id, merged.clone())?;
    log::write(
        &m.name,
        m.phase.as_str(),
        &format!("mig_configure {changes}"),
    )?;
    Ok(merged)
}

/// Returns all findings for a migration; rows are read only as long as they can still be corrected without a mirror.
pub fn findings(m: &Migration, mappings: &[Mapping]) -> Result<Vec<PreflightFinding>> {
    let mut found = preflight::catalog(mappings, m.scope_table)?;
    found.extend(mappings.iter().flat_map(preflight::mutable));
    if m.phase <= Phase::Created {
        for p in mappings.iter().filter(|p| p.source_owner.is_some()) {
            sides::owner(p)?;
        }
        let planned = create::plan(mappings.to_vec(), define::scope::load_scope(m)?.as_ref())?;
        for p in &planned {
            found.extend(preflight::duplicates(&p.mapping, &p.layout)?);
            found.extend(preflight::one_way(&p.mapping, &p.source, &p.layout));
            found.extend(preflight::left_defaults(&p.mapping, &p.source, &p.layout));
            let source_of = |id| {
                planned
                    .iter()
                    .find(|o| o.mapping.id == id)
                    .map(|o| &o.source)
            };
            found.extend(preflight::maps_of_others(
                &p.mapping, &p.source, &p.layout, source_of,
            ));
            found.extend(preflight::check_publications(
                &p.mapping, &p.source, &p.layout,
            ));
            found.extend(preflight::check_key_swaps(&p.mapping, &p.layout));
            found.extend(preflight::check_target_rows(&p.mapping, &p.layout)?);
            found.extend(check_shared_target(&planned, p)?);
        }
    }
    Ok(found)
}

/// Returns the findings for the target of `p`, if `p` is the first of several sources.
fn check_shared_target(
    planned: &[create::PlannedMapping],
    p: &create::PlannedMapping,
) -> Result<Vec<PreflightFinding>> {
    if create::follows(planned, p) {
        return Ok(Vec::new());
    }
    let sources: Vec<_> = create::sources_of_target(planned, p)
        .map(|o| combined::CombinedSource {
            mapping: &o.mapping,
            shape: &o.source,
            layout: &o.layout,
        })
        .collect();
    combined::findings(&sources, p.standing.is_some())
}

fn require_clean(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    let errors: Vec<PreflightFinding> = findings(m, mappings)?
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    let Some(first) = errors.first() else {
        return Ok(());
    };
    let details: Vec<String> = errors
        .iter()
        .map(|f| format!("{}: {}", f.check_name, f.detail))
        .collect();
    Err(Error::Preflight {
        migration: m.name.clone(),
        detail: details.join(" "),
        hint: match &first.hint {
            Some(hint) => hint.clone(),
            None => format!("SELECT * FROM mig_preflight({});", Literal(&m.name)),
        },
    })
}

fn require_tables(m: &Migration, mappings: &[Mapping]) -> Result<()> {
    if mappings.is_empty() {
        Err(Error::NoTables {
            migration: m.name.clone(),
        })
    } else {
        Ok(())
    }
}

/// defined → created
pub fn create(name: Option<&str>) -> Result<Vec<Action>> {
    let (m, mappings) = lock_idle_migration(name, "mig_create")?;
    if let Some(all) = columns::load(&m)? {
        return columns::create(&m, &all);
    }
    require_tables(&m, &mappings)?;
    if !require_phase(&m, Phase::Defined, "mig_create", "mig_define")? {
        return Ok(actions(&mappings, "exists"));
    }
    require_clean(&m, &mappings)?;
    let planned = create::plan(mappings, define::scope::load_scope(&m)?.as_ref())?;
    let verbs = create::run(&planned, settings::defer_indexes(&m))?;
    migration::set_phase(&m, Phase::Created)?;
    log::write(&m.name, "created", "mig_create")?;
    let mut done = actions(&mapping::list(m.id)?, "created");
    for (line, verb) in done.iter_mut().zip(verbs) {
        line.action = verb.to_owned();
    }
    Ok(done)
}

/// Reinstalls mirrors that were changed. What was written past them is left for a check to find: the switch needs a clean
/// check that is newer than the mirrors.
fn mend(m: &Migration, mappings: &[Mapping]) -> Result<Vec<Action>> {
    for p in mappings {
        if drift::find_text(p, &[DriftKind::Gone, DriftKind::Shape])?.is_some() {
            drift::require_none(m)?;
        }
    }
    install_triggers::renew(m, mappings, false)?;
    migration::set_state(m.id, MigrationState::Ok, None)?;
    log::write(
        &m.name,
        m.phase.as_str(),
        "mig_dual_write put the mirrors in anew",
    )?;
    notice(&format!(
        "writes may have passed the mirrors; SELECT * FROM mig_repair({}); tells how many rows differ",
        Literal(&m.name)
    ));
    Ok(actions(mappings, "mirrored anew"))
}

/// created → dual_write
pub fn dual_write(name: Option<&str>) -> Result<Vec<Action>> {
    let (m, mappings) = lock_idle_migration(name, "mig_dual_write")?;
    if let Some(all) = columns::load(&m)? {
        return columns::dual_write(&m, &all);
    }
    if [Phase::DualWrite, Phase::Backfilled].contains(&m.phase) && drift::is_there(&m)? {
        return mend(&m, &mappings);
    }
    if !require_phase(&m, Phase::Created, "mig_dual_write", "mig_create")? {
        return Ok(actions(&mappings, "mirrored"));
    }
    require_clean(&m, &mappings)?;
    install_triggers::install(
        &m,
        &mappings,
        |before| canary::tries(&mappings, before),
        |before, after| canary::compare(&before, &after),
    )?;
    migration::set_phase(&m, Phase::DualWrite)?;
    log::write(&m.name, "dual_write", "mig_dual_write")?;
    Ok(actions(&mappings, "mirrored"))
}
