//! Other sessions of this database.

use crate::error::Result;
use crate::ident::Ident;
use crate::pg::state;

/// Sessions that may run a library older than some version: a session keeps the library that it has loaded until it ends.
#[derive(serde::Deserialize)]
pub struct OlderSessions {
    pub maybe: i64,
    /// Sessions that are known to have begun before the update.
    pub known: i64,
}

/// Revokes the read access that an update leaves to sessions with the library from before 0.8.0, whose mirrors read the
/// state as the application (see that script). Does nothing until those sessions have ended.
pub fn close_to_old() -> Result<()> {
    let open = state::value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x \
         WHERE c.oid = 'mig.mapping'::regclass AND x.grantee = 0)",
        &[],
    )?;
    if open != Some(true) || older_than("0.8.0")?.maybe > 0 {
        return Ok(());
    }
    state::define("REVOKE SELECT ON mig.migration, mig.mapping, mig.new_column FROM PUBLIC")?;
    let noting: Vec<Ident> = state::json_rows(
        "SELECT DISTINCT pg_catalog.to_jsonb(r.rolname) FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x, pg_catalog.pg_roles r \
         WHERE c.oid = 'mig.leftover'::regclass AND r.oid = x.grantee AND x.grantee <> c.relowner",
        &[],
    )?;
    for role in noting {
        state::define(&format!("REVOKE ALL ON mig.leftover FROM {role}"))?;
    }
    Ok(())
}

pub fn older_than(version: &str) -> Result<OlderSessions> {
    let found = state::first(
        include_str!("../../sql/query/older_sessions.sql"),
        &[version.into()],
    )?;
    Ok(found.unwrap_or(OlderSessions { maybe: 0, known: 0 }))
}
