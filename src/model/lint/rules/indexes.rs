//! Rules for indexes that are created, dropped or rebuilt.

use crate::ident::{Ident, Literal};
use crate::model::lint::statement::{Act, Dropped, LintStatement};
use crate::model::lint::{File, INFO, RuleHit, WARNING};
use crate::model::scan;

pub fn check_create(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::CreateIndex {
        table,
        name,
        concurrently,
        if_not_exists,
    } = &s.act
    else {
        return Vec::new();
    };
    if file.is_new(table) {
        return Vec::new();
    }
    if !concurrently {
        let detail = format!(
            "writers of {} wait until it is built ({})",
            table.plain(),
            file.work(table, true)
        );
        return vec![
            RuleHit::new(file.severity(table), "create-index", detail).safer(format!(
                "SELECT mig_create_index({}); -- or, outside a transaction block:\n{};",
                Literal(&s.text),
                concurrent(&s.text)
            )),
        ];
    }
    let mut hits = Vec::new();
    if name.is_none() {
        hits.push(RuleHit::new(
            INFO,
            "index-without-a-name",
            "a build that fails leaves an INVALID index behind, and without a name of your own it is hard to tell which".into(),
        ));
    }
    if *if_not_exists {
        let index = name.as_deref().unwrap_or_default();
        hits.push(
            RuleHit::new(
                WARNING,
                "index-if-not-exists",
                format!("a build that failed leaves index {index} behind, INVALID: the next run finds the name taken, says so, and the index is never used"),
            )
            .safer(format!(
                "SELECT mig_create_index({}); -- builds an INVALID one again; or look first:\nSELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid;",
                Literal(&s.text)
            )),
        );
    }
    hits
}

/// Returns the statement with CONCURRENTLY added at the position that the grammar requires.
fn concurrent(text: &str) -> String {
    match scan::split_after_word(text, "index") {
        Some((before, rest)) => format!("{before} CONCURRENTLY{rest}"),
        None => text.to_owned(),
    }
}

pub fn check_drop(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Drop {
        what: Dropped::Index,
        names,
        concurrently: false,
        ..
    } = &s.act
    else {
        return Vec::new();
    };
    names
        .iter()
        .map(|index| {
            let of = file.table(index).and_then(|t| t.index_of.clone());
            let of = of.map_or(String::new(), |t| format!(" of {t}"));
            RuleHit::new(
                WARNING,
                "drop-index",
                format!("AccessExclusiveLock on {} and its table{of}: quick in itself, but it waits for readers of the table, and all others wait behind it", index.plain()),
            )
            .safer(format!("DROP INDEX CONCURRENTLY {}; -- outside a transaction block", index.sql()))
        })
        .collect()
}

pub fn rebuilt(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Reindex {
        table,
        index,
        concurrently: false,
    } = &s.act
    else {
        return Vec::new();
    };
    let Some(what) = table.as_ref().or(index.as_ref()) else {
        return vec![RuleHit::new(
            WARNING,
            "reindex",
            "writers of each table wait while its indexes are built, and readers that would use them, too".into(),
        )];
    };
    let kind = if table.is_some() { "TABLE" } else { "INDEX" };
    let name = match &what.schema {
        Some(_) => what.sql(),
        None => Ident::new(what.name.as_str()).to_string(),
    };
    vec![
        RuleHit::new(
            file.severity(what),
            "reindex",
            format!(
                "writers wait while it is built, and readers that would use it, too ({})",
                file.work(what, true)
            ),
        )
        .safer(format!(
            "REINDEX {kind} CONCURRENTLY {name}; -- outside a transaction block"
        )),
    ]
}
