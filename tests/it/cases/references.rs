//! Foreign keys and unique keys: whatever order of writes the old tables allow, the new ones take.

use super::Case;

/// Five parents and twenty children; the clauses of the reference differ.
macro_rules! parent_and_child {
    ($reference:literal) => {
        concat!(
            "CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (id int PRIMARY KEY, p int ",
            $reference,
            "); INSERT INTO parent SELECT g, 'p' FROM generate_series(1, 5) g; INSERT INTO child SELECT g, g % 5 + 1 FROM generate_series(1, 20) g"
        )
    };
}

const fn family(name: &'static str, tables: &'static str, writes: &'static [&'static str]) -> Case {
    Case {
        name,
        tables,
        sources: &["parent", "child"],
        writes,
    }
}

const fn alone(name: &'static str, tables: &'static str, writes: &'static [&'static str]) -> Case {
    Case {
        name,
        tables,
        sources: &["src"],
        writes,
    }
}

pub const CASES: [Case; 28] = [
    family(
        "ON DELETE CASCADE",
        parent_and_child!("REFERENCES parent ON DELETE CASCADE"),
        &[
            "DELETE FROM parent WHERE id = 2",
            "DO $$ BEGIN DELETE FROM parent WHERE id = 3; INSERT INTO parent VALUES (3, 'again'); INSERT INTO child VALUES (50, 3); END $$",
        ],
    ),
    family(
        "ON UPDATE CASCADE",
        parent_and_child!("NOT NULL REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE"),
        &[
            "UPDATE parent SET id = 102 WHERE id = 2",
            "UPDATE parent SET id = 2 WHERE id = 102",
            "UPDATE parent SET id = id + 1000",
        ],
    ),
    family(
        "ON DELETE SET NULL and ON UPDATE SET NULL",
        parent_and_child!("REFERENCES parent ON DELETE SET NULL ON UPDATE SET NULL"),
        &[
            "DELETE FROM parent WHERE id = 2",
            "UPDATE parent SET id = 103 WHERE id = 3",
        ],
    ),
    family(
        "ON DELETE SET DEFAULT and ON UPDATE SET DEFAULT",
        parent_and_child!(
            "DEFAULT 1 REFERENCES parent ON DELETE SET DEFAULT ON UPDATE SET DEFAULT"
        ),
        &[
            "DELETE FROM parent WHERE id = 2",
            "UPDATE parent SET id = 103 WHERE id = 3",
        ],
    ),
    family(
        "ON DELETE SET NULL of a column that is NOT NULL, with a parent that changes its key",
        parent_and_child!("NOT NULL REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE"),
        &[
            "UPDATE parent SET id = id - 1",
            "UPDATE parent SET id = 102 WHERE id = 2",
            "DELETE FROM child WHERE p = 3",
            "DELETE FROM parent WHERE id = 3",
            "UPDATE parent SET id = 3 WHERE id = 4",
        ],
    ),
    family(
        "ON DELETE SET NULL of one column of two",
        "CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE child (id int PRIMARY KEY, a int NOT NULL, b int, FOREIGN KEY (a, b) REFERENCES parent ON DELETE SET NULL (b)); \
         INSERT INTO parent SELECT 1, g FROM generate_series(1, 5) g; INSERT INTO child SELECT g, 1, g % 5 + 1 FROM generate_series(1, 20) g",
        &["DELETE FROM parent WHERE b = 2"],
    ),
    family(
        "RESTRICT, in the order that it allows",
        "CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE RESTRICT ON UPDATE RESTRICT); \
         INSERT INTO parent SELECT g, 'p' FROM generate_series(1, 5) g; INSERT INTO child SELECT g, g % 4 + 1 FROM generate_series(1, 20) g",
        &[
            "DELETE FROM parent WHERE id = 5",
            "DELETE FROM child WHERE p = 2; DELETE FROM parent WHERE id = 2",
        ],
    ),
    family(
        "deferred key: children first, parents last",
        parent_and_child!("REFERENCES parent DEFERRABLE INITIALLY DEFERRED"),
        &[
            "BEGIN; INSERT INTO child VALUES (50, 9); INSERT INTO parent VALUES (9, 'late'); COMMIT",
            "BEGIN; DELETE FROM parent WHERE id = 2; DELETE FROM child WHERE p = 2; COMMIT",
            "BEGIN; DELETE FROM parent WHERE id = 3; INSERT INTO parent VALUES (3, 'again'); COMMIT",
            "BEGIN; UPDATE parent SET id = 104 WHERE id = 4; UPDATE child SET p = 104 WHERE p = 4; COMMIT",
        ],
    ),
    family(
        "deferred key with ON DELETE CASCADE: the parent's key goes and comes back, and no child is touched",
        parent_and_child!("REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"),
        &[
            "BEGIN; UPDATE parent SET id = 102 WHERE id = 2; UPDATE parent SET id = 2 WHERE id = 102; COMMIT",
        ],
    ),
    family(
        "deferred key with ON DELETE CASCADE: all parents' keys shift and shift back, and no child is touched",
        parent_and_child!("REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"),
        &[
            "BEGIN; UPDATE parent SET id = id - 1; UPDATE parent SET id = id + 100; UPDATE parent SET id = id - 99; COMMIT",
        ],
    ),
    family(
        "SET CONSTRAINTS DEFERRED on a key that is immediate by default",
        parent_and_child!("REFERENCES parent DEFERRABLE"),
        &[
            "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO child VALUES (50, 9); INSERT INTO parent VALUES (9, 'late'); SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM child WHERE id = 50; COMMIT",
        ],
    ),
    family(
        "SET CONSTRAINTS IMMEDIATE in the middle of a transaction",
        parent_and_child!("REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE"),
        &[
            "BEGIN; INSERT INTO parent VALUES (9, 'n'); INSERT INTO child VALUES (50, 9); UPDATE parent SET id = 10 WHERE id = 9; SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM parent WHERE id = 10; UPDATE parent SET id = 102 WHERE id = 2; COMMIT",
        ],
    ),
    family(
        "TRUNCATE CASCADE",
        parent_and_child!("REFERENCES parent"),
        &[
            "TRUNCATE parent CASCADE; INSERT INTO parent VALUES (1, 'after'); INSERT INTO child VALUES (1, 1)",
        ],
    ),
    family(
        "TRUNCATE of both at once",
        parent_and_child!("REFERENCES parent"),
        &["TRUNCATE child, parent"],
    ),
    family(
        "tables that refer to each other",
        "CREATE TABLE parent (id int PRIMARY KEY, favourite int); CREATE TABLE child (id int PRIMARY KEY, p int NOT NULL REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
         ALTER TABLE parent ADD FOREIGN KEY (favourite) REFERENCES child DEFERRABLE INITIALLY DEFERRED; \
         BEGIN; INSERT INTO parent SELECT g, g FROM generate_series(1, 5) g; INSERT INTO child SELECT g, g FROM generate_series(1, 5) g; COMMIT",
        &[
            "BEGIN; INSERT INTO parent VALUES (9, 9); INSERT INTO child VALUES (9, 9); COMMIT",
            "BEGIN; DELETE FROM parent WHERE id = 2; DELETE FROM child WHERE id = 2; COMMIT",
            "UPDATE parent SET favourite = 4 WHERE id = 3",
        ],
    ),
    family(
        "composite reference, MATCH FULL",
        "CREATE TABLE parent (a int, b text, v text, PRIMARY KEY (a, b)); CREATE TABLE child (id int PRIMARY KEY, x int, y text, FOREIGN KEY (x, y) REFERENCES parent MATCH FULL ON DELETE CASCADE ON UPDATE CASCADE); \
         INSERT INTO parent SELECT g, 'b' || g FROM generate_series(1, 5) g; INSERT INTO child SELECT g, g % 5 + 1, 'b' || (g % 5 + 1) FROM generate_series(1, 20) g; INSERT INTO child VALUES (30, NULL, NULL)",
        &[
            "UPDATE parent SET b = 'changed' WHERE a = 2",
            "DELETE FROM parent WHERE a = 3",
            "UPDATE parent SET a = a + 10",
        ],
    ),
    family(
        "reference to another unique key than the primary one",
        "CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE child (id int PRIMARY KEY, code text REFERENCES parent (code) ON UPDATE CASCADE ON DELETE CASCADE); \
         INSERT INTO parent SELECT g, 'c' || g FROM generate_series(1, 5) g; INSERT INTO child SELECT g, 'c' || (g % 5 + 1) FROM generate_series(1, 20) g",
        &[
            "UPDATE parent SET code = 'x' WHERE id = 2",
            "UPDATE parent SET id = 100 WHERE id = 3",
            "DELETE FROM parent WHERE id = 4",
        ],
    ),
    alone(
        "tree in one table, deleted and re-keyed from its root",
        "CREATE TABLE src (id int PRIMARY KEY, up int REFERENCES src ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO src VALUES (1, NULL), (2, 1), (3, 1), (4, 2), (5, 4), (6, NULL), (7, 6)",
        &[
            "UPDATE src SET id = 20 WHERE id = 2",
            "DELETE FROM src WHERE id = 6",
            "INSERT INTO src VALUES (30, 1), (31, 30)",
            "DELETE FROM src WHERE id = 1",
        ],
    ),
    alone(
        "row that refers to itself",
        "CREATE TABLE src (id int PRIMARY KEY, up int REFERENCES src ON UPDATE CASCADE); INSERT INTO src SELECT g, g FROM generate_series(1, 5) g",
        &[
            "UPDATE src SET id = 20 WHERE id = 2",
            "DELETE FROM src WHERE id = 3",
            "INSERT INTO src VALUES (30, 30)",
        ],
    ),
    alone(
        "reference to a table that stays, which cascades into both sides",
        "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE src (id int PRIMARY KEY, u int REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE); \
         INSERT INTO users SELECT g FROM generate_series(1, 5) g; INSERT INTO src SELECT g, g % 5 + 1 FROM generate_series(1, 20) g",
        &[
            "DELETE FROM users WHERE id = 2",
            "UPDATE users SET id = 103 WHERE id = 3",
            "INSERT INTO users VALUES (9); INSERT INTO src VALUES (50, 9)",
        ],
    ),
    alone(
        "reference to a table that stays, SET NULL",
        "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE src (id int PRIMARY KEY, u int REFERENCES users ON DELETE SET NULL ON UPDATE SET NULL); \
         INSERT INTO users SELECT g FROM generate_series(1, 5) g; INSERT INTO src SELECT g, g % 5 + 1 FROM generate_series(1, 20) g",
        &[
            "DELETE FROM users WHERE id = 2",
            "UPDATE users SET id = 103 WHERE id = 3",
        ],
    ),
    alone(
        "unique value handed from row to row",
        "CREATE TABLE src (id int PRIMARY KEY, slug text UNIQUE); INSERT INTO src SELECT g, 's' || g FROM generate_series(1, 9) g",
        &[
            "DO $$ BEGIN UPDATE src SET slug = 'free' WHERE id = 2; UPDATE src SET slug = 's2' WHERE id = 3; END $$",
            "DO $$ BEGIN DELETE FROM src WHERE id = 4; INSERT INTO src VALUES (40, 's4'); END $$",
            "WITH gone AS (DELETE FROM src WHERE id = 5 RETURNING slug) UPDATE src SET slug = 'was ' || gone.slug FROM gone WHERE id = 6",
        ],
    ),
    alone(
        "unique values swapped in one statement over a deferrable key",
        "CREATE TABLE src (id int PRIMARY KEY, slug int UNIQUE DEFERRABLE); INSERT INTO src SELECT g, g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET slug = 10 - slug",
            "UPDATE src SET slug = slug + 1",
        ],
    ),
    alone(
        "unique values double until commit",
        "CREATE TABLE src (id int PRIMARY KEY, slug int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO src SELECT g, g FROM generate_series(1, 9) g",
        &[
            "BEGIN; INSERT INTO src VALUES (20, 3); UPDATE src SET slug = 30 WHERE id = 3; COMMIT",
            "BEGIN; UPDATE src SET slug = 4 WHERE id = 5; DELETE FROM src WHERE id = 4; COMMIT",
        ],
    ),
    alone(
        "partial and expression indexes that are unique",
        "CREATE TABLE src (id int PRIMARY KEY, slug text, gone boolean DEFAULT false); CREATE UNIQUE INDEX ON src (lower(slug)) WHERE NOT gone; INSERT INTO src SELECT g, 'S' || g FROM generate_series(1, 9) g",
        &[
            "DO $$ BEGIN UPDATE src SET gone = true WHERE id = 2; INSERT INTO src VALUES (20, 's2'); END $$",
            "DELETE FROM src WHERE id = 20; UPDATE src SET gone = false WHERE id = 2",
        ],
    ),
    alone(
        "unique key where NULLs are equal",
        "CREATE TABLE src (id int PRIMARY KEY, slug int UNIQUE NULLS NOT DISTINCT); INSERT INTO src VALUES (1, NULL), (2, 2), (3, 3)",
        &[
            "DO $$ BEGIN UPDATE src SET slug = 1 WHERE id = 1; UPDATE src SET slug = NULL WHERE id = 2; END $$",
        ],
    ),
    alone(
        "keys shift while another unique key stays with its row",
        "CREATE TABLE src (id int PRIMARY KEY, slug text UNIQUE); INSERT INTO src SELECT g, 's' || g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET id = id - 1",
            "UPDATE src SET id = id + 100",
            "WITH gone AS (DELETE FROM src WHERE id = 102 RETURNING slug) UPDATE src SET slug = gone.slug FROM gone WHERE id = 104",
        ],
    ),
    alone(
        "exclusion constraint",
        "CREATE TABLE src (id int PRIMARY KEY, span int4range, EXCLUDE USING gist (span WITH &&)); INSERT INTO src SELECT g, int4range(g * 10, g * 10 + 5) FROM generate_series(1, 5) g",
        &[
            "DO $$ BEGIN UPDATE src SET span = 'empty' WHERE id = 2; UPDATE src SET span = int4range(20, 25) WHERE id = 3; END $$",
        ],
    ),
];
