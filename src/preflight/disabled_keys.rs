//! Foreign keys whose own triggers are disabled.

use super::{PreflightFinding, Severity, new_finding};
use crate::model::records::Mapping;
use crate::model::shape::{ForeignKey, Shape};

/// `ALTER TABLE … DISABLE TRIGGER ALL`, by a superuser, switches off the triggers that enforce a table's foreign keys. The target's keys would
/// be enforced: they would refuse rows that the source takes, and delete rows that it keeps. Returns an error for each such key.
pub fn findings(p: &Mapping, source: &Shape) -> Vec<PreflightFinding> {
    let keys = source.fkeys.iter().filter(|k| !k.enforced);
    let one = |k: &ForeignKey| {
        new_finding(
            p,
            Severity::Error,
            "disabled foreign key",
            format!(
                "Foreign key {} of {} is not enforced: its triggers are disabled, there or on {}. The target's key would be. Enable them, or drop the key.",
                k.name,
                source.name.plain(),
                k.ref_name.plain()
            ),
            format!(
                "ALTER TABLE {} ENABLE TRIGGER ALL; ALTER TABLE {} ENABLE TRIGGER ALL;",
                source.name, k.ref_name
            ),
        )
    };
    keys.map(one).collect()
}
