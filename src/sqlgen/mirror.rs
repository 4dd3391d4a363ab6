//! What the mirror runs for one touched key, and the triggers that call it.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::Layout;
use crate::sqlgen::view;

/// The statements of one mapping; `$1 …` is the source's key.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSql {
    /// Brings the target row in step with the source row; touches none where the source has none.
    pub upsert: String,
    /// Takes the target row away.
    pub delete: String,
    /// Whether the source has the row: asked where the upsert touched none.
    pub exists: String,
    /// Takes all rows of the scope away, for TRUNCATE.
    pub clear: String,
    /// Moves the target row to the key of the changed source row: `$1 …` the old key, then the new one. The two
    /// may be equal and differ in their image (1.0 and 1.00), so the row itself is not in its own way. A row
    /// that another source row, which took the old key, has been given already stays with it.
    pub rekey: String,
    /// Locks every row that has the key, where two may have it for a while.
    pub lock: Option<String>,
}

pub fn statements(id: i32, target: &QualifiedName, layout: &Layout) -> MirrorSql {
    let view = view::name(id);
    let written: Vec<&Ident> = layout
        .columns
        .iter()
        .filter(|c| c.insert)
        .map(|c| &c.name)
        .collect();
    let columns = list(written.iter().copied());
    let not_scope = |c: &Ident| layout.scope.as_ref().is_none_or(|s| s.column != *c);
    let moved: Vec<String> = written
        .iter()
        .filter(|c| not_scope(c))
        .map(|c| format!("{c} = v.{c}"))
        .collect();
    // SET of a key column takes the row lock that blocks inserts of referencing rows: set the others only.
    let set: Vec<String> = written
        .iter()
        .filter(|c| !layout.arbiter.contains(c) && !layout.primary_key.contains(c))
        .map(|c| format!("{c} = EXCLUDED.{c}"))
        .collect();
    // Nothing but keys: the row is right as soon as it is there, but it must count as touched.
    let set = if set.is_empty() {
        layout
            .key
            .iter()
            .take(1)
            .map(|k| format!("{0} = EXCLUDED.{0}", k.target))
            .collect()
    } else {
        set
    };
    let own = scope_is_mine("t", layout);
    // Two rows may share a key that is checked late. Either will do: whoever ends that makes us look again.
    let one = if layout.key_deferrable {
        " LIMIT 1"
    } else {
        ""
    };
    MirrorSql {
        upsert: format!(
            "INSERT INTO {target} AS t ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {view} AS v WHERE {}{one} \
             ON CONFLICT ({}) DO UPDATE SET {}{}",
            source_key("v", layout),
            list(&layout.arbiter),
            set.join(", "),
            own.as_ref()
                .map_or(String::new(), |s| format!(" WHERE {s}")),
        ),
        delete: format!(
            "DELETE FROM {target} AS t WHERE {}",
            target_key("t", layout, own.as_deref(), 0)
        ),
        exists: format!(
            "SELECT 1 FROM {view} AS v WHERE {}",
            source_key("v", layout)
        ),
        clear: clear(target, layout),
        rekey: format!(
            "UPDATE {target} AS t SET {} FROM {view} AS v WHERE {} AND {} AND NOT EXISTS \
             (SELECT FROM {target} AS n WHERE {} AND NOT (n.tableoid OPERATOR(pg_catalog.=) t.tableoid AND n.ctid OPERATOR(pg_catalog.=) t.ctid)) \
             AND NOT EXISTS (SELECT FROM {view} AS o WHERE {} AND {})",
            moved.join(", "),
            key_equals("v", layout, |n, _| format!("${}", layout.key.len() + n + 1)),
            target_key("t", layout, own.as_deref(), 0),
            target_key("n", layout, None, layout.key.len()),
            source_key("o", layout),
            written_before("o", "t"),
        ),
        lock: layout.key_deferrable.then(|| {
            format!(
                "SELECT 1 FROM {view} AS v WHERE {} FOR NO KEY UPDATE OF v",
                source_key("v", layout)
            )
        }),
    }
}

/// Whether the target's row was written after this version of the source's row, in one transaction: then it is
/// that row's twin. Commands of a transaction are counted (cmin; the manual's chapter on system columns), and cid
/// has no order of its own.
fn written_before(source: &str, target: &str) -> String {
    let [transaction, command] = view::writer();
    let number = |c: String| format!("{c}::pg_catalog.text::bigint");
    format!(
        "{source}.{transaction} OPERATOR(pg_catalog.=) {target}.xmin AND {} OPERATOR(pg_catalog.<) {}",
        number(format!("{source}.{command}")),
        number(format!("{target}.cmin")),
    )
}

/// Deletes the scope's rows, or all where there is no scope.
pub fn clear(target: &QualifiedName, layout: &Layout) -> String {
    match scope_is_mine("t", layout) {
        Some(own) => format!("DELETE FROM {target} AS t WHERE {own}"),
        None => format!("DELETE FROM {target}"),
    }
}

/// `t.project_id = '…'::uuid`
pub fn scope_is_mine(alias: &str, layout: &Layout) -> Option<String> {
    layout.scope.as_ref().map(|s| {
        format!(
            "{alias}.{} OPERATOR(pg_catalog.=) {}::{}",
            s.column,
            Literal(&s.value),
            s.type_text
        )
    })
}

/// Rows of any other scope: below or above, because an index serves both and `<>` never.
pub fn scope_is_another(alias: &str, layout: &Layout) -> Option<String> {
    layout.scope.as_ref().map(|s| {
        let side = |operator: &str| {
            format!(
                "{alias}.{} OPERATOR(pg_catalog.{operator}) {}::{}",
                s.column,
                Literal(&s.value),
                s.type_text
            )
        };
        format!("{} OR {}", side("<"), side(">"))
    })
}

/// The view's row of the source key in `$1 …`.
pub fn source_key(alias: &str, layout: &Layout) -> String {
    key_equals(alias, layout, |n, _| format!("${}", n + 1))
}

/// The view's row whose key is the text array `$1`.
pub fn source_key_text(alias: &str, layout: &Layout) -> String {
    key_equals(alias, layout, |n, type_text| {
        format!("($1)[{}]::{type_text}", n + 1)
    })
}

fn key_equals(alias: &str, layout: &Layout, value: impl Fn(usize, &str) -> String) -> String {
    let parts: Vec<String> = layout
        .key
        .iter()
        .enumerate()
        .map(|(n, k)| {
            let operator = format!("OPERATOR({}.{})", k.equals.schema, k.equals.name.as_str());
            format!(
                "{alias}.{} {operator} {}",
                view::key_name(n),
                value(n, &k.type_text)
            )
        })
        .collect();
    parts.join(" AND ")
}

/// The target's row of the key in `$(skip + 1) …`.
fn target_key(alias: &str, layout: &Layout, own: Option<&str>, skip: usize) -> String {
    let key = layout.key.iter().enumerate().map(|(n, k)| {
        format!(
            "{alias}.{} OPERATOR({}.{}) ${}",
            k.target,
            k.equals.schema,
            k.equals.name.as_str(),
            skip + n + 1
        )
    });
    own.map(str::to_owned)
        .into_iter()
        .chain(key)
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// The triggers of one mapping.
pub const KINDS: [&str; 2] = ["row", "truncate"];

/// Name of a trigger of mapping `id`; `kind` is `row` or `truncate`. Triggers fire in the order of their names,
/// and `!` sorts before letters and digits: the target must let a unique value go before a trigger of the
/// application hands it on.
pub fn trigger_name(id: i32, kind: &str) -> Ident {
    Ident::new(format!("!mig_{id}_forward_{kind}"))
}

/// ENABLE ALWAYS: logical replication's apply and restores run as `replica` and skip ordinary triggers.
pub fn create_triggers(id: i32, source: &QualifiedName) -> Vec<String> {
    let (row, truncate) = (trigger_name(id, "row"), trigger_name(id, "truncate"));
    vec![
        format!(
            "CREATE TRIGGER {row} AFTER INSERT OR UPDATE OR DELETE ON {source} FOR EACH ROW EXECUTE FUNCTION mig.mirror('{id}')"
        ),
        format!(
            "CREATE TRIGGER {truncate} AFTER TRUNCATE ON {source} FOR EACH STATEMENT EXECUTE FUNCTION mig.mirror('{id}')"
        ),
        format!("ALTER TABLE {source} ENABLE ALWAYS TRIGGER {row}"),
        format!("ALTER TABLE {source} ENABLE ALWAYS TRIGGER {truncate}"),
    ]
}

pub fn disable_trigger(source: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {source} DISABLE TRIGGER {name}")
}

pub fn drop_triggers(id: i32, source: &QualifiedName) -> Vec<String> {
    KINDS
        .iter()
        .map(|kind| {
            format!(
                "DROP TRIGGER IF EXISTS {} ON {source}",
                trigger_name(id, kind)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn upsert_names_its_arbiter_and_keeps_to_its_scope() {
        let (_, target, layout) = fixture::sign_ups();
        let sql = statements(7, &target, &layout);
        assert_eq!(
            sql.upsert,
            "INSERT INTO \"public\".\"project_sign_ups\" AS t (\"project_id\", \"id\", \"round_id\", \"email\") \
             OVERRIDING SYSTEM VALUE SELECT \"project_id\", \"id\", \"round_id\", \"email\" \
             FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $1 \
             ON CONFLICT (\"id\") DO UPDATE SET \"project_id\" = EXCLUDED.\"project_id\", \"round_id\" = EXCLUDED.\"round_id\", \
             \"email\" = EXCLUDED.\"email\" \
             WHERE t.\"project_id\" OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000001'::uuid"
        );
        assert_eq!(
            sql.delete,
            "DELETE FROM \"public\".\"project_sign_ups\" AS t \
             WHERE t.\"project_id\" OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000001'::uuid \
             AND t.\"id\" OPERATOR(\"pg_catalog\".=) $1"
        );
    }

    #[test]
    fn a_changed_key_moves_the_row_where_its_place_is_free() {
        let (_, target, layout) = fixture::sign_ups();
        let sql = statements(7, &target, &layout).rekey;
        assert_eq!(
            sql,
            "UPDATE \"public\".\"project_sign_ups\" AS t SET \"id\" = v.\"id\", \"round_id\" = v.\"round_id\", \"email\" = v.\"email\" \
             FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $2 \
             AND t.\"project_id\" OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000001'::uuid \
             AND t.\"id\" OPERATOR(\"pg_catalog\".=) $1 \
             AND NOT EXISTS (SELECT FROM \"public\".\"project_sign_ups\" AS n WHERE n.\"id\" OPERATOR(\"pg_catalog\".=) $2 \
             AND NOT (n.tableoid OPERATOR(pg_catalog.=) t.tableoid AND n.ctid OPERATOR(pg_catalog.=) t.ctid)) \
             AND NOT EXISTS (SELECT FROM \"mig\".\"m7_forward\" AS o WHERE o.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $1 \
             AND o.\"mig:xmin\" OPERATOR(pg_catalog.=) t.xmin AND o.\"mig:cmin\"::pg_catalog.text::bigint OPERATOR(pg_catalog.<) \
             t.cmin::pg_catalog.text::bigint)"
        );
    }

    #[test]
    fn triggers_are_after_row_and_always_on() {
        let (source, _, _) = fixture::sign_ups();
        let made = create_triggers(7, &source.name);
        assert!(
            made[0].contains("AFTER INSERT OR UPDATE OR DELETE")
                && made[0].contains("FOR EACH ROW")
        );
        assert!(made[2].contains("ENABLE ALWAYS") && made[3].contains("ENABLE ALWAYS"));
    }
}
