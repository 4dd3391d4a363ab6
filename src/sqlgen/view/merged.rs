//! The view of one source of a merge. It returns every row that the target should have, with all columns. The tid is that of
//! this source's own row, null where it has none. So mirrors, batches and checks of all sources agree.

use super::{define_query, value};
use crate::ident::{Ident, QualifiedName};
use crate::model::layout::merge::MergePart;
use crate::model::layout::{Layout, Origin, TargetColumn};
use crate::sqlgen::view_names::{key_name, place, writer};

/// One source, in the order of `Merge::sources`.
pub struct MergeSource<'a> {
    pub mapping: i32,
    pub table: &'a QualifiedName,
    pub layout: &'a Layout,
}

/// Creates the view of `sources[me]` under the name `at`.
pub fn create(at: &QualifiedName, sources: &[MergeSource], me: usize) -> String {
    let by_main = sources[me].layout.merge.as_ref().is_some_and(|m| m.by_main);
    let arms = if by_main {
        vec![arm(sources, 0, &[], me)]
    } else {
        // This source's rows first, then rows that it lacks, each from the first source that has it.
        let mut order = vec![me];
        order.extend((0..sources.len()).filter(|n| *n != me));
        let arms = order.iter().enumerate();
        arms.map(|(at, base)| arm(sources, *base, &order[..at], me))
            .collect()
    };
    define_query(at, &arms.join("\nUNION ALL\n"))
}

fn alias(n: usize) -> Ident {
    Ident::new(format!("mig:s{}", n + 1))
}

/// One branch of the UNION ALL: `base`, left-joined to the later sources, without the keys that a branch of `before` has returned.
fn arm(sources: &[MergeSource], base: usize, before: &[usize], me: usize) -> String {
    let joined: Vec<usize> = (0..sources.len())
        .filter(|n| *n != base && !before.contains(n))
        .collect();
    let layout = sources[me].layout;
    let there = |n: usize| n == base || joined.contains(&n);
    let mut columns: Vec<String> = layout
        .columns
        .iter()
        .map(|c| {
            let text = column(sources, c, base, &there, me);
            format!("{text} AS {}", c.name)
        })
        .collect();
    let key = (0..layout.key.len()).map(|n| format!("{0}.{1} AS {1}", alias(base), key_name(n)));
    columns.extend(key);
    let [transaction, command] = writer();
    let whereabouts = [(place(), "tid"), (transaction, "xid"), (command, "cid")];
    columns.extend(whereabouts.map(|(name, kind)| match there(me) {
        true => format!("{}.{name} AS {name}", alias(me)),
        false => format!("NULL::pg_catalog.{kind} AS {name}"),
    }));
    let mut from = rows(&sources[base], base);
    for n in joined {
        from.push_str(&format!(
            "\nLEFT JOIN {} ON {}",
            rows(&sources[n], n),
            match_keys(layout, &alias(n).to_string(), &alias(base).to_string())
        ));
    }
    let absent: Vec<String> = before
        .iter()
        .map(|n| {
            let there = format!("\"mig:o{n}\"");
            let key = sources[*n].layout.key.iter().zip(0..);
            let same: Vec<String> = key
                .map(|(k, at)| {
                    k.equals.infix(
                        &format!("{there}.{}", k.source),
                        &format!("{}.{}", alias(base), key_name(at)),
                    )
                })
                .collect();
            format!(
                "NOT EXISTS (SELECT FROM {} AS {there} WHERE {})",
                sources[*n].table,
                same.join(" AND ")
            )
        })
        .collect();
    let rest = match absent.as_slice() {
        [] => String::new(),
        all => format!("\nWHERE {}", all.join(" AND ")),
    };
    format!("SELECT {}\nFROM {from}{rest}", columns.join(",\n  "))
}

/// A column of the target, from the source that gives it.
fn column(
    sources: &[MergeSource],
    wanted: &TargetColumn,
    base: usize,
    there: &dyn Fn(usize) -> bool,
    me: usize,
) -> String {
    if wanted.origin == Origin::Scope {
        return value(wanted, &alias(me), sources[me].layout);
    }
    let key = &sources[me].layout.key;
    if let Some(n) = key.iter().position(|k| k.target == wanted.name) {
        return format!("{}.{}", alias(base), key_name(n));
    }
    let gives = |s: &MergeSource| s.layout.own_columns().any(|c| c.name == wanted.name);
    match sources.iter().position(gives) {
        Some(n) if there(n) => format!("{}.{}", alias(n), wanted.name),
        _ => format!("NULL::{}", wanted.type_text),
    }
}

/// The columns that one source gives, with its key under names common to all sources.
fn rows(source: &MergeSource, n: usize) -> String {
    let (table, layout) = (&source.table.name, source.layout);
    let key = |name: &Ident| layout.key.iter().any(|k| k.target == *name);
    let given = layout
        .own_columns()
        .filter(|c| c.origin != Origin::Scope && !key(&c.name));
    let mut columns: Vec<String> = given
        .map(|c| format!("{} AS {}", value(c, table, layout), c.name))
        .collect();
    columns.extend(super::whereabouts(
        table,
        layout.key.iter().map(|k| &k.source),
    ));
    format!(
        "(SELECT {} FROM {}) AS {}",
        columns.join(", "),
        source.table,
        alias(n)
    )
}

/// Joins rows of the same key by the common names.
fn match_keys(layout: &Layout, left: &str, right: &str) -> String {
    let each = layout.key.iter().zip(0..).map(|(k, n)| {
        k.equals.infix(
            &format!("{left}.{}", key_name(n)),
            &format!("{right}.{}", key_name(n)),
        )
    });
    each.collect::<Vec<_>>().join(" AND ")
}

/// Whether the target row under this alias holds anything from this source; None where every row does. With `source`, rows
/// whose own columns are all null are looked up there; without it they count as not held.
pub fn has_share(layout: &Layout, alias: &str, source: Option<&QualifiedName>) -> Option<String> {
    let merge = layout.merge.as_ref().filter(|m| !m.decides())?;
    let holds = |given: &MergePart| {
        (!given.columns.is_empty()).then(|| {
            let names = given.columns.iter().map(|n| format!("{alias}.{n}"));
            format!(
                "pg_catalog.num_nonnulls({}) OPERATOR(pg_catalog.>) 0",
                names.collect::<Vec<_>>().join(", ")
            )
        })
    };
    let mine = merge.own_part()?;
    let mut ways: Vec<String> = holds(mine).into_iter().collect();
    if let (Some(source), true) = (source, mine.required.is_empty()) {
        let key: Vec<String> = layout
            .key
            .iter()
            .map(|k| {
                k.equals.infix(
                    &format!("\"mig:own\".{}", k.source),
                    &format!("{alias}.{}", k.target),
                )
            })
            .collect();
        ways.push(format!(
            "EXISTS (SELECT FROM {source} AS \"mig:own\" WHERE {})",
            key.join(" AND ")
        ));
    }
    // A row that holds nothing from any source belongs to the leading source.
    if merge.leads() {
        let others = merge.sources.iter().filter(|g| g.mapping != merge.me);
        let others: Vec<String> = others.filter_map(holds).collect();
        ways.push(match others.is_empty() {
            true => "true".to_owned(),
            false => format!("NOT ({})", others.join(" OR ")),
        });
    }
    match ways.is_empty() {
        true => Some("false".to_owned()),
        false => Some(format!("({})", ways.join(" OR "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::merge_of_two;

    /// Returns the view of the second of two sources.
    fn of_second(by_main: bool) -> String {
        let (tables, layouts) = merge_of_two(by_main);
        let each = tables.iter().zip(&layouts).zip(1..);
        let sources: Vec<MergeSource> = each
            .map(|((table, layout), mapping)| MergeSource {
                mapping,
                table: &table.name,
                layout,
            })
            .collect();
        create(&crate::sqlgen::view_names::name(2), &sources, 1)
    }

    #[test]
    fn rows_that_one_source_lacks_come_from_the_next_and_have_no_place() {
        let sql = of_second(false);
        let (own, rest) = sql.split_once("\nUNION ALL\n").expect("two arms");
        assert!(
            own.contains("\"mig:s2\".\"mig:ctid\" AS \"mig:ctid\""),
            "{own}"
        );
        assert!(
            own.contains("LEFT JOIN (SELECT \"prices\".\"price\" AS \"price\""),
            "{own}"
        );
        assert!(
            rest.contains("NULL::pg_catalog.tid AS \"mig:ctid\""),
            "{rest}"
        );
        assert!(
            rest.contains("WHERE NOT EXISTS (SELECT FROM \"public\".\"stocks\""),
            "{rest}"
        );
        assert!(rest.contains("NULL::integer AS \"pieces\""), "{rest}");
    }

    #[test]
    fn where_one_decides_there_are_its_rows_and_no_others() {
        let sql = of_second(true);
        assert!(!sql.contains("UNION"), "{sql}");
        assert!(sql.contains("FROM (SELECT \"prices\".\"price\""), "{sql}");
        let (_, layouts) = merge_of_two(true);
        assert_eq!(has_share(&layouts[0], "t", None), None);
        let share = has_share(&layouts[1], "t", None).expect("a condition");
        assert_eq!(
            share,
            "(pg_catalog.num_nonnulls(t.\"pieces\") OPERATOR(pg_catalog.>) 0)"
        );
    }
}
