//! Triggers of the application: what the target takes over. A trigger of the source is made on the target, too, so that a write
//! there fires it. No write of pg_mig does (`pg/silent_triggers.rs`).

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{Shape, TableTrigger};

/// Why a trigger is not made on the target.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerObstacle {
    /// The target has several sources, or rows of its own.
    SharedTarget,
    /// A constraint trigger that belongs to two tables.
    From(QualifiedName),
    /// Its definition names a column that the target lacks.
    Column(Ident),
    /// Its function, or an argument, names a column that the target lacks or calls otherwise.
    FunctionColumn(Ident),
}

/// Returns why the target cannot have this trigger; None if it gets it.
pub fn find_obstacle(
    trigger: &TableTrigger,
    source: &Shape,
    layout: &Layout,
) -> Option<TriggerObstacle> {
    if layout.kind.is_some() || layout.merge.is_some() {
        return Some(TriggerObstacle::SharedTarget);
    }
    if let Some(other) = &trigger.from {
        return Some(TriggerObstacle::From(other.clone()));
    }
    let mut named = trigger.columns.iter();
    if let Some(column) = named.find(|c| target_column(layout, c).is_none()) {
        return Some(TriggerObstacle::Column(column.clone()));
    }
    let arguments = trigger.arguments();
    let mut columns = source.columns.iter().map(|c| &c.name);
    let used = columns.find(|column| {
        target_column(layout, column).is_none_or(|target| target != *column)
            && (names_field(&trigger.source_text, column)
                || arguments.iter().any(|a| a == column.as_str()))
    });
    used.cloned().map(TriggerObstacle::FunctionColumn)
}

/// Whether the function's text names the table. A name in a text does not follow the table.
pub fn names_table(trigger: &TableTrigger, table: &Ident) -> bool {
    words(&trigger.source_text).any(|(_, word)| is_name(word, table))
        || trigger
            .source_text
            .contains(&format!("\"{}\"", table.as_str()))
}

/// The target's column that has the values of this column of the source, unchanged.
pub fn target_column<'a>(layout: &'a Layout, source: &Ident) -> Option<&'a Ident> {
    let unchanged = layout.columns.iter().filter(|c| c.via.is_none());
    let mut found = unchanged.filter(|c| c.origin == Origin::Source(source.clone()));
    found.next().map(|c| &c.name)
}

/// Whether the text has `NEW.column` or `OLD.column`.
fn names_field(text: &str, column: &Ident) -> bool {
    let mut row: Option<(usize, &str)> = None;
    for (start, word) in words(text) {
        if let Some((end, before)) = row
            && is_point(&text[end..start])
            && ["new", "old"]
                .iter()
                .any(|r| before.eq_ignore_ascii_case(r))
            && is_name(word, column)
        {
            return true;
        }
        row = Some((start + word.len(), word));
    }
    false
}

/// Whether nothing but a point, quotes and spaces stand between two names.
fn is_point(text: &str) -> bool {
    let signs = text.chars().filter(|c| !c.is_whitespace() && *c != '"');
    signs.eq(['.'])
}

fn is_name(word: &str, name: &Ident) -> bool {
    word.eq_ignore_ascii_case(name.as_str())
}

/// Words and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
    parts
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;
    use serde_json::json;

    fn trigger(source_text: &str, arguments: &str, columns: &[&str]) -> TableTrigger {
        serde_json::from_value(json!({"name": "touch", "type": 19, "enabled": "O", "constraint": false, "from": null,
            "deferrable": false, "initially_deferred": false, "update_columns": [], "columns": columns, "old_table": null,
            "new_table": null, "condition": null, "function": {"schema": "public", "name": "touch"}, "arguments": arguments,
            "source_text": source_text, "may_call": true, "comment": null}))
        .unwrap()
    }

    #[test]
    fn arguments_are_read_as_they_are_stored() {
        assert_eq!(trigger("", "", &[]).arguments(), Vec::<String>::new());
        assert_eq!(trigger("", "00", &[]).arguments(), [""]);
        assert_eq!(
            trigger("", "610062c3a40000", &[]).arguments(),
            ["a", "b\u{e4}", ""]
        );
    }

    #[test]
    fn a_trigger_follows_unless_it_names_what_the_target_has_not() {
        let (source, _, mut layout) = fixture::sign_ups();
        let round = Ident::from("round_id");
        assert_eq!(
            find_obstacle(
                &trigger("NEW.round_id := 1", "", &["round_id"]),
                &source,
                &layout
            ),
            None
        );
        for c in &mut layout.columns {
            if c.name == round {
                c.name = "round".into();
            }
        }
        let by_function = Some(TriggerObstacle::FunctionColumn(round.clone()));
        assert_eq!(
            find_obstacle(
                &trigger("new . \"round_id\" := 1", "", &[]),
                &source,
                &layout
            ),
            by_function
        );
        assert_eq!(
            find_obstacle(&trigger("", "726f756e645f696400", &[]), &source, &layout),
            by_function
        );
        assert_eq!(
            find_obstacle(
                &trigger("x.round_id := NEW.id", "", &["round_id"]),
                &source,
                &layout
            ),
            None
        );
        layout.columns.retain(|c| c.name.as_str() != "round");
        assert_eq!(
            find_obstacle(&trigger("", "", &["round_id"]), &source, &layout),
            Some(TriggerObstacle::Column(round))
        );
    }

    #[test]
    fn a_table_is_named_as_a_word() {
        let names = |text: &str| names_table(&trigger(text, "", &[]), &"log".into());
        assert!(
            names("INSERT INTO public.LOG VALUES (1)") && names("insert into \"log\" values (1)")
        );
        assert!(!names("INSERT INTO logs VALUES (1)") && !names("catalog"));
    }
}
