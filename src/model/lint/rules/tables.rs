//! Rules for tables that are dropped, rewritten or changed in behaviour.

use crate::ident::Literal;
use crate::model::lint::facts::CascadeFact;
use crate::model::lint::statement::{
    Act, Dropped, LintStatement, TableChange, TableLock, WrittenName,
};
use crate::model::lint::{File, INFO, RuleHit, WARNING};

pub fn check_drop(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Drop {
        what,
        names,
        cascade,
        ..
    } = &s.act
    else {
        return Vec::new();
    };
    let mut hits = Vec::new();
    if let Dropped::Table = what {
        hits.extend(
            names
                .iter()
                .filter(|t| !file.is_new(t))
                .map(|t| drop_finding(file, t)),
        );
    }
    if let Dropped::Schema | Dropped::Database = what {
        hits.push(RuleHit::new(
            WARNING,
            "drop-table",
            "everything in it is gone for good".into(),
        ));
    }
    if *cascade {
        hits.push(cascade_finding(file, *what, names));
    }
    hits
}

fn cascade_finding(file: &File, what: Dropped, names: &[WrittenName]) -> RuleHit {
    /// More tables than these are counted.
    const MOST: usize = 10;
    let is_named = |c: &&CascadeFact| {
        let mut names = names.iter();
        what.holder() == Some(c.kind.as_str())
            && names.any(|n| n.schema == c.schema && n.name == c.name)
    };
    let facts = file.facts.cascades.iter().filter(is_named);
    let tables: Vec<&str> = facts.flat_map(|c| &c.tables).map(String::as_str).collect();
    let general = "CASCADE drops whatever depends on it, and only a NOTICE says what that was; name those things instead";
    if tables.is_empty() {
        return RuleHit::new(WARNING, "cascade", general.into());
    }
    let more = match tables.len().saturating_sub(MOST) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let shown = tables[..tables.len().min(MOST)].join(", ");
    let detail = format!("{general}; here it takes AccessExclusiveLock on {shown}{more}");
    let mut hit = RuleHit::new(WARNING, "cascade", detail);
    hit.lock = Some(TableLock::AccessExclusive);
    hit
}

fn drop_finding(file: &File, table: &WrittenName) -> RuleHit {
    let rows = file.table(table).map_or(String::new(), |t| {
        let parents = match t.referred_by.as_slice() {
            [] => String::new(),
            all => format!(
                ", and is refused while foreign keys of {} refer to it",
                all.join(", ")
            ),
        };
        format!(" ({}{parents})", t.size())
    });
    RuleHit::new(
        WARNING,
        "drop-table",
        format!("its rows are gone for good{rows}; running versions of the application that name it fail with 42P01"),
    )
    .safer(format!(
        "ALTER TABLE {} RENAME TO {}; -- and drop it once nobody needs it, as mig_archive does",
        table.sql(),
        crate::ident::Ident::derive(&[&table.name, "archive"])
    ))
}

pub fn rewritten(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::VacuumFull { tables } => tables.iter().map(|t| rewrite_finding(file, t, "VACUUM FULL")).collect(),
        Act::Cluster { table: Some(t) } => vec![rewrite_finding(file, t, "CLUSTER")],
        Act::Refresh { view, concurrently: false } => vec![
            RuleHit::new(
                file.severity(view),
                "refresh",
                format!("readers of {} wait until its query has ended", view.plain()),
            )
            .safer(format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {}; -- needs a unique index without a condition", view.sql())),
        ],
        Act::AlterTable { table, changes, .. } if !file.is_new(table) => changes
            .iter()
            .filter_map(|c| match c {
                TableChange::Rewrite { what } => Some(rewrite_finding(file, table, what)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn rewrite_finding(file: &File, table: &WrittenName, what: &str) -> RuleHit {
    RuleHit::new(
        file.severity(table),
        "rewrite-table",
        format!("{what} rewrites the whole table; readers and writers wait until it is done ({})", file.work(table, true)),
    )
    .safer(format!(
        "SELECT mig_add_table('migration', {}, 'new_table'); -- a copy beside it that is kept in step; or pg_repack, where only space is to be won",
        Literal(&table.sql())
    ))
}

pub fn partitions(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    match &s.act {
        Act::CreateTable {
            table,
            partition_of: Some(parent),
            ..
        } if !file.is_new(parent) => vec![
            RuleHit::new(
                WARNING,
                "create-partition",
                format!("AccessExclusiveLock on {}: readers and writers of all partitions wait", parent.plain()),
            )
            .safer(format!(
                "CREATE TABLE {0} (LIKE {1} INCLUDING ALL); -- with a CHECK that says what its bounds say, then\nALTER TABLE {1} ATTACH PARTITION {0} FOR VALUES …;",
                table.sql(),
                parent.sql()
            )),
        ],
        Act::AlterTable { table, changes, .. } => changes
            .iter()
            .filter_map(|c| match c {
                TableChange::Attach { partition } if !file.is_new(partition) => Some(RuleHit::new(
                    file.severity(partition),
                    "attach-partition",
                    format!(
                        "all rows of {} are read under AccessExclusiveLock unless a valid CHECK says what the bounds say; so are those of a DEFAULT partition ({})",
                        partition.plain(),
                        file.work(partition, false)
                    ),
                )),
                TableChange::Detach { concurrently: false } => Some(
                    RuleHit::new(
                        WARNING,
                        "detach-partition",
                        format!("AccessExclusiveLock on {}: readers and writers of all partitions wait", table.plain()),
                    )
                    .safer(format!("ALTER TABLE {} DETACH PARTITION … CONCURRENTLY; -- outside a transaction block", table.sql())),
                ),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub fn triggers(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    changes
        .iter()
        .filter_map(|c| match c {
            TableChange::DisableTrigger if !file.is_new(table) => Some(RuleHit::new(
                WARNING,
                "disable-trigger",
                "from now on rows are written without it, those of other sessions as well; a mirror of pg_mig among them would miss them".into(),
            )),
            TableChange::EnableRowSecurity if !file.is_new(table) => Some(RuleHit::new(
                WARNING,
                "row-security",
                "roles other than the owner see no row from the commit on, until there is a policy: create policies before, or in the same transaction".into(),
            )),
            _ => None,
        })
        .collect()
}

pub fn check_lock(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::Lock { tables, mode } = &s.act else {
        return Vec::new();
    };
    let held = tables
        .iter()
        .filter(|t| !file.is_new(t) && *mode >= TableLock::Share);
    held.map(|t| {
        RuleHit::new(
            if *mode == TableLock::AccessExclusive {
                WARNING
            } else {
                INFO
            },
            "lock-table",
            format!(
                "{} on {} wait until the transaction ends",
                mode.blocks(),
                t.plain()
            ),
        )
    })
    .collect()
}
