//! The mapping view: the single definition of a target row. Mirror, batch and check all read it, so they cannot disagree, and
//! PostgreSQL keeps the columns that it needs from being dropped or retyped.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::reverse::{BackColumn, BackValue};
use crate::model::layout::{Layout, Origin, TargetColumn};
use crate::sqlgen::id_lookup;
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::view_names::{key_name, place, writer};

pub mod merged;

/// Creates the view under the name `at`. PostgreSQL checked `filter` and the expressions when the mapping was added.
pub fn create(
    at: &QualifiedName,
    source: &QualifiedName,
    layout: &Layout,
    filter: Option<&str>,
) -> String {
    let alias = &source.name;
    let mut columns: Vec<String> = layout
        .columns
        .iter()
        .map(|c| format!("{} AS {}", value(c, alias, layout), c.name))
        .collect();
    let key = layout.key.iter().map(|k| &k.source);
    columns.extend(whereabouts(alias, key));
    let filter = filter.map_or(String::new(), |f| format!("\nWHERE ({f}\n)"));
    define(at, &columns, source, &filter)
}

/// The value of a target column, computed from a source row under this alias.
fn value(column: &TargetColumn, alias: &Ident, layout: &Layout) -> String {
    match &column.origin {
        Origin::Scope => {
            let value = layout.scope.as_ref().map_or("", |s| s.value.as_str());
            format!("{}::{}", Literal(value), column.type_text)
        }
        Origin::Source(from) => {
            let old = format!("{alias}.{from}");
            match &column.via {
                None => old,
                Some(via) => id_lookup::look_up_new(via, &old),
            }
        }
        // The line break ends a comment at the end of the expression.
        Origin::Expression(text) => format!("({text}\n)"),
        Origin::Partner => format!("NULL::{}", column.type_text),
    }
}

/// None where the mapping has no reverse direction. PostgreSQL checked the expressions when the mapping was added.
pub fn create_reverse(
    at: &QualifiedName,
    source: &QualifiedName,
    target: &QualifiedName,
    layout: &Layout,
) -> Option<String> {
    let alias = &target.name;
    let column = |c: &BackColumn| match &c.from {
        BackValue::Target(from) => format!(
            "{} AS {}",
            old_value(&alias.to_string(), from, layout),
            c.source
        ),
        BackValue::Expression { down, .. } => format!("({down}\n) AS {}", c.source),
    };
    let mut columns: Vec<String> = layout.back.as_ref()?.iter().map(column).collect();
    let key = layout.key.iter().map(|k| &k.target);
    columns.extend(whereabouts(alias, key));
    let scope = scope_is_mine(&alias.to_string(), layout);
    let share = merged::has_share(layout, &alias.to_string(), Some(source));
    let ours: Vec<String> = scope.into_iter().chain(share).collect();
    let ours = match ours.as_slice() {
        [] => String::new(),
        all => format!("\nWHERE {}", all.join(" AND ")),
    };
    Some(define(at, &columns, target, &ours))
}

/// The source table's value of a carried column, from row `alias` of the target.
pub fn old_value(alias: &str, column: &Ident, layout: &Layout) -> String {
    let value = format!("{alias}.{column}");
    let via = layout.columns.iter().find(|c| c.name == *column);
    match via.and_then(|c| c.via.as_ref()) {
        None => value,
        Some(via) => id_lookup::look_up_old(via, &value),
    }
}

/// Key, tid and writer (xmin, cmin) of the row.
fn whereabouts<'a>(alias: &Ident, key: impl Iterator<Item = &'a Ident>) -> Vec<String> {
    let [transaction, command] = writer();
    let key = key.enumerate();
    key.map(|(n, k)| format!("{alias}.{k} AS {}", key_name(n)))
        .chain([
            format!("{alias}.ctid AS {}", place()),
            format!("{alias}.xmin AS {transaction}"),
            format!("{alias}.cmin AS {command}"),
        ])
        .collect()
}

fn define(name: &QualifiedName, columns: &[String], table: &QualifiedName, rest: &str) -> String {
    define_query(
        name,
        &format!("SELECT {}\nFROM {table}{rest}", columns.join(",\n  ")),
    )
}

fn define_query(name: &QualifiedName, query: &str) -> String {
    format!("CREATE VIEW {name} AS\n{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn yields_rows_in_the_targets_shape_and_where_they_come_from() {
        let (source, _, layout) = fixture::sign_ups();
        assert_eq!(
            create(
                &crate::sqlgen::view_names::name(7),
                &source.name,
                &layout,
                Some("email <> ''")
            ),
            "CREATE VIEW \"mig\".\"m7_forward\" AS\n\
             SELECT '00000000-0000-0000-0000-000000000001'::uuid AS \"project_id\",\n  \
             \"sign_ups\".\"id\" AS \"id\",\n  \
             \"sign_ups\".\"round_id\" AS \"round_id\",\n  \
             \"sign_ups\".\"email\" AS \"email\",\n  \
             \"sign_ups\".\"id\" AS \"mig:k1\",\n  \
             \"sign_ups\".ctid AS \"mig:ctid\",\n  \
             \"sign_ups\".xmin AS \"mig:xmin\",\n  \
             \"sign_ups\".cmin AS \"mig:cmin\"\n\
             FROM \"public\".\"sign_ups\"\nWHERE (email <> ''\n)"
        );
    }
}
