//! Triggers of the application: which of them the target takes over, and what in them does not follow.

use super::{PreflightFinding, Severity};
use crate::ident::Ident;
use crate::model::layout::Layout;
use crate::model::records::Mapping;
use crate::model::shape::{Shape, TableTrigger};
use crate::model::trigger::{TriggerObstacle, find_obstacle, names_table};

/// The sources of a migration and their targets.
pub type MovedTables<'a> = Vec<(&'a Shape, &'a Mapping)>;

/// Returns the findings for the triggers of one source. `adopted`: the target exists, and has triggers of its own.
pub fn findings(
    p: &Mapping,
    source: &Shape,
    layout: &Layout,
    adopted: bool,
    moved: &MovedTables,
) -> Vec<PreflightFinding> {
    let finding = |(severity, detail, hint)| PreflightFinding {
        severity,
        check_name: "triggers".into(),
        relation: Some(p.source),
        detail,
        hint,
    };
    let of_each = |t: &TableTrigger| {
        let mut found = vec![match adopted {
            true => left_to_target(p, t),
            false => taken_over(p, source, layout, t),
        }];
        found.extend(names_of_moved(t, moved));
        found
    };
    source
        .triggers
        .iter()
        .flat_map(of_each)
        .map(finding)
        .collect()
}

type Found = (Severity, String, Option<String>);

fn left_to_target(p: &Mapping, t: &TableTrigger) -> Found {
    (
        Severity::Info,
        format!(
            "Trigger {} is not made on {}, which exists already: it has the triggers that it has.",
            t.name, p.target_name
        ),
        None,
    )
}

fn taken_over(p: &Mapping, source: &Shape, layout: &Layout, t: &TableTrigger) -> Found {
    let (name, target) = (&t.name, &p.target_name);
    if let Some(obstacle) = find_obstacle(t, source, layout) {
        return (
            Severity::Warning,
            format!("Trigger {name} is not carried over: {}.", why(&obstacle)),
            Some(format!(
                "Create it on {target} before the application writes there; until then it fires for writes to the old table only."
            )),
        );
    }
    if !t.may_call {
        return (
            Severity::Error,
            format!(
                "Role {} may not call function {}, so it cannot make trigger {name} on the target.",
                source.owner_name, t.function
            ),
            Some(format!(
                "GRANT EXECUTE ON FUNCTION {}() TO {};",
                t.function, source.owner_name
            )),
        );
    }
    (
        Severity::Info,
        format!(
            "Trigger {name} is carried over: it fires once for each write of the application, on the side that was written, and for no write of pg_mig."
        ),
        None,
    )
}

fn why(obstacle: &TriggerObstacle) -> String {
    match obstacle {
        TriggerObstacle::SharedTarget => "its target holds rows of other tables, too".into(),
        TriggerObstacle::From(other) => {
            format!("it is a constraint trigger FROM {other}")
        }
        TriggerObstacle::Column(column) => {
            format!("it names column {column}, which the target does not have unchanged")
        }
        TriggerObstacle::FunctionColumn(column) => format!(
            "its function or an argument names column {column}, which the target does not have under this name"
        ),
    }
}

/// Tables that move, and that the function names in its text.
fn names_of_moved(t: &TableTrigger, moved: &MovedTables) -> Option<Found> {
    let named: Vec<&(&Shape, &Mapping)> = moved
        .iter()
        .filter(|(source, _)| names_table(t, &source.name.name))
        .collect();
    if named.is_empty() {
        return None;
    }
    let tables: Vec<String> = named.iter().map(|(s, _)| s.name.to_string()).collect();
    let targets: Vec<&Ident> = named.iter().map(|(_, p)| &p.target_name.name).collect();
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    Some((
        Severity::Warning,
        format!(
            "Function {} of trigger {} names {} in its text, and goes on using the old table when the application has moved.",
            t.function,
            t.name,
            tables.join(", ")
        ),
        Some(format!(
            "While both sides are written either name does. Before mig_stop, which makes the old table refuse writes: CREATE OR REPLACE FUNCTION {} with {} in its place.",
            t.function,
            targets.join(", ")
        )),
    ))
}
