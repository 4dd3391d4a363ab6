//! Which tables a statement locks, and in which mode. The mode of ALTER TABLE comes from the server (AlterTableGetLockLevel);
//! the others are documented in the manual's chapter on explicit locking and on the pages of the commands.

use super::statement::{
    Act, ColumnDefinition, Constraint, ConstraintRule, Dropped, LintStatement, Renamed,
    TableChange, TableLock, WrittenName,
};

pub fn strongest(s: &LintStatement) -> Option<TableLock> {
    locked_tables(&s.act)
        .into_iter()
        .map(|(_, lock)| lock)
        .max()
}

/// Existing tables that the statement locks, the one it names first.
pub fn locked_tables(act: &Act) -> Vec<(WrittenName, TableLock)> {
    let all = |tables: &[WrittenName], lock: TableLock| {
        tables.iter().map(|t| (t.clone(), lock)).collect()
    };
    let one = |table: &WrittenName, lock: TableLock| vec![(table.clone(), lock)];
    match act {
        Act::CreateTable {
            table: _,
            columns,
            constraints,
            partition_of,
            ..
        } => {
            let parent = partition_of
                .iter()
                .map(|p| (p.clone(), TableLock::AccessExclusive));
            parent.chain(parents(columns, constraints)).collect()
        }
        Act::AlterTable {
            table,
            lock,
            changes,
        } => locks_of_alter(table, *lock, changes),
        Act::CreateIndex {
            table,
            concurrently,
            ..
        } => one(table, weaker_if(*concurrently, TableLock::Share)),
        Act::Reindex {
            table,
            index,
            concurrently,
        } => {
            let lock = weaker_if(*concurrently, TableLock::AccessExclusive);
            table
                .iter()
                .chain(index)
                .map(|t| (t.clone(), lock))
                .collect()
        }
        Act::Drop {
            what: Dropped::Index,
            names,
            concurrently,
            ..
        } => all(names, weaker_if(*concurrently, TableLock::AccessExclusive)),
        Act::Drop {
            what: Dropped::Table | Dropped::View | Dropped::Trigger,
            names,
            ..
        } => all(names, TableLock::AccessExclusive),
        Act::Rename {
            what: Renamed::Table | Renamed::View | Renamed::Column,
            table,
            ..
        }
        | Act::MoveSchema { table } => one(table, TableLock::AccessExclusive),
        Act::Update { table, .. } | Act::Delete { table, .. } | Act::Insert { table, .. } => {
            one(table, TableLock::RowExclusive)
        }
        Act::Truncate { tables, .. } | Act::VacuumFull { tables } => {
            all(tables, TableLock::AccessExclusive)
        }
        Act::Lock { tables, mode } => all(tables, *mode),
        Act::Cluster { table } => all(table.as_slice(), TableLock::AccessExclusive),
        Act::Refresh { view, concurrently } => one(
            view,
            if *concurrently {
                TableLock::Exclusive
            } else {
                TableLock::AccessExclusive
            },
        ),
        Act::CreateTrigger { table } => one(table, TableLock::ShareRowExclusive),
        Act::CreatePolicy { table } => one(table, TableLock::AccessExclusive),
        Act::Select {
            from,
            written,
            locks_rows,
            ..
        } => {
            let read = match locks_rows {
                true => TableLock::RowShare,
                false => TableLock::AccessShare,
            };
            let written = written.iter().map(|t| (t.clone(), TableLock::RowExclusive));
            written
                .chain(from.iter().map(|t| (t.clone(), read)))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn weaker_if(concurrently: bool, lock: TableLock) -> TableLock {
    if concurrently {
        TableLock::ShareUpdateExclusive
    } else {
        lock
    }
}

fn locks_of_alter(
    table: &WrittenName,
    lock: TableLock,
    changes: &[TableChange],
) -> Vec<(WrittenName, TableLock)> {
    let mut all = vec![(table.clone(), lock)];
    for change in changes {
        match change {
            TableChange::AddColumn(column) => {
                all.extend(parents(std::slice::from_ref(column), &[]))
            }
            TableChange::Add(constraint) => {
                all.extend(parents(&[], std::slice::from_ref(constraint)))
            }
            TableChange::Attach { partition } => {
                all.push((partition.clone(), TableLock::AccessExclusive))
            }
            _ => {}
        }
    }
    all
}

/// Tables that new foreign keys refer to.
fn parents(
    columns: &[ColumnDefinition],
    constraints: &[Constraint],
) -> Vec<(WrittenName, TableLock)> {
    let of_columns = columns.iter().flat_map(|c| &c.constraints);
    let parent = |c: &Constraint| match &c.rule {
        ConstraintRule::Foreign { parent, .. } => {
            Some((parent.clone(), TableLock::ShareRowExclusive))
        }
        _ => None,
    };
    of_columns.chain(constraints).filter_map(parent).collect()
}
