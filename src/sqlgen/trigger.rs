//! The triggers that call the mirror.

use crate::ident::{Ident, QualifiedName};
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::scope::in_scope;
use crate::sqlgen::trigger_definition::{FiringEvent, Level, ROWS, Timing, TriggerDefinition};

/// The trigger names of one mapping. Triggers fire in name order, and `!` sorts before letters and digits: the written table
/// must release a unique value before a trigger of the application reuses it.
fn name(id: i32, way: Direction, kind: &str) -> Ident {
    Ident::new(format!("!mig_{id}_{}_{kind}", way.as_str()))
}

/// All triggers of one direction. Rows of other scopes never fire the reverse mirror.
pub fn mirror_triggers(flow: &Flow) -> Vec<TriggerDefinition> {
    if flow.led {
        return Vec::new();
    }
    let one = |kind, timing, on, level, when| TriggerDefinition {
        name: name(flow.mapping, flow.direction, kind),
        timing,
        on,
        level,
        when,
        function: "mirror",
        arguments: vec![flow.mapping.to_string(), flow.direction.as_str().into()],
    };
    let emptied = |kind, timing| {
        one(
            kind,
            timing,
            &[FiringEvent::Truncate],
            Level::Statement,
            None,
        )
    };
    if flow.follows.is_empty() {
        return vec![
            one("row", Timing::After, ROWS, Level::Row, None),
            emptied("truncate", Timing::After),
        ];
    }
    let row = |kind, on, rows: &[&str]| {
        let all = |r: &&str| {
            let marks = flow.follows.iter().map(|s| in_scope(r, s));
            marks.collect::<Vec<_>>().join(" AND ")
        };
        let ours: Vec<String> = rows.iter().map(all).collect();
        one(kind, Timing::After, on, Level::Row, Some(ours.join(" OR ")))
    };
    vec![
        row("insert", &[FiringEvent::Insert], &["NEW"]),
        row("update", &[FiringEvent::Update], &["OLD", "NEW"]),
        row("delete", &[FiringEvent::Delete], &["OLD"]),
        emptied("guard", Timing::Before),
        emptied("truncate", Timing::After),
    ]
}

pub fn names(flow: &Flow) -> Vec<Ident> {
    mirror_triggers(flow).into_iter().map(|t| t.name).collect()
}

pub fn create(flow: &Flow) -> Vec<String> {
    let table = &flow.touched;
    let each = |t: TriggerDefinition| [t.create(table), always(table, &t.name)];
    mirror_triggers(flow).into_iter().flat_map(each).collect()
}

/// ENABLE ALWAYS: logical replication's apply and restores run as `replica`, which skips ordinary triggers.
pub fn always(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
}

/// Changes nothing, but makes each session reload the triggers: an ALTER without effect sends no invalidation.
pub fn touch(flow: &Flow) -> Vec<String> {
    let each = |name: &Ident| [disable(&flow.touched, name), always(&flow.touched, name)];
    names(flow).iter().flat_map(each).collect()
}

pub fn disable(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} DISABLE TRIGGER {name}")
}

/// Enables a trigger in the way that `pg_trigger.tgenabled` says.
pub fn enable(table: &QualifiedName, name: &Ident, way: &str) -> String {
    let way = match way {
        "A" => "ENABLE ALWAYS",
        "R" => "ENABLE REPLICA",
        "D" => "DISABLE",
        _ => "ENABLE",
    };
    format!("ALTER TABLE {table} {way} TRIGGER {name}")
}

pub fn drop(table: &QualifiedName, name: &Ident) -> String {
    format!("DROP TRIGGER {name} ON {table}")
}

pub fn drop_all(flow: &Flow) -> Vec<String> {
    let names = names(flow);
    names.iter().map(|name| drop(&flow.touched, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn triggers_are_after_row_and_always_on() {
        let (source, target, layout) = fixture::sign_ups();
        let made = create(&Flow::forward(7, &source.name, &target, &layout));
        assert!(
            made[0].contains("AFTER INSERT OR UPDATE OR DELETE")
                && made[0].contains("FOR EACH ROW")
        );
        assert!(made[1].contains("ENABLE ALWAYS") && made[3].contains("ENABLE ALWAYS"));
    }

    #[test]
    fn rows_of_other_scopes_fire_nothing_on_the_way_back() {
        let (source, target, layout) = fixture::sign_ups();
        let flow = Flow::reverse(7, &source.name, &target, &layout, None).expect("a way back");
        let made = create(&flow);
        assert!(
            made[0].contains("AFTER INSERT ON \"public\".\"project_sign_ups\" FOR EACH ROW WHEN (NEW.\"project_id\" OPERATOR(pg_catalog.=)"),
            "{}",
            made[0]
        );
        assert_eq!(made.len(), 10);
    }
}
