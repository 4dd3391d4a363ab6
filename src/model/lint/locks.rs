//! Which tables a statement locks, and how. ALTER TABLE's is asked of the server (AlterTableGetLockLevel); the rest is in the
//! manual's chapter on explicit locking and in the pages of the commands.

use super::statement::{
    Act, Change, Column, Constraint, Dropped, Lock, Renamed, Rule, Statement, Written,
};

pub fn strongest(s: &Statement) -> Option<Lock> {
    locked_tables(&s.act)
        .into_iter()
        .map(|(_, lock)| lock)
        .max()
}

/// Existing tables that the statement locks, the one that it names first.
pub fn locked_tables(act: &Act) -> Vec<(Written, Lock)> {
    let all = |tables: &[Written], lock: Lock| tables.iter().map(|t| (t.clone(), lock)).collect();
    let one = |table: &Written, lock: Lock| vec![(table.clone(), lock)];
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
                .map(|p| (p.clone(), Lock::AccessExclusive));
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
        } => one(table, weaker_if(*concurrently, Lock::Share)),
        Act::Reindex {
            table,
            index,
            concurrently,
        } => {
            let lock = weaker_if(*concurrently, Lock::AccessExclusive);
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
        } => all(names, weaker_if(*concurrently, Lock::AccessExclusive)),
        Act::Drop {
            what: Dropped::Table | Dropped::View | Dropped::Trigger,
            names,
            ..
        } => all(names, Lock::AccessExclusive),
        Act::Rename {
            what: Renamed::Table | Renamed::View | Renamed::Column,
            table,
            ..
        }
        | Act::MoveSchema { table } => one(table, Lock::AccessExclusive),
        Act::Update { table, .. } | Act::Delete { table, .. } | Act::Insert { table, .. } => {
            one(table, Lock::RowExclusive)
        }
        Act::Truncate { tables, .. } | Act::VacuumFull { tables } => {
            all(tables, Lock::AccessExclusive)
        }
        Act::Lock { tables, mode } => all(tables, *mode),
        Act::Cluster { table } => all(table.as_slice(), Lock::AccessExclusive),
        Act::Refresh { view, concurrently } => one(
            view,
            if *concurrently {
                Lock::Exclusive
            } else {
                Lock::AccessExclusive
            },
        ),
        Act::CreateTrigger { table } => one(table, Lock::ShareRowExclusive),
        Act::CreatePolicy { table } => one(table, Lock::AccessExclusive),
        Act::Select { from, .. } => all(from, Lock::AccessShare),
        _ => Vec::new(),
    }
}

fn weaker_if(concurrently: bool, lock: Lock) -> Lock {
    if concurrently {
        Lock::ShareUpdateExclusive
    } else {
        lock
    }
}

fn locks_of_alter(table: &Written, lock: Lock, changes: &[Change]) -> Vec<(Written, Lock)> {
    let mut all = vec![(table.clone(), lock)];
    for change in changes {
        match change {
            Change::AddColumn(column) => all.extend(parents(std::slice::from_ref(column), &[])),
            Change::Add(constraint) => all.extend(parents(&[], std::slice::from_ref(constraint))),
            Change::Attach { partition } => all.push((partition.clone(), Lock::AccessExclusive)),
            _ => {}
        }
    }
    all
}

/// Tables that new foreign keys refer to.
fn parents(columns: &[Column], constraints: &[Constraint]) -> Vec<(Written, Lock)> {
    let of_columns = columns.iter().flat_map(|c| &c.constraints);
    let parent = |c: &Constraint| match &c.rule {
        Rule::Foreign { parent, .. } => Some((parent.clone(), Lock::ShareRowExclusive)),
        _ => None,
    };
    of_columns.chain(constraints).filter_map(parent).collect()
}
