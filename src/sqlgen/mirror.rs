//! The statements that the mirror runs for one touched key.

use crate::ident::{QualifiedName, list};
use crate::model::layout::Layout;
use crate::sqlgen::direction::{Direction, Flow};
use crate::sqlgen::id_map::{self, IdChoice};
use crate::sqlgen::scope::{in_another_scope, in_scope, scope_is_mine};
use crate::sqlgen::view_names;

/// The statements of one direction; `$1 …` is the touched row's key.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSql {
    /// Inserts the row into the written table unless its key exists. Not ON CONFLICT DO UPDATE: that takes the lock that blocks
    /// inserts of referencing rows as soon as it sets a column of any unique index, changed or not (ExecUpdateLockMode in
    /// execMain.c).
    pub insert: String,
    /// Updates the written row to match the touched row; changes nothing where either is missing.
    pub update: String,
    /// Deletes the written row.
    pub delete: String,
    /// Whether the touched row exists; asked where nothing was written.
    pub exists: String,
    /// Moves the written row to the changed key of the touched row: `$1 …` the old key, then the new one. The two keys may be
    /// equal with different texts (1.0 and 1.00), so the row does not conflict with itself. If another touched row has taken
    /// the old key and the written row was already assigned to it, the written row stays with that row.
    pub rekey: String,
    /// Locks every row with the key, where two rows may have it temporarily.
    pub lock: Option<String>,
    /// Whether the touched table has rows of other scopes.
    pub others: Option<String>,
    /// Finds the row if the forward view computes the same values from what was written back.
    pub returns: String,
    /// `returns` is needed: there is a filter or an expression.
    pub may_change: bool,
    /// Allocates the row's id on the other side.
    pub give: Option<String>,
    /// Whether the row refers to a row without an id on the other side.
    pub unready: Option<String>,
    /// Allocates those ids.
    pub give_named: Vec<String>,
    /// For a merge.
    pub merge: Option<MergeSql>,
    /// Reverse direction of a merge: finds the row if it is already right. Writing it would go beyond what the application did.
    pub same: Option<String>,
}

/// Transactions that write parts of one merged row all lock that row first; the transaction that holds it reads all parts.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeSql {
    /// Locks the row of the written table.
    pub hold: String,
    /// Updates it to what all parts say, where it differs.
    pub settle: String,
    /// Finds the part in this direction's touched table.
    pub there: String,
    /// Locks that part against deletion.
    pub keep: String,
}

pub fn statements(flow: &Flow) -> MirrorSql {
    let (view, table) = (&flow.view, &flow.written);
    let columns = list(&flow.columns);
    // With a deferrable key two rows may share a key for a while. Either will do: the write that ends this fires the mirror
    // again.
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
        same: (flow.merged && flow.direction == Direction::Reverse).then(|| select_equal(flow)),
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

/// After TRUNCATE of one source of a merge: updates the remaining rows to what the other sources give.
pub fn clear_share(flow: &Flow) -> Option<String> {
    flow.locks_table().then(|| renew(flow, "true"))
}

/// For TRUNCATE: deletes all rows of this mapping, and those of the tables that had to be truncated together with it, in one
/// statement, so that no foreign-key action or check runs in between.
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

/// Updates only rows that differ from the view's. They are compared by text, which every type has.
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

/// Whether row `t` differs from the view's row `v`.
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

/// Assigns all columns except the fixed ones from the row `from`.
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
    // Only key columns: the row is right as soon as it exists, but the UPDATE must still count it.
    let first = flow.key.iter().take(1);
    first
        .map(|k| format!("{0} = {from}.{0}", k.written))
        .collect()
}

/// The key in the form that `mig.leftover` stores.
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

/// Whether the written row was written after this version of the touched row, in the same transaction: then it belongs to that
/// row. cmin counts the commands of a transaction (manual, chapter on system columns); type cid has no ordering operators,
/// hence the cast.
fn written_before(source: &str, target: &str) -> String {
    let [transaction, command] = view_names::writer();
    let number = |c: String| format!("{c}::pg_catalog.text::bigint");
    format!(
        "{source}.{transaction} OPERATOR(pg_catalog.=) {target}.xmin AND {} OPERATOR(pg_catalog.<) {}",
        number(format!("{source}.{command}")),
        number(format!("{target}.cmin")),
    )
}

/// Replaces TRUNCATE of the touched table where that has rows of other scopes.
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

/// Deletes the scope's rows, or all rows where there is no scope.
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
