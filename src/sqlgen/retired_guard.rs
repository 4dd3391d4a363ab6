//! The retired guard: a trigger that refuses writes to a source table after dual-write has stopped.

use crate::ident::{Ident, QualifiedName};
use crate::sqlgen::trigger::always;
use crate::sqlgen::trigger_definition::{FiringEvent, Level, ROWS, Timing, TriggerDefinition};

const ALL: &[FiringEvent] = &[
    FiringEvent::Insert,
    FiringEvent::Update,
    FiringEvent::Delete,
    FiringEvent::Truncate,
];

fn name(id: i32, kind: &str) -> Ident {
    Ident::new(format!("!mig_{id}_guard_{kind}"))
}

/// Statement triggers also fire for statements that match no row: an UPDATE of a row that only the target has must not succeed
/// silently. Row triggers, because logical replication's apply fires no statement triggers for row changes.
pub fn guard_triggers(id: i32, target: u32) -> [TriggerDefinition; 2] {
    let one = |kind, on, level| TriggerDefinition {
        name: name(id, kind),
        timing: Timing::Before,
        on,
        level,
        when: None,
        function: "guard",
        arguments: vec![target.to_string()],
    };
    [
        one("statement", ALL, Level::Statement),
        one("row", ROWS, Level::Row),
    ]
}

/// The trigger of the view that replaces an archived table.
pub fn of_view(id: i32, target: u32) -> TriggerDefinition {
    TriggerDefinition {
        name: name(id, "view"),
        timing: Timing::InsteadOf,
        on: ROWS,
        level: Level::Row,
        when: None,
        function: "guard",
        arguments: vec![target.to_string()],
    }
}

/// Returns all triggers that may have this name; none if it is not a name of the extension.
pub fn triggers_by_name(name: &str, target: u32) -> Vec<TriggerDefinition> {
    let id = name.strip_prefix("!mig_").and_then(|n| n.split_once('_'));
    let Some(id) = id.and_then(|(id, _)| id.parse().ok()) else {
        return Vec::new();
    };
    let mut all = Vec::from(guard_triggers(id, target));
    all.push(of_view(id, target));
    all.retain(|m| m.name.as_str() == name);
    all
}

pub fn create(id: i32, table: &QualifiedName, target: u32) -> Vec<String> {
    let all = guard_triggers(id, target);
    let create = all.iter().map(|t| t.create(table));
    create
        .chain(all.iter().map(|t| always(table, &t.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_rows_are_refused_and_the_new_table_is_known() {
        let made = create(7, &QualifiedName::new("public", "sign_ups"), 4711);
        assert_eq!(
            made[0],
            "CREATE TRIGGER \"!mig_7_guard_statement\" BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON \"public\".\"sign_ups\" \
             FOR EACH STATEMENT EXECUTE FUNCTION mig.guard('4711')"
        );
        assert!(made[1].contains("FOR EACH ROW") && made[3].contains("ENABLE ALWAYS"));
    }

    #[test]
    fn a_guard_is_known_by_its_name() {
        let kind = |name| {
            triggers_by_name(name, 4711)
                .into_iter()
                .map(|m| m.timing)
                .next()
        };
        assert_eq!(kind("!mig_7_guard_row"), Some(Timing::Before));
        assert_eq!(kind("!mig_7_guard_view"), Some(Timing::InsteadOf));
        for other in [
            "!mig_07_guard_row",
            "!mig_7_guard_",
            "!mig_",
            "guard",
            "!mig_x_guard_row",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
