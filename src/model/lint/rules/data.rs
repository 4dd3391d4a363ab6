//! Rules for statements that change rows.

use crate::ident::Ident;
use crate::model::lint::statement::{Act, LintStatement};
use crate::model::lint::{File, INFO, RuleHit, WARNING, advise_new_column};

/// A write of all rows in one statement: each row stays locked until the end, and dead rows cannot be vacuumed meanwhile.
pub fn check_whole_table_writes(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let (table, everything, what) = match &s.act {
        Act::Update {
            table, everything, ..
        } => (table, *everything, "update-in-one-statement"),
        Act::Delete { table, everything } => (table, *everything, "delete-in-one-statement"),
        _ => return Vec::new(),
    };
    if file.is_new(table) || !everything && file.is_quick(table) {
        return Vec::new();
    }
    if file.table(table).is_some_and(|t| t.bytes == 0) {
        return Vec::new();
    }
    let which = if everything {
        "all rows"
    } else {
        "all rows that it finds"
    };
    let detail = format!(
        "{which} are one transaction: each stays locked to its end, dead rows pile up, and standbys fall behind ({})",
        file.work(table, true)
    );
    let severity = match (everything, file.is_quick(table)) {
        (_, true) | (false, _) => INFO,
        (true, false) => WARNING,
    };
    vec![
        RuleHit::new(severity, what, detail)
            .safer("-- in batches, each committed: by key or ctid, a thousand rows at a time"),
    ]
}

/// A column copied once, in the file that adds it: later writes of the application to the old column are missing in the copy.
pub fn copied_once(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Update { table, set, .. } = &s.act else {
        return Vec::new();
    };
    let copied = set.iter().filter(|(column, from)| {
        let others = from.iter().any(|f| f != column);
        others && file.has_added(table, column) && !file.is_new(table)
    });
    copied
        .map(|(column, from)| {
            let old = from.iter().find(|f| *f != column).map_or("", String::as_str);
            RuleHit::new(
                WARNING,
                "copied-without-dual-write",
                format!("what is written to {old} after this has read the row never reaches {column}: rows are lost between the copy and the version of the application that writes both"),
            )
            .safer(advise_new_column(
                table,
                &Ident::new(column.as_str()),
                "type",
                "the expression",
                Some((&Ident::new(old), "and the way back")),
            ))
        })
        .collect()
}

pub fn check_truncate(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Truncate { tables, cascade } = &s.act else {
        return Vec::new();
    };
    let mut hits: Vec<RuleHit> = tables
        .iter()
        .filter(|t| !file.is_new(t))
        .map(|t| {
            let rows = file.table(t).map_or(String::new(), |t| format!(" ({})", t.size()));
            RuleHit::new(
                WARNING,
                "truncate",
                format!("all rows of {} are gone for good{rows}, those that a dual write has put there among them; readers and writers wait for it, and it for them", t.plain()),
            )
            .safer("-- to begin a copy again, take the migration back: SELECT * FROM mig_rollback('migration', 'created');")
        })
        .collect();
    if *cascade {
        hits.push(RuleHit::new(
            WARNING,
            "cascade",
            "CASCADE empties each table whose foreign keys refer to it, near or far, and only a NOTICE says which".into(),
        ));
    }
    hits
}
