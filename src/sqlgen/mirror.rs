//! What the mirror runs for one touched key.

use crate::ident::{QualifiedName, list};
use crate::model::layout::Layout;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::id_map::{self, IdChoice};
use crate::sqlgen::scope::{in_another_scope, in_scope, scope_is_mine};
use crate::sqlgen::view_names;

/// The statements of one flow; `$1 …` is the touched row's key. In their comments the table whose writes are followed is
/// the source, and the one that is written is the target.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSql {
    /// Puts the source row into the target, unless its key is there. Not ON CONFLICT DO UPDATE: that takes the lock which
    /// blocks inserts of referencing rows as soon as it sets a column of any unique index, changed or not
    /// (ExecUpdateLockMode in execMain.c).
    pub insert: String,
    /// Brings the target row in step with the source row; touches none where either is missing.
    pub update: String,
    /// Takes the target row away.
    pub delete: String,
    /// Whether the source has the row: asked where nothing was written.
    pub exists: String,
    /// Moves the target row to the key of the changed source row: `$1 …` the old key, then the new one. The two
    /// may be equal and differ in their image (1.0 and 1.00), so the row itself is not in its own way. A row
    /// that another source row, which took the old key, has been given already stays with it.
    pub rekey: String,
    /// Locks every row that has the key, where two may have it for a while.
    pub lock: Option<String>,
    /// Rows of other scopes in the touched table.
    pub others: Option<String>,
    /// A row where what went back comes forth again as it is.
    pub returns: String,
    /// Something makes `returns` worth asking: a filter or an expression.
    pub may_change: bool,
    /// Gives the row its id on the other side.
    pub give: Option<String>,
    /// Whether the row names another one that has no id on the other side yet.
    pub unready: Option<String>,
    /// Gives those theirs.
    pub give_named: Vec<String>,
    /// Where rows of several tables become one.
    pub merge: Option<MergeSql>,
    /// Back to one of several tables: finds the row that is right already. To write it would be more than the application did.
    pub same: Option<String>,
}

/// All who write a part of one row meet at that row: whoever holds it reads all parts then.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeSql {
    /// Locks the row of the written table.
    pub hold: String,
    /// Makes it what all parts are, where it differs.
    pub settle: String,
    /// Finds the part that is in this flow's touched table.
    pub there: String,
    /// Locks it against being taken away.
    pub keep: String,
}

pub fn statements(flow: &Flow) -> MirrorSql {
    let (view, table) = (&flow.view, &flow.written);
    let columns = list(&flow.columns);
    // Two rows may share a key that is checked late. Either will do: whoever ends that makes us look again.
    let one = if flow.deferrable { " LIMIT 1" } else { "" };
    let own = flow.own.as_deref();
    MirrorSql {
        insert: format!(
            "INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {view} AS v WHERE {}{one} \
             ON CONFLICT ({}) DO NOTHING",
            flow.view_key("v", 0),
            list(&flow.arbiter),
        ),
        update: update(flow),
        delete: format!(
            "DELETE FROM {table} AS t WHERE {}",
            flow.written_key("t", own, 0)
        ),
        exists: format!("SELECT 1 FROM {view} AS v WHERE {}", flow.view_key("v", 0)),
        rekey: rekey(flow),
        lock: flow.deferrable.then(|| {
            format!(
                "SELECT 1 FROM {view} AS v WHERE {} FOR NO KEY UPDATE OF v",
                flow.view_key("v", 0)
            )
        }),
        others: flow.scope.as_ref().map(|s| {
            format!(
                "SELECT 1 FROM {} AS t WHERE {} LIMIT 1",
                flow.touched,
                in_another_scope("t", s)
            )
        }),
        returns: returns(flow),
        may_change: flow.own.is_some() || !flow.kept.is_empty(),
        give: id_map::give(flow, IdChoice::Key),
        unready: id_map::is_unready(flow, IdChoice::Key),
        give_named: id_map::give_named(flow, IdChoice::Key),
        merge: flow.locks_table().then(|| merge(flow)),
        same: (flow.merged && flow.way == Direction::Reverse).then(|| select_equal(flow)),
    }
}

fn merge(flow: &Flow) -> MergeSql {
    let there = format!(
        "SELECT 1 FROM {} AS s WHERE {}",
        flow.touched,
        flow.touched_key("s", 0)
    );
    MergeSql {
        hold: format!(
            "SELECT 1 FROM {} AS t WHERE {} FOR NO KEY UPDATE OF t",
            flow.written,
            flow.written_key("t", flow.own.as_deref(), 0)
        ),
        settle: renew(flow, &flow.view_key("v", 0)),
        keep: format!("{there} FOR KEY SHARE OF s"),
        there,
    }
}

fn select_equal(flow: &Flow) -> String {
    format!(
        "SELECT 1 FROM {} AS v, {} AS t WHERE {} AND {} AND NOT ({})",
        flow.view,
        flow.written,
        flow.view_key("v", 0),
        flow.meets("v", "t"),
        differs(flow),
    )
}

/// After TRUNCATE of one of several tables: the rows that are left become what the others make of them.
pub fn clear_share(flow: &Flow) -> Option<String> {
    flow.locks_table().then(|| renew(flow, "true"))
}

/// Takes all our rows away, for TRUNCATE; and with them those of tables that had to be truncated together with it, in one
/// statement, so that no foreign key's action or check comes between.
pub fn clear_all(flow: &Flow, with: &[Flow]) -> String {
    let others: Vec<String> = with
        .iter()
        .enumerate()
        .map(|(n, f)| format!("f{n} AS ({})", clear_one(f)))
        .collect();
    let first = if others.is_empty() {
        String::new()
    } else {
        format!("WITH {} ", others.join(", "))
    };
    first + &clear_one(flow)
}

fn clear_one(flow: &Flow) -> String {
    if flow.locks_table() {
        let own = flow.own.iter().map(|o| format!("{o} AND "));
        return format!(
            "DELETE FROM {} AS t WHERE {}NOT EXISTS (SELECT FROM {} AS v WHERE {})",
            flow.written,
            own.collect::<String>(),
            flow.view,
            flow.met_by("v", "t")
        );
    }
    match &flow.own {
        Some(own) => format!("DELETE FROM {} AS t WHERE {own}", flow.written),
        None => format!("DELETE FROM {}", flow.written),
    }
}

fn update(flow: &Flow) -> String {
    format!(
        "UPDATE {} AS t SET {} FROM {} AS v WHERE {} AND {}",
        flow.written,
        assignments(flow, "v"),
        flow.view,
        flow.view_key("v", 0),
        flow.written_key("t", flow.own.as_deref(), 0),
    )
}

/// Updates rows that differ from the view's, and no others. They are compared by text, which every type has.
pub fn renew(flow: &Flow, condition: &str) -> String {
    format!(
        "UPDATE {} AS t SET {} FROM {} AS v WHERE {condition} AND {} AND ({})",
        flow.written,
        assignments(flow, "v"),
        flow.view,
        flow.meets("v", "t"),
        differs(flow),
    )
}

/// Whether row `t` is another one than the view's row `v`.
fn differs(flow: &Flow) -> String {
    let set = flow.columns.iter().filter(|c| !flow.fixed.contains(c));
    let differs: Vec<String> = set
        .map(|c| match flow.keeps_value(c, &flow.touched_of("n", "t")) {
            Some(stays) => format!("NOT {stays}"),
            None => format!("v.{c}::pg_catalog.text IS DISTINCT FROM t.{c}::pg_catalog.text"),
        })
        .collect();
    if differs.is_empty() {
        "false".to_owned()
    } else {
        differs.join(" OR ")
    }
}

/// All columns but the fixed ones, from the row `from`.
fn assignments(flow: &Flow, from: &str) -> String {
    let at = flow.touched_of("n", "t");
    let set: Vec<String> = flow
        .columns
        .iter()
        .filter(|c| !flow.fixed.contains(c))
        .map(|c| flow.assignment_value(c, &format!("{from}.{c}"), &at))
        .collect();
    if !set.is_empty() {
        return set.join(", ");
    }
    // Nothing but keys: the row is right as soon as it is there, but it must count as touched.
    let first = flow.key.iter().take(1);
    first
        .map(|k| format!("{0} = {from}.{0}", k.written))
        .collect()
}

/// The key as `mig.leftover` has it.
pub fn key_texts(flow: &Flow) -> String {
    let key: Vec<String> = (1..=flow.key.len())
        .map(|n| format!("${n}::pg_catalog.text"))
        .collect();
    format!("SELECT ARRAY[{}]", key.join(", "))
}

fn returns(flow: &Flow) -> String {
    let same = flow
        .comes_forth
        .iter()
        .map(|c| format!("f.{c}::pg_catalog.text IS NOT DISTINCT FROM n.{c}::pg_catalog.text"));
    let scope = flow
        .follows
        .iter()
        .map(|s| format!(" AND {}", in_scope("n", s)));
    format!(
        "SELECT 1 FROM {} AS f, {} AS n WHERE {} AND {}{} AND ({})",
        view_names::name(flow.mapping),
        flow.touched,
        flow.forth_row("f"),
        flow.touched_key("n", 0),
        scope.collect::<String>(),
        same.chain(["true".to_owned()])
            .collect::<Vec<_>>()
            .join(" AND "),
    )
}

fn rekey(flow: &Flow) -> String {
    let (view, table) = (&flow.view, &flow.written);
    let width = flow.key.len();
    let at = flow.touched_in_view("n", "v");
    let moved: Vec<String> = flow
        .columns
        .iter()
        .filter(|c| !flow.marks.contains(c))
        .map(|c| flow.assignment_value(c, &format!("v.{c}"), &at))
        .collect();
    format!(
        "UPDATE {table} AS t SET {} FROM {view} AS v WHERE {} AND {} AND NOT EXISTS \
         (SELECT FROM {table} AS n WHERE {} AND NOT (n.tableoid OPERATOR(pg_catalog.=) t.tableoid AND n.ctid OPERATOR(pg_catalog.=) t.ctid)) \
         AND NOT EXISTS (SELECT FROM {view} AS o WHERE {} AND {})",
        moved.join(", "),
        flow.view_key("v", width),
        flow.written_key("t", flow.own.as_deref(), 0),
        flow.written_key("n", None, width),
        flow.view_key("o", 0),
        written_before("o", "t"),
    )
}

/// Whether the target's row was written after this version of the source's row, in one transaction: then it is
/// that row's twin. Commands of a transaction are counted (cmin; the manual's chapter on system columns), and cid
/// has no order of its own.
fn written_before(source: &str, target: &str) -> String {
    let [transaction, command] = view_names::writer();
    let number = |c: String| format!("{c}::pg_catalog.text::bigint");
    format!(
        "{source}.{transaction} OPERATOR(pg_catalog.=) {target}.xmin AND {} OPERATOR(pg_catalog.<) {}",
        number(format!("{source}.{command}")),
        number(format!("{target}.cmin")),
    )
}

/// In place of TRUNCATE of the touched table, where that holds rows of other scopes.
pub fn clear_scope(flow: &Flow) -> String {
    let own = flow
        .scope
        .iter()
        .map(|s| format!(" WHERE {}", in_scope("t", s)));
    format!(
        "DELETE FROM {} AS t{}",
        flow.touched,
        own.collect::<String>()
    )
}

/// Deletes the scope's rows, or all where there is no scope.
pub fn clear(target: &QualifiedName, layout: &Layout) -> String {
    match scope_is_mine("t", layout) {
        Some(own) => format!("DELETE FROM {target} AS t WHERE {own}"),
        None => format!("DELETE FROM {target}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    fn flow() -> Flow {
        let (source, target, layout) = fixture::sign_ups();
        Flow::forward(7, &source.name, &target, &layout)
    }

    #[test]
    fn insert_names_its_arbiter_and_update_keeps_to_its_scope() {
        let sql = statements(&flow());
        assert_eq!(
            sql.insert,
            "INSERT INTO \"public\".\"project_sign_ups\" AS t (\"project_id\", \"id\", \"round_id\", \"email\") \
             OVERRIDING SYSTEM VALUE SELECT \"project_id\", \"id\", \"round_id\", \"email\" \
             FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $1 \
             ON CONFLICT (\"id\") DO NOTHING"
        );
        assert_eq!(
            sql.update,
            "UPDATE \"public\".\"project_sign_ups\" AS t SET \"project_id\" = v.\"project_id\", \"round_id\" = v.\"round_id\", \
             \"email\" = v.\"email\" FROM \"mig\".\"m7_forward\" AS v WHERE v.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $1 \
             AND t.\"project_id\" OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000001'::uuid \
             AND t.\"id\" OPERATOR(\"pg_catalog\".=) $1"
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
        let sql = statements(&flow()).rekey;
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
    fn back_it_goes_by_the_old_key_and_other_scopes_fire_nothing() {
        let (source, target, layout) = fixture::sign_ups();
        let flow = Flow::reverse(7, &source.name, &target, &layout, None).expect("a way back");
        let sql = statements(&flow);
        assert_eq!(
            sql.insert,
            "INSERT INTO \"public\".\"sign_ups\" AS t (\"id\", \"round_id\", \"email\") OVERRIDING SYSTEM VALUE \
             SELECT \"id\", \"round_id\", \"email\" FROM \"mig\".\"m7_reverse\" AS v WHERE v.\"mig:k1\" OPERATOR(\"pg_catalog\".=) $1 \
             ON CONFLICT (\"id\") DO NOTHING"
        );
        assert!(!sql.may_change && sql.others.is_some());
    }
}
