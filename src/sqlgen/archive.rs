//! Putting an old table away and taking it back: names, sequences, and the view that stands in for it.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::archive::SharedSequence;
use crate::model::layout::reverse::BackValue;
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{Grant, Shape};
use crate::sqlgen::id_lookup;
use crate::sqlgen::scope::scope_is_mine;
use crate::sqlgen::{retired_guard, view};

pub fn rename_table(table: &QualifiedName, to: &Ident) -> String {
    format!("ALTER TABLE {table} RENAME TO {to}")
}

/// Renames the constraint with it, if there is one.
pub fn rename_index(index: &QualifiedName, to: &Ident) -> String {
    format!("ALTER INDEX {index} RENAME TO {to}")
}

/// The sequence becomes the new table's: it is dropped with that one, and not with the archive. An identity column's own
/// sequence cannot leave it, so the new table gets one of its own that goes on where the other stands.
pub fn hand_over(s: &SharedSequence, target: &QualifiedName) -> Vec<String> {
    let column = &s.target_column;
    match s.identity.as_str() {
        // A table can own sequences of its own schema only; a free one hurts nobody either.
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

/// And back to the old table.
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

/// Sets the sequence `to` where `from` stands.
fn go_on(to: &str, from: &str) -> String {
    format!("SELECT pg_catalog.setval({to}, s.last_value, s.is_called) FROM {from} s")
}

/// A read-only view with the old table's name, columns and grants over the new table's rows of the scope. It checks the
/// reader's own rights and policies (security_invoker), and says where to write (`compat_guard`). `old` is the shape that it stands for.
pub fn compat_view(
    name: &QualifiedName,
    old: &Shape,
    target: &QualifiedName,
    layout: &Layout,
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
    format!(
        "CREATE VIEW {name} WITH (security_invoker = true) AS SELECT {} FROM {target} AS t{ours}",
        columns.join(", ")
    )
}

/// Writes of that view are told the new table's name.
pub fn compat_guard(id: i32, view: &QualifiedName, target: u32) -> String {
    retired_guard::of_view(id, target).create(view)
}

/// The old table's grants on its view.
pub fn compat_grants(name: &QualifiedName, old: &Shape) -> Vec<String> {
    let owner = &old.owner_name;
    let given = old
        .grants
        .iter()
        .filter(|g| g.grantee != owner.as_str() && g.grantee != owner.to_string());
    given.filter_map(|g| grant(name, g)).collect()
}

/// Whoever may read the view reads with his own rights, the maps of the ids in it too.
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

/// TRUNCATE, REFERENCES and TRIGGER mean nothing on a view.
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

/// An old column out of the new row `t`; null where it was left out.
fn value(column: Ident, type_text: &str, layout: &Layout) -> String {
    let back = layout.back.iter().flatten().find(|b| b.source == column);
    match back.map(|b| &b.from) {
        Some(BackValue::Target(from)) => view::old_value("t", from, layout),
        Some(BackValue::Expression { down, .. }) => format!("({down}\n)::{type_text}"),
        // A generated column does not go back, but the new table has its twin.
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
