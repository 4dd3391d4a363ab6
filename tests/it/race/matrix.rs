//! The matrix: what the application does, when, at which isolation level, and how it ends.

use std::fmt;

/// Name and statements.
pub type Operation = (&'static str, &'static str);

/// What the application does in its transaction. Rows 10 to 50 stand in the first slice of the heap, 60 to 90 in
/// the second.
pub const OPERATIONS: [Operation; 23] = [
    ("insert", "INSERT INTO src VALUES (35, 'new')"),
    ("update", "UPDATE src SET v = 'updated' WHERE id = 30"),
    ("update all", "UPDATE src SET v = 'updated'"),
    ("delete", "DELETE FROM src WHERE id = 30"),
    ("key change", "UPDATE src SET id = 35 WHERE id = 30"),
    (
        "key to a later slice",
        "UPDATE src SET id = 95, v = repeat('x', 1500) WHERE id = 30",
    ),
    (
        "key from a later slice",
        "UPDATE src SET id = 35, v = 'moved' WHERE id = 80",
    ),
    (
        "key takes another's place",
        "DELETE FROM src WHERE id = 20; UPDATE src SET id = 20 WHERE id = 30",
    ),
    ("key shift down", "UPDATE src SET id = id - 10"),
    (
        "delete and insert",
        "DELETE FROM src WHERE id = 30; INSERT INTO src VALUES (30, 'again')",
    ),
    (
        "upsert",
        "INSERT INTO src VALUES (30, 'upserted'), (35, 'new') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    ),
    (
        "merge",
        "MERGE INTO src USING (VALUES (30), (35)) x(id) ON src.id = x.id WHEN MATCHED THEN UPDATE SET v = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'merged')",
    ),
    (
        "merge delete",
        "MERGE INTO src USING (VALUES (30)) x(id) ON src.id = x.id WHEN MATCHED THEN DELETE",
    ),
    ("truncate", "TRUNCATE src"),
    (
        "truncate and insert",
        "TRUNCATE src; INSERT INTO src VALUES (30, 'after')",
    ),
    (
        "savepoint update rolled back",
        "SAVEPOINT s; UPDATE src SET v = 'no' WHERE id = 30; ROLLBACK TO s",
    ),
    (
        "savepoint delete rolled back",
        "SAVEPOINT s; DELETE FROM src WHERE id = 30; ROLLBACK TO s",
    ),
    (
        "savepoint delete released",
        "SAVEPOINT s; DELETE FROM src WHERE id = 30; RELEASE s",
    ),
    // Rows of these are mirrored together, from the third on.
    (
        "insert many",
        "INSERT INTO src SELECT 10 * g + 5, 'new' FROM generate_series(0, 9) g",
    ),
    ("delete all", "DELETE FROM src"),
    (
        "delete and insert all",
        "DELETE FROM src; INSERT INTO src SELECT 10 * g, 'again' FROM generate_series(1, 9) g",
    ),
    (
        "upsert many",
        "INSERT INTO src SELECT 5 * g, 'upserted' FROM generate_series(1, 19) g ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    ),
    (
        "lock only",
        "SELECT id FROM src WHERE id IN (30, 40) FOR UPDATE",
    ),
];

/// What only a key that is checked late allows; an upsert cannot name such a key.
pub const OPERATIONS_ON_A_DEFERRABLE_KEY: [Operation; 4] = [
    ("key shift up", "UPDATE src SET id = id + 10"),
    (
        "keys swap",
        "UPDATE src SET id = 70 - id WHERE id IN (30, 40)",
    ),
    (
        "key double for a while",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO src VALUES (30, 'second'); DELETE FROM src WHERE v = 'old' AND id = 30",
    ),
    ("delete", "DELETE FROM src WHERE id = 30"),
];

/// When the application's statements run, seen from the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// Its transaction ends before the batch begins.
    Before,
    /// In flight while the whole batch runs and commits.
    Around,
    /// While the batch stands still before its n-th visit of a row. Visits 1 to 5 lock the slice's five rows,
    /// 6 to 10 read them for the copy, 11 to 15 look for leftovers. `ends`: the application's transaction ends
    /// while the batch still stands, if it can.
    Visit { n: u32, ends: bool },
    /// After the batch inserted, before it commits.
    Uncommitted,
    /// As before, but the batch is rolled back and done again.
    RolledBack,
    /// After the batch has committed.
    After,
}

/// Nothing locked; some locked; all locked and the copy's snapshot taken; some read; all inserted; nearly done.
pub const MOMENTS: [Moment; 17] = [
    Moment::Before,
    Moment::Around,
    Moment::Visit { n: 1, ends: false },
    Moment::Visit { n: 1, ends: true },
    Moment::Visit { n: 3, ends: false },
    Moment::Visit { n: 3, ends: true },
    Moment::Visit { n: 6, ends: false },
    Moment::Visit { n: 6, ends: true },
    Moment::Visit { n: 8, ends: false },
    Moment::Visit { n: 8, ends: true },
    Moment::Visit { n: 11, ends: false },
    Moment::Visit { n: 11, ends: true },
    Moment::Visit { n: 15, ends: false },
    Moment::Visit { n: 15, ends: true },
    Moment::Uncommitted,
    Moment::RolledBack,
    Moment::After,
];

pub const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
pub const ENDS: [&str; 2] = ["COMMIT", "ROLLBACK"];

#[derive(Clone, Copy)]
pub struct Case {
    pub operation: Operation,
    pub moment: Moment,
    pub level: &'static str,
    pub end: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{} at {:?}, {}, {}",
            self.operation.0, self.moment, self.level, self.end
        )
    }
}

/// Every operation at every moment, level and end.
pub fn all(operations: &[Operation]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &operation in operations {
        for moment in MOMENTS {
            for level in LEVELS {
                cases.extend(ENDS.map(|end| Case {
                    operation,
                    moment,
                    level,
                    end,
                }));
            }
        }
    }
    cases
}
