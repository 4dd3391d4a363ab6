//! New columns of an existing table: added, kept in sync, compared.

pub mod compare;
pub mod dependents;

use crate::ident::{Ident, QualifiedName};
use crate::model::column_change::{ColumnChange, NewColumn, SyncStage};
use crate::sqlgen::trigger::always;
use crate::sqlgen::trigger_definition::{FiringEvent, Level, Timing, TriggerDefinition};

/// Name of the view with the current and the expected values of the new columns and of the old one.
pub fn view_name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("columns_{id}")),
    }
}

/// View column with the current value of new column `n`.
pub fn new_name(n: usize) -> Ident {
    Ident::new(format!("new:{}", n + 1))
}

/// View column with the expected value of new column `n`.
pub fn up_name(n: usize) -> Ident {
    Ident::new(format!("up:{}", n + 1))
}

pub const OLD: &str = "old";
pub const DOWN: &str = "down";
const PLACE: &str = "mig:ctid";

/// Nullable and without a default, so that only the catalog changes and no row is read.
pub fn add_column(
    table: &QualifiedName,
    c: &NewColumn,
    collation: Option<&QualifiedName>,
) -> String {
    let collation = collation.map_or_else(String::new, |c| format!(" COLLATE {c}"));
    format!(
        "ALTER TABLE {table} ADD COLUMN {} {}{collation}",
        c.name, c.type_text
    )
}

pub fn drop_column(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {name}")
}

/// A FROM item for expressions over the table as it will be with the columns `more` (name and type).
pub fn as_it_will_be(table: &QualifiedName, more: &[(&Ident, &str)]) -> String {
    let more: Vec<String> = more
        .iter()
        .map(|(name, type_text)| format!(", NULL::{type_text} AS {name}"))
        .collect();
    format!(
        "(SELECT r.*{} FROM ONLY {table} AS r) AS {}",
        more.concat(),
        table.name
    )
}

/// An expression cast to the column's type.
pub fn cast_expression(expression: &str, type_text: &str) -> String {
    // The line break ends a comment at the end of the expression.
    format!("CAST(({expression}\n) AS {type_text})")
}

/// Creates the view that trigger, batch and check read, so that they cannot disagree. PostgreSQL keeps the columns that it
/// names from being dropped or retyped, and follows renames. `old_type`: the type of the replaced column.
pub fn create_view(
    at: &QualifiedName,
    table: &QualifiedName,
    r: &ColumnChange,
    old_type: Option<&str>,
) -> String {
    let alias = &table.name;
    let mut columns = vec![format!("{alias}.ctid AS {}", Ident::new(PLACE))];
    for (n, c) in r.columns.iter().enumerate() {
        columns.push(format!("{alias}.{} AS {}", c.name, new_name(n)));
        columns.push(format!(
            "{} AS {}",
            cast_expression(&c.up, &c.type_text),
            up_name(n)
        ));
    }
    if let (Some(old), Some(old_type)) = (&r.replaces, old_type) {
        columns.push(format!("{alias}.{} AS {}", old.name, Ident::new(OLD)));
        columns.push(format!(
            "{} AS {}",
            cast_expression(&old.down, old_type),
            Ident::new(DOWN)
        ));
    }
    format!(
        "CREATE VIEW {at} AS SELECT {} FROM ONLY {table} AS {alias}",
        columns.join(", ")
    )
}

pub fn drop_view(id: i32) -> String {
    format!("DROP VIEW IF EXISTS {}", view_name(id))
}

/// BEFORE triggers fire in name order, and `~` sorts after letters: the trigger sees the row as the application's triggers
/// leave it.
pub fn trigger_name(id: i32) -> Ident {
    Ident::new(format!("~mig_{id}_columns"))
}

pub fn trigger(id: i32, stage: SyncStage) -> TriggerDefinition {
    TriggerDefinition {
        name: trigger_name(id),
        timing: Timing::Before,
        on: &[FiringEvent::Insert, FiringEvent::Update],
        level: Level::Row,
        when: None,
        function: "keep_columns",
        arguments: vec![id.to_string(), stage.as_str().into()],
    }
}

/// ENABLE ALWAYS, as for the mirrors: rows from logical replication are kept in sync too.
pub fn create_trigger(table: &QualifiedName, id: i32, stage: SyncStage) -> [String; 2] {
    let made = trigger(id, stage);
    [made.create(table), always(table, &made.name)]
}

pub fn drop_trigger(table: &QualifiedName, id: i32) -> String {
    format!("DROP TRIGGER IF EXISTS {} ON {table}", trigger_name(id))
}

pub fn drop_not_null(table: &QualifiedName, column: &Ident) -> String {
    format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
}

/// None drops the default.
pub fn set_default(table: &QualifiedName, column: &Ident, default: Option<&str>) -> String {
    match default {
        Some(text) => format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {text}"),
        None => format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT"),
    }
}

pub fn rename(table: &QualifiedName, from: &Ident, to: &Ident) -> String {
    format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}")
}

pub fn hand_over(sequence: &QualifiedName, table: &QualifiedName, column: &Ident) -> String {
    format!("ALTER SEQUENCE {sequence} OWNED BY {table}.{column}")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::column_change::ReplacedColumn;

    pub fn jsonb() -> (QualifiedName, ColumnChange) {
        let table = QualifiedName::new("public", "videos");
        let column = serde_json::json!({
            "id": 7, "leader": 7, "relation": 1, "table": table, "owner": 10, "name": "facts", "type": "jsonb",
            "up": "meta::jsonb", "down": "facts::text", "column_default": null, "not_null": true, "replaces": "meta",
            "mutable": false, "bound_blocks": null, "next_block": 0, "filenode": null, "batch_blocks": null, "filled": false, "busy": [],
            "late": null, "archived": null
        });
        let r = ColumnChange {
            id: 7,
            relation: 1,
            table: Some(table.clone()),
            columns: vec![serde_json::from_value(column).unwrap()],
            replaces: Some(ReplacedColumn {
                name: "meta".into(),
                down: "facts::text".into(),
            }),
        };
        (table, r)
    }

    #[test]
    fn one_view_says_what_both_columns_should_be() {
        let (table, r) = jsonb();
        assert_eq!(
            create_view(&view_name(7), &table, &r, Some("text")),
            "CREATE VIEW \"mig\".\"columns_7\" AS SELECT \"videos\".ctid AS \"mig:ctid\", \"videos\".\"facts\" AS \"new:1\", \
             CAST((meta::jsonb\n) AS jsonb) AS \"up:1\", \"videos\".\"meta\" AS \"old\", CAST((facts::text\n) AS text) AS \"down\" \
             FROM ONLY \"public\".\"videos\" AS \"videos\""
        );
    }

    #[test]
    fn the_trigger_is_the_last_one_and_always_on() {
        let (table, _) = jsonb();
        let made = create_trigger(&table, 7, SyncStage::Both);
        assert_eq!(
            made[0],
            "CREATE TRIGGER \"~mig_7_columns\" BEFORE INSERT OR UPDATE ON \"public\".\"videos\" FOR EACH ROW EXECUTE FUNCTION mig.keep_columns('7', 'both')"
        );
        assert!(made[1].contains("ENABLE ALWAYS"));
    }
}
