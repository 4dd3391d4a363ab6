//! Triggers that the target takes over from its source.

use crate::ident::{Literal, QualifiedName, list};
use crate::model::shape::TableTrigger;
use crate::sqlgen::trigger;

/// Bits of `pg_trigger.tgtype` (pg_trigger.h).
const ROW: i16 = 1;
const BEFORE: i16 = 1 << 1;
const EVENTS: [(i16, &str); 4] = [
    (1 << 2, "INSERT"),
    (1 << 3, "DELETE"),
    (1 << 4, "UPDATE"),
    (1 << 5, "TRUNCATE"),
];

/// `CREATE TRIGGER`, with the state and the comment that it has on the source.
pub fn create(target: &QualifiedName, from: &TableTrigger) -> Vec<String> {
    let name = &from.name;
    let enabled = &from.enabled;
    let state = (enabled != "O").then(|| trigger::enable(target, name, enabled));
    let comment = from.comment.as_ref();
    let comment =
        comment.map(|text| format!("COMMENT ON TRIGGER {name} ON {target} IS {}", Literal(text)));
    std::iter::once(definition(target, from))
        .chain(state)
        .chain(comment)
        .collect()
}

fn definition(target: &QualifiedName, trigger: &TableTrigger) -> String {
    let has = |bit: i16| trigger.bits & bit != 0;
    let events: Vec<String> = EVENTS
        .iter()
        .filter(|(bit, _)| has(*bit))
        .map(
            |(_, event)| match (*event, trigger.update_columns.as_slice()) {
                ("UPDATE", columns @ [_, ..]) => format!("UPDATE OF {}", list(columns)),
                (event, _) => event.to_owned(),
            },
        )
        .collect();
    let arguments: Vec<String> = trigger
        .arguments()
        .iter()
        .map(|a| Literal(a).to_string())
        .collect();
    format!(
        "CREATE {}TRIGGER {} {} {} ON {target}{}{} FOR EACH {}{} EXECUTE FUNCTION {}({})",
        if trigger.constraint {
            "CONSTRAINT "
        } else {
            ""
        },
        trigger.name,
        if has(BEFORE) { "BEFORE" } else { "AFTER" },
        events.join(" OR "),
        deferral(trigger),
        transition_tables(trigger),
        if has(ROW) { "ROW" } else { "STATEMENT" },
        trigger
            .condition
            .as_ref()
            .map_or_else(String::new, |c| format!(" WHEN ({c})")),
        trigger.function,
        arguments.join(", ")
    )
}

fn deferral(trigger: &TableTrigger) -> &'static str {
    match (trigger.deferrable, trigger.initially_deferred) {
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        _ => "",
    }
}

fn transition_tables(trigger: &TableTrigger) -> String {
    let old = trigger
        .old_table
        .as_ref()
        .map(|n| format!(" OLD TABLE AS {n}"));
    let new = trigger
        .new_table
        .as_ref()
        .map(|n| format!(" NEW TABLE AS {n}"));
    let all: String = old.into_iter().chain(new).collect();
    if all.is_empty() {
        return all;
    }
    format!(" REFERENCING{all}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn made(change: Value) -> Vec<String> {
        let mut trigger = json!({"name": "t", "type": 17, "enabled": "O", "constraint": false, "from": null, "deferrable": false,
            "initially_deferred": false, "update_columns": [], "columns": [], "old_table": null, "new_table": null, "condition": null,
            "function": {"schema": "app", "name": "f"}, "arguments": "", "source_text": "", "may_call": true, "comment": null});
        for (key, value) in change.as_object().unwrap() {
            trigger[key] = value.clone();
        }
        create(
            &QualifiedName::new("public", "new"),
            &serde_json::from_value(trigger).unwrap(),
        )
    }

    #[test]
    fn each_part_of_a_definition_is_written() {
        assert_eq!(
            made(
                json!({"type": 23, "update_columns": ["a", "b"], "condition": "new.a > 0", "arguments": "6f27630000", "enabled": "A", "comment": "why"})
            ),
            [
                "CREATE TRIGGER \"t\" BEFORE INSERT OR UPDATE OF \"a\", \"b\" ON \"public\".\"new\" FOR EACH ROW WHEN (new.a > 0) \
                 EXECUTE FUNCTION \"app\".\"f\"('o''c', '')",
                "ALTER TABLE \"public\".\"new\" ENABLE ALWAYS TRIGGER \"t\"",
                "COMMENT ON TRIGGER \"t\" ON \"public\".\"new\" IS 'why'",
            ]
        );
        assert_eq!(
            made(json!({"type": 24, "old_table": "gone", "new_table": "come"})),
            [
                "CREATE TRIGGER \"t\" AFTER DELETE OR UPDATE ON \"public\".\"new\" REFERENCING OLD TABLE AS \"gone\" NEW TABLE AS \"come\" \
              FOR EACH STATEMENT EXECUTE FUNCTION \"app\".\"f\"()"
            ]
        );
        assert_eq!(
            made(
                json!({"type": 5, "constraint": true, "deferrable": true, "initially_deferred": true})
            )[0],
            "CREATE CONSTRAINT TRIGGER \"t\" AFTER INSERT ON \"public\".\"new\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             EXECUTE FUNCTION \"app\".\"f\"()"
        );
    }
}
