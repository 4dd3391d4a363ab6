//! Archiving a source table and reversing that: names, sequences, and the compatibility view that replaces the table.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::archive::SharedSequence;
use crate::model::layout::reverse::BackValue;
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{Grant, Shape};
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::{id_lookup, retired_guard, view};

pub fn rename_table(table: &QualifiedName, to: &Ident) -> String {
    format!("ALTER TABLE {table} RENAME TO {to}")
}

/// Also renames the constraint of the index, if there is one.
pub fn rename_index(index: &QualifiedName, to: &Ident) -> String {
    format!("ALTER INDEX {index} RENAME TO {to}")
}

/// Hands the sequence over to the target, so that it is dropped with the target and not with the archived table. An identity
/// column's sequence cannot be moved to another column, so the target gets a new one that continues from the current value.
pub fn hand_over(s: &SharedSequence, target: &QualifiedName) -> Vec<String> {
    let column = &s.target_column;
    match s.identity.as_str() {
        // A table can own only sequences of its own schema; elsewhere the sequence is left without an owner.
        "" if s.sequence.schema == target.schema => {
            vec![format!(
                "ALTER SEQUENCE {} OWNED BY {target}.{column}",
                s.sequence
            )]
        }
        "" => vec![format!("ALTER SEQUENCE {} OWNED BY NONE", s.sequence)],
        kind => {
            let kind = if kind == "a" { "ALWAYS" } else { "BY DEFAULT" };
            vec![
                format!(
                    "ALTER TABLE {target} ALTER COLUMN {column} DROP DEFAULT, ALTER COLUMN {column} ADD GENERATED {kind} AS IDENTITY ({})",
                    s.options
                ),
                go_on(&own_sequence(target, column), &s.sequence.to_string()),
            ]
        }
    }
}

/// Hands the sequence back to the source table.
pub fn hand_back(
    s: &SharedSequence,
    source: &QualifiedName,
    target: &QualifiedName,
    own: Option<&QualifiedName>,
) -> Vec<String> {
    let column = &s.target_column;
    match own {
        None => vec![format!(
            "ALTER SEQUENCE {} OWNED BY {source}.{}",
            s.sequence, s.source_column
        )],
        Some(own) => vec![
            go_on(
                &format!("{}::pg_catalog.regclass", Literal(&s.sequence.to_string())),
                &own.to_string(),
            ),
            format!("ALTER TABLE {target} ALTER COLUMN {column} DROP IDENTITY"),
            format!(
                "ALTER TABLE {target} ALTER COLUMN {column} SET DEFAULT pg_catalog.nextval({}::pg_catalog.regclass)",
                Literal(&s.sequence.to_string())
            ),
        ],
    }
}

pub fn revoke_sequence(sequence: &QualifiedName, grantee: &str) -> String {
    format!("REVOKE ALL ON SEQUENCE {sequence} FROM {grantee}")
}

pub fn grant_sequence(sequence: &QualifiedName, grant: &Grant) -> String {
    let option = if grant.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    format!(
        "GRANT {} ON SEQUENCE {sequence} TO {}{option}",
        grant.privilege, grant.grantee
    )
}

fn own_sequence(target: &QualifiedName, column: &Ident) -> String {
    format!(
        "pg_catalog.pg_get_serial_sequence({}, {})::pg_catalog.regclass",
        Literal(&target.to_string()),
        Literal(column.as_str())
    )
}

/// Sets the sequence `to` to the current value of `from`.
fn go_on(to: &str, from: &str) -> String {
    format!("SELECT pg_catalog.setval({to}, s.last_value, s.is_called) FROM {from} s")
}

/// Creates a read-only view with the source table's name and columns over the target's rows of the scope. The view applies the
/// reader's own rights and policies (security_invoker), and a write to it names the target (`compat_guard`). `old` is the shape
/// of the archived table; `rest` that table and the filter: rows that it leaves out are there alone.
pub fn compat_view(
    name: &QualifiedName,
    old: &Shape,
    target: &QualifiedName,
    layout: &Layout,
    rest: Option<(&QualifiedName, &str)>,
) -> String {
    let columns: Vec<String> = old
        .columns
        .iter()
        .map(|c| {
            format!(
                "{} AS {}",
                value(c.name.clone(), &c.type_text, layout),
                c.name
            )
        })
        .collect();
    let share = view::merged::has_share(layout, "t", None);
    let ours: Vec<String> = scope_is_mine("t", layout)
        .into_iter()
        .chain(share)
        .collect();
    let ours = match ours.as_slice() {
        [] => String::new(),
        all => format!(" WHERE {}", all.join(" AND ")),
    };
    let rest = rest.map_or_else(String::new, |(archive, filter)| {
        let columns = old.columns.iter().map(|c| &c.name);
        format!(
            " UNION ALL SELECT {} FROM {archive} WHERE ({filter}\n) IS NOT TRUE",
            list(columns)
        )
    });
    format!(
        "CREATE OR REPLACE VIEW {name} WITH (security_invoker = true) AS SELECT {} FROM {target} AS t{ours}{rest}",
        columns.join(", ")
    )
}

/// Counts the rows that a filter leaves out.
pub fn count_rest(source: &QualifiedName, filter: &str) -> String {
    format!("SELECT count(*) FROM {source} WHERE ({filter}\n) IS NOT TRUE")
}

/// Creates the trigger that refuses writes to that view and names the target.
pub fn compat_guard(id: i32, view: &QualifiedName, target: u32, home: Option<u32>) -> String {
    retired_guard::of_view(id, target, home).create(view)
}

/// Grants of the source table, applied to its view.
pub fn compat_grants(name: &QualifiedName, old: &Shape) -> Vec<String> {
    let owner = &old.owner_name;
    let given = old
        .grants
        .iter()
        .filter(|g| g.grantee != owner.as_str() && g.grantee != owner.to_string());
    given.filter_map(|g| grant(name, g)).collect()
}

/// Grants SELECT on the id maps that the view reads: the view runs with the reader's rights.
pub fn compat_maps(old: &Shape, layout: &Layout) -> Vec<String> {
    let mut readers: Vec<&str> = old
        .grants
        .iter()
        .filter(|g| g.privilege == "SELECT")
        .map(|g| g.grantee.as_str())
        .filter(|g| *g != old.owner_name.as_str() && *g != old.owner_name.to_string())
        .collect();
    readers.dedup();
    let mut maps: Vec<i32> = layout.mapped_columns().map(|v| v.map.mapping).collect();
    maps.dedup();
    let one = |id: i32| {
        let readers = readers.iter();
        readers.map(move |r| format!("GRANT SELECT ON {} TO {r}", id_lookup::name(id)))
    };
    maps.into_iter().flat_map(one).collect()
}

/// TRUNCATE, REFERENCES and TRIGGER have no effect on a view.
fn grant(view: &QualifiedName, g: &Grant) -> Option<String> {
    if !["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&g.privilege.as_str()) {
        return None;
    }
    let columns = g
        .column
        .as_ref()
        .map_or(String::new(), |c| format!(" ({})", list([c])));
    let option = if g.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    Some(format!(
        "GRANT {}{columns} ON {view} TO {}{option}",
        g.privilege, g.grantee
    ))
}

/// Returns a source column computed from target row `t`; null where the column was left out.
fn value(column: Ident, type_text: &str, layout: &Layout) -> String {
    let back = layout.back.iter().flatten().find(|b| b.source == column);
    match back.map(|b| &b.from) {
        Some(BackValue::Target(from)) => view::old_value("t", from, layout),
        Some(BackValue::Expression { down, .. }) => format!("({down}\n)::{type_text}"),
        // A generated column is not restored, but the target has a copy of it.
        None => match layout
            .columns
            .iter()
            .find(|c| c.origin == Origin::Source(column.clone()))
        {
            Some(twin) => format!("t.{}", twin.name),
            None => format!("NULL::{type_text}"),
        },
    }
}
