//! The retired guard: a trigger that refuses writes to a source table after dual-write has stopped.

use crate::ident::{Ident, QualifiedName};
use crate::sqlgen::trigger::always;
use crate::sqlgen::trigger_definition::{FiringEvent, Level, ROWS, Timing, TriggerDefinition};

const OLD: &[FiringEvent] = &[FiringEvent::Update, FiringEvent::Delete];
const NEW: &[FiringEvent] = &[FiringEvent::Insert, FiringEvent::Update];
const ALL: &[FiringEvent] = &[
    FiringEvent::Insert,
    FiringEvent::Update,
    FiringEvent::Delete,
    FiringEvent::Truncate,
];

fn name(id: i32, kind: &str) -> Ident {
    Ident::new(format!("!mig_{id}_guard_{kind}"))
}

/// Which rows of a source a guard refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardedRows {
    All,
    /// Those that the mapping's filter takes. The others have not moved.
    OfFilter,
}

impl GuardedRows {
    pub fn of_filter(filter: Option<&String>) -> Self {
        filter.map_or(Self::All, |_| Self::OfFilter)
    }
}

/// Statement triggers also fire for statements that match no row: an UPDATE of a row that only the target has must not succeed
/// silently. Row triggers, because logical replication's apply fires no statement triggers for row changes. Where some rows stay at home, each
/// row is looked at: the one that a statement finds before, and the one that it leaves after.
pub fn guard_triggers(id: i32, target: u32, rows: GuardedRows) -> Vec<TriggerDefinition> {
    let one = |kind, timing, on, level| TriggerDefinition {
        name: name(id, kind),
        timing,
        on,
        level,
        when: None,
        function: "guard",
        arguments: vec![target.to_string()],
    };
    match rows {
        GuardedRows::All => vec![
            one("statement", Timing::Before, ALL, Level::Statement),
            one("row", Timing::Before, ROWS, Level::Row),
        ],
        GuardedRows::OfFilter => vec![
            one("old", Timing::Before, OLD, Level::Row),
            one("new", Timing::After, NEW, Level::Row),
            one(
                "truncate",
                Timing::Before,
                &[FiringEvent::Truncate],
                Level::Statement,
            ),
        ],
    }
}

/// The id of the mapping whose filter decides about the row of this trigger; None where all rows are refused.
pub fn filtering_mapping(name: &str) -> Option<i32> {
    let (id, kind) = name.strip_prefix("!mig_")?.split_once("_guard_")?;
    ["old", "new"].contains(&kind).then(|| id.parse().ok())?
}

/// The trigger of the view that replaces an archived table. `home`: the table of the rows that the filter leaves out.
pub fn of_view(id: i32, target: u32, home: Option<u32>) -> TriggerDefinition {
    TriggerDefinition {
        name: name(id, "view"),
        timing: Timing::InsteadOf,
        on: ROWS,
        level: Level::Row,
        when: None,
        function: "guard",
        arguments: std::iter::once(target)
            .chain(home)
            .map(|oid| oid.to_string())
            .collect(),
    }
}

/// Returns all triggers that may have this name; none if it is not a name of the extension.
pub fn triggers_by_name(name: &str, target: u32, home: Option<u32>) -> Vec<TriggerDefinition> {
    let id = name.strip_prefix("!mig_").and_then(|n| n.split_once('_'));
    let Some(id) = id.and_then(|(id, _)| id.parse().ok()) else {
        return Vec::new();
    };
    let mut all = guard_triggers(id, target, GuardedRows::All);
    all.extend(guard_triggers(id, target, GuardedRows::OfFilter));
    all.push(of_view(id, target, home));
    all.retain(|m| m.name.as_str() == name);
    all
}

pub fn create(id: i32, table: &QualifiedName, target: u32, rows: GuardedRows) -> Vec<String> {
    let all = guard_triggers(id, target, rows);
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
        let made = create(
            7,
            &QualifiedName::new("public", "sign_ups"),
            4711,
            GuardedRows::All,
        );
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
            triggers_by_name(name, 4711, None)
                .into_iter()
                .map(|m| m.timing)
                .next()
        };
        assert_eq!(kind("!mig_7_guard_row"), Some(Timing::Before));
        assert_eq!(kind("!mig_7_guard_view"), Some(Timing::InsteadOf));
        assert_eq!(kind("!mig_7_guard_new"), Some(Timing::After));
        assert_eq!(filtering_mapping("!mig_7_guard_new"), Some(7));
        assert_eq!(filtering_mapping("!mig_7_guard_row"), None);
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
