//! The changes, and how a migration takes them.

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Nothing is named, and every step passes.
    GoesOn,
    /// As `GoesOn` until the backfill begins, which takes it over; named later.
    TakenOver,
    /// Named from then on, until the new table has the like; nothing fails.
    Named,
    /// As `Named`, but steps end in an error until it is undone.
    Stops,
    /// The migration has failed: what is left is the way out.
    Failed,
}

pub struct Change {
    pub what: &'static str,
    pub end: End,
    pub sql: &'static str,
    /// What the application says otherwise afterwards.
    pub renames: &'static [(&'static str, &'static str)],
}

impl Change {
    pub fn adapt(&self, sql: &str) -> String {
        let renames = self.renames.iter();
        renames.fold(sql.to_owned(), |sql, (from, to)| sql.replace(from, to))
    }
}

const fn change(what: &'static str, end: End, sql: &'static str) -> Change {
    Change {
        what,
        end,
        sql,
        renames: &[],
    }
}

const fn renaming(
    what: &'static str,
    end: End,
    sql: &'static str,
    renames: &'static [(&'static str, &'static str)],
) -> Change {
    Change {
        what,
        end,
        sql,
        renames,
    }
}

use End::{Failed, GoesOn, Named, Stops, TakenOver};

pub const CHANGES: &[Change] = &[
    change(
        "a check comes",
        Named,
        "ALTER TABLE t ADD CONSTRAINT low CHECK (u < 998 OR u > 999)",
    ),
    change("a check goes", Named, "ALTER TABLE t DROP CONSTRAINT t_v"),
    change(
        "a key comes",
        TakenOver,
        "ALTER TABLE t ADD CONSTRAINT t_u FOREIGN KEY (u) REFERENCES other NOT VALID",
    ),
    change(
        "a key goes",
        TakenOver,
        "ALTER TABLE t DROP CONSTRAINT t_other",
    ),
    change(
        "a key between moved tables goes",
        TakenOver,
        "ALTER TABLE t DROP CONSTRAINT t_par",
    ),
    change(
        "a key to it comes",
        Named,
        "ALTER TABLE stays ADD CONSTRAINT stays_t FOREIGN KEY (t) REFERENCES t ON DELETE CASCADE",
    ),
    change(
        "a unique index comes",
        TakenOver,
        "CREATE UNIQUE INDEX t_u ON t(u)",
    ),
    change("an index comes", GoesOn, "CREATE INDEX t_s ON t(s)"),
    change("an index goes", GoesOn, "DROP INDEX t_norm"),
    change(
        "a default changes",
        Named,
        "ALTER TABLE t ALTER n SET DEFAULT 5",
    ),
    change(
        "a default of the key changes",
        Named,
        "ALTER TABLE t ALTER id SET DEFAULT 10000 + nextval('t_id_seq')",
    ),
    change(
        "NOT NULL comes",
        Failed,
        "ALTER TABLE t ALTER p SET NOT NULL",
    ),
    change(
        "a trigger comes",
        Named,
        "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
    ),
    change(
        "a trigger of the new table comes",
        GoesOn,
        "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t_new FOR EACH ROW EXECUTE FUNCTION touch()",
    ),
    change(
        "what a key refers to is renamed",
        GoesOn,
        "ALTER TABLE other RENAME TO other_two",
    ),
    change(
        "a column that a key refers to is renamed",
        GoesOn,
        "ALTER TABLE other RENAME id TO key",
    ),
    change(
        "what a key refers to gets another schema",
        GoesOn,
        "DROP SCHEMA IF EXISTS elsewhere CASCADE; CREATE SCHEMA elsewhere; ALTER TABLE other SET SCHEMA elsewhere",
    ),
    change(
        "what a key refers to is dropped",
        GoesOn,
        "DROP TABLE other CASCADE",
    ),
    change(
        "the scope's table is renamed",
        GoesOn,
        "ALTER TABLE projects RENAME TO projects_two",
    ),
    change(
        "the scope's key is renamed",
        GoesOn,
        "ALTER TABLE projects RENAME id TO project",
    ),
    renaming(
        "an old table is renamed",
        GoesOn,
        "ALTER TABLE par RENAME TO par_two",
        &[(" par ", " par_two ")],
    ),
    renaming(
        "a new table is renamed",
        GoesOn,
        "ALTER TABLE t_new RENAME TO t_newer",
        &[("t_new", "t_newer")],
    ),
    renaming(
        "a new table that a key refers to is renamed",
        GoesOn,
        "ALTER TABLE par_new RENAME TO par_newer",
        &[("par_new", "par_newer")],
    ),
    renaming(
        "a column of the new table is renamed",
        Failed,
        "ALTER TABLE t_new RENAME s TO s_two",
        &[
            ("(7, 101, 1, 'x', 'y', 'y')", "(7, 101, 1, 'x', 'y', 'y')"),
            (
                "INTO t_new(project_id, p, o, s,",
                "INTO t_new(project_id, p, o, s_two,",
            ),
        ],
    ),
    change(
        "a type is renamed",
        GoesOn,
        "ALTER TYPE mood RENAME TO feeling",
    ),
    change(
        "a value of a type comes",
        GoesOn,
        "ALTER TYPE mood ADD VALUE 'c'",
    ),
    change(
        "a value of a type is renamed",
        GoesOn,
        "ALTER TYPE mood RENAME VALUE 'a' TO 'aa'",
    ),
    change(
        "a check of a domain comes",
        GoesOn,
        "ALTER DOMAIN short ADD CHECK (VALUE <> 'never')",
    ),
    change(
        "a function of an expression is renamed",
        Stops,
        "ALTER FUNCTION norm(text) RENAME TO norm_two",
    ),
    change(
        "a function of an expression is dropped",
        Failed,
        "DROP FUNCTION norm(text) CASCADE",
    ),
    change(
        "a collation is renamed",
        GoesOn,
        "ALTER COLLATION plain RENAME TO plainer",
    ),
    change(
        "a sequence is renamed",
        GoesOn,
        "ALTER SEQUENCE t_id_seq RENAME TO t_seq_two",
    ),
    change(
        "a constraint is renamed",
        GoesOn,
        "ALTER TABLE t RENAME CONSTRAINT t_other TO t_other_two",
    ),
    change(
        "an index is renamed",
        GoesOn,
        "ALTER INDEX t_norm RENAME TO t_norm_two",
    ),
    change(
        "the key's index is renamed",
        GoesOn,
        "ALTER INDEX t_pkey RENAME TO t_pk",
    ),
    renaming(
        "a column of the old table is renamed",
        Failed,
        "ALTER TABLE t RENAME s TO s_two",
        &[("INTO t(p, o, s,", "INTO t(p, o, s_two,")],
    ),
    change(
        "a column comes",
        Failed,
        "ALTER TABLE t ADD extra text DEFAULT 'e'",
    ),
    change(
        "row-level security comes",
        Named,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    ),
    change(
        "a table is not logged any more",
        GoesOn,
        "ALTER TABLE t SET UNLOGGED",
    ),
    change(
        "storage changes",
        GoesOn,
        "ALTER TABLE t ALTER v SET STORAGE EXTERNAL; ALTER TABLE t SET (fillfactor = 70)",
    ),
    change(
        "a table is written in another order",
        GoesOn,
        "CLUSTER t USING t_pkey",
    ),
    change(
        "a rule comes",
        Named,
        "CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x",
    ),
    change("a child comes", Failed, "CREATE TABLE kid() INHERITS (t)"),
];
