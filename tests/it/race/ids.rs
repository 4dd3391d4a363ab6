//! Whose ids change: the same races with keys that are kept, drawn anew, and looked up.

use super::matrix::Operation;

/// A source, how it is migrated, and how both sides are compared by hand.
pub struct Ids {
    pub name: &'static str,
    /// Beside `id`, `v` and `filler`.
    columns: &'static str,
    before: &'static str,
    add: &'static str,
    /// Nine rows in two slices of the heap.
    fill: &'static str,
    /// What `src` holds, out of the target.
    back: &'static str,
    /// More differences, as a number.
    more: &'static str,
    /// What else the application may do here.
    pub operations: &'static [Operation],
    /// One case of so many is played, unless there is time for all: it has no divisor in common with what the cases count through, so
    /// that each moment, level and end has its turn.
    pub share: usize,
}

const SHARE: usize = 11;
const SHARE_OF_IDS: usize = 29;
const SHARE_TOGETHER: usize = 61;

/// Keys that are kept, in a table whose rows are written below SQL. The batch visits each row three times: to read it, to
/// check it, and to put it into an index, after that of the key.
pub const BELOW: Ids = Ids {
    name: "below",
    add: "CREATE TABLE dst (id int PRIMARY KEY, v text, filler text, CHECK (public.gate(id))); CREATE INDEX ON dst (v) WHERE public.gate(id); \
          SELECT mig_add_table('race', 'src', 'dst', filter => 'public.gate(id)')",
    ..KEPT
};

/// The same by statements: a column of the target has a default.
pub const BY_SQL: Ids = Ids {
    name: "by SQL",
    add: "CREATE TABLE dst (id int PRIMARY KEY, v text, filler text, aside int DEFAULT 0); \
          SELECT mig_add_table('race', 'src', 'dst', filter => 'public.gate(id)')",
    back: "SELECT id, v, filler FROM dst",
    ..KEPT
};

pub const KEPT: Ids = Ids {
    name: "kept",
    columns: "",
    before: "",
    add: "SELECT mig_add_table('race', 'src', 'dst', filter => 'public.gate(id)')",
    fill: "TRUNCATE src; INSERT INTO src SELECT g * 10, 'old', repeat('-', 1500) FROM generate_series(1, 9) g",
    back: "TABLE dst",
    more: "0",
    operations: &[],
    share: SHARE,
};

pub const DRAWN: Ids = Ids {
    name: "drawn",
    columns: "",
    before: "",
    add: "SELECT mig_add_table('race', 'src', 'dst', id_mode => 'remap', filter => 'public.gate(id)')",
    fill: KEPT.fill,
    back: "SELECT (SELECT old_id FROM mig.m1_map WHERE new_id = d.id), v, filler FROM dst d",
    more: "0",
    operations: &[],
    share: SHARE_OF_IDS,
};

/// The rows themselves keep their keys, and name rows that get new ones. Those come later, so that a batch meets names
/// without an id.
pub const NAMED: Ids = Ids {
    name: "named",
    columns: ", p int DEFAULT 1 REFERENCES par ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE",
    // A target that stands needs no index of ours before the copy.
    before: "CREATE TABLE par (id int PRIMARY KEY, w text); CREATE TABLE dst (id int PRIMARY KEY, v text, filler text, p int)",
    add: "SELECT mig_add_table('race', 'src', 'dst', filter => 'public.gate(id)'); \
          SELECT mig_add_table('race', 'par', 'new_par', id_mode => 'remap')",
    fill: "TRUNCATE src, par; INSERT INTO par SELECT g, 'old' FROM generate_series(1, 9) g; \
           INSERT INTO src SELECT g * 10, 'old', repeat('-', 1500), g FROM generate_series(1, 9) g",
    back: "SELECT id, v, filler, (SELECT old_id FROM mig.m2_map WHERE new_id = d.p) FROM dst d",
    more: "(SELECT count(*) FROM (TABLE par EXCEPT ALL SELECT old_id, w FROM new_par JOIN mig.m2_map ON new_id = id) d) \
           + (SELECT count(*) FROM (SELECT old_id, w FROM new_par LEFT JOIN mig.m2_map ON new_id = id EXCEPT ALL TABLE par) d)",
    operations: &[
        (
            "insert with a new parent",
            "INSERT INTO par VALUES (35, 'new'); INSERT INTO src VALUES (35, 'new', '', 35)",
        ),
        (
            "insert before its parent",
            "SET CONSTRAINTS ALL DEFERRED; INSERT INTO src VALUES (35, 'new', '', 35); INSERT INTO par VALUES (35, 'new')",
        ),
        (
            "another parent",
            "UPDATE src SET p = 9 WHERE id IN (30, 80)",
        ),
        ("no parent", "UPDATE src SET p = NULL WHERE id = 30"),
        ("parent deleted", "DELETE FROM par WHERE id = 3"),
        (
            "parent's key changes",
            "UPDATE par SET id = 35 WHERE id = 3",
        ),
        (
            "parents' keys change hands",
            "UPDATE par SET id = 99 WHERE id = 3; UPDATE par SET id = 3 WHERE id = 4; UPDATE par SET id = 4 WHERE id = 99",
        ),
    ],
    share: SHARE_OF_IDS,
};

/// Rows of another table stand beside them, with the same keys.
pub const UNION: Ids = Ids {
    name: "union",
    before: "CREATE TABLE other (id int PRIMARY KEY, v text)",
    add: "CREATE TABLE dst (kind text, id int, v text, filler text, PRIMARY KEY (kind, id), CHECK (public.gate(id))); \
          CREATE INDEX ON dst (v) WHERE public.gate(id); \
          SELECT mig_add_table('race', 'src', 'dst', columns => '{\"kind\": \"''src''\"}', filter => 'public.gate(id)'); \
          SELECT mig_add_table('race', 'other', 'dst', columns => '{\"kind\": \"''other''\"}')",
    fill: "TRUNCATE src, other; INSERT INTO src SELECT g * 10, 'old', repeat('-', 1500) FROM generate_series(1, 9) g; \
           INSERT INTO other SELECT g * 10, 'other' FROM generate_series(1, 9) g",
    back: "SELECT id, v, filler FROM dst WHERE kind = 'src'",
    more: "(SELECT count(*) FROM (TABLE other EXCEPT ALL SELECT id, v FROM dst WHERE kind = 'other') d) \
           + (SELECT count(*) FROM (SELECT id, v FROM dst WHERE kind = 'other' EXCEPT ALL TABLE other) d)",
    operations: &[
        (
            "the same key in both",
            "INSERT INTO src VALUES (35, 'new'); INSERT INTO other VALUES (35, 'new, too')",
        ),
        (
            "from one to the other",
            "WITH d AS (DELETE FROM src WHERE id = 30 RETURNING id, v) UPDATE other SET v = d.v FROM d WHERE other.id = d.id",
        ),
    ],
    share: SHARE_TOGETHER,
    ..KEPT
};

/// Rows of another table are parts of them: each is there as long as one of the two has it.
pub const MERGED: Ids = Ids {
    name: "merged",
    before: "CREATE TABLE part (id int PRIMARY KEY, w text NOT NULL)",
    add: "CREATE TABLE dst (id int PRIMARY KEY, v text, filler text, w text, CHECK (public.gate(id))); CREATE INDEX ON dst (v) WHERE public.gate(id); \
          SELECT mig_add_table('race', 'src', 'dst', columns => '{\"v\": {\"up\": \"CASE WHEN public.gate(id) THEN v END\", \"down\": \"v\"}}', combine => 'merge'); \
          SELECT mig_add_table('race', 'part', 'dst', combine => 'merge')",
    fill: "TRUNCATE src, part; INSERT INTO src SELECT g * 10, 'old', repeat('-', 1500) FROM generate_series(1, 9) g; \
           INSERT INTO part SELECT g * 10, 'part' FROM generate_series(2, 12, 2) g; INSERT INTO part VALUES (30, 'part')",
    back: "SELECT id, v, filler FROM dst WHERE v IS NOT NULL",
    more: "(SELECT count(*) FROM (TABLE part EXCEPT ALL SELECT id, w FROM dst WHERE w IS NOT NULL) d) \
           + (SELECT count(*) FROM (SELECT id, w FROM dst WHERE w IS NOT NULL EXCEPT ALL TABLE part) d) \
           + (SELECT count(*) FROM dst WHERE v IS NULL AND w IS NULL)",
    operations: &[
        ("part", "UPDATE part SET w = 'changed' WHERE id IN (30, 80)"),
        ("part goes", "DELETE FROM part WHERE id IN (20, 30)"),
        (
            "part comes",
            "INSERT INTO part VALUES (10, 'new'), (50, 'new'), (35, 'alone')",
        ),
        ("parts' key", "UPDATE part SET id = 50 WHERE id = 30"),
        ("all parts go", "TRUNCATE part"),
        (
            "both parts",
            "UPDATE src SET v = 'both' WHERE id = 30; UPDATE part SET w = 'both' WHERE id = 30",
        ),
        (
            "both parts go",
            "DELETE FROM src WHERE id IN (30, 40); DELETE FROM part WHERE id IN (30, 40)",
        ),
        (
            "one part for the other",
            "DELETE FROM src WHERE id = 50; INSERT INTO part VALUES (50, 'in its place')",
        ),
    ],
    share: SHARE_TOGETHER,
    ..KEPT
};

/// A tree: rows get new keys and name each other.
pub const TREE: Ids = Ids {
    name: "tree",
    columns: ", p int REFERENCES src ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE",
    before: "CREATE TABLE dst (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text, filler text, p int)",
    add: "SELECT mig_add_table('race', 'src', 'dst', id_mode => 'remap', filter => 'public.gate(id)')",
    // The first rows name later ones, and one names itself.
    fill: "TRUNCATE src; INSERT INTO src SELECT g * 10, 'old', repeat('-', 1500), CASE g WHEN 5 THEN 50 ELSE 100 - g * 10 END FROM generate_series(1, 9) g",
    back: "SELECT (SELECT old_id FROM mig.m1_map WHERE new_id = d.id), v, filler, (SELECT old_id FROM mig.m1_map WHERE new_id = d.p) FROM dst d",
    more: "0",
    operations: &[
        (
            "insert below a new row",
            "INSERT INTO src VALUES (35, 'new'); INSERT INTO src VALUES (36, 'new', '', 35)",
        ),
        (
            "insert of a circle",
            "SET CONSTRAINTS ALL DEFERRED; INSERT INTO src VALUES (35, 'new', '', 36), (36, 'new', '', 35)",
        ),
        ("hung elsewhere", "UPDATE src SET p = 90 WHERE id = 30"),
    ],
    share: SHARE_OF_IDS,
};

impl Ids {
    /// Everything up to mig_create; `key` is the declaration of the source's primary key.
    pub fn set_up(&self, key: &str) -> String {
        format!(
            "{}; CREATE TABLE src (id int, v text, filler text{}, {key}); {};",
            self.before,
            self.columns,
            include_str!("arena.sql")
        ) + &format!(
            "{}; SELECT mig_create(); \
             CREATE FUNCTION race_fill() RETURNS void LANGUAGE plpgsql AS 'BEGIN {}; END'; \
             CREATE FUNCTION race_differences() RETURNS bigint LANGUAGE sql AS $$ \
             SELECT count(*) + {} FROM ((TABLE src EXCEPT ALL ({3})) UNION ALL (({3}) EXCEPT ALL TABLE src)) d $$",
            self.add,
            self.fill.replace('\'', "''"),
            self.more,
            self.back
        )
    }
}
