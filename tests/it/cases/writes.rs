//! Statements, transactions and triggers of the application.

use super::Case;

/// The plain table, and what a case adds to it.
macro_rules! plain_and {
    ($more:literal) => {
        concat!(
            "CREATE TABLE src (id int PRIMARY KEY, v text, n int); INSERT INTO src SELECT g, 'v' || g, g FROM generate_series(1, 9) g; ",
            $more
        )
    };
}

const PLAIN: &str = plain_and!("");
const DEFERRABLE: &str = "CREATE TABLE src (id int PRIMARY KEY DEFERRABLE, v text, n int); INSERT INTO src SELECT g, 'v' || g, g FROM generate_series(1, 9) g";

const fn plain(name: &'static str, writes: &'static [&'static str]) -> Case {
    Case {
        name,
        tables: PLAIN,
        sources: &["src"],
        writes,
    }
}

const fn deferrable(name: &'static str, writes: &'static [&'static str]) -> Case {
    Case {
        name,
        tables: DEFERRABLE,
        sources: &["src"],
        writes,
    }
}

/// A trigger of the application's own on the plain table.
const fn triggered(name: &'static str, tables: &'static str) -> Case {
    Case {
        name,
        tables,
        sources: &["src"],
        writes: &[
            "INSERT INTO src VALUES (20, 'new', 0)",
            "UPDATE src SET v = 'changed' WHERE id IN (2, 3)",
            "DELETE FROM src WHERE id = 4",
            "INSERT INTO src VALUES (5, 'x', 0), (21, 'y', 0) ON CONFLICT (id) DO UPDATE SET v = 'upserted'",
            "UPDATE src SET id = id + 30 WHERE id IN (6, 7)",
        ],
    }
}

/// A trigger of the application's that writes among the rows of its own statement, where many rows are mirrored together.
const fn meddling(name: &'static str, tables: &'static str) -> Case {
    Case {
        name,
        tables,
        sources: &["src"],
        writes: &[
            "INSERT INTO src SELECT g, 'new', 0 FROM generate_series(100, 140) g",
            "UPDATE src SET v = v || '!' WHERE id > 2",
            "UPDATE src SET id = id + 200, v = 'moved' WHERE id > 130",
            "DELETE FROM src WHERE id BETWEEN 105 AND 120",
            "INSERT INTO src SELECT g, 'again', 0 FROM generate_series(90, 125) g ON CONFLICT (id) DO UPDATE SET v = 'upserted'",
        ],
    }
}

pub const CASES: [Case; 47] = [
    plain(
        "many rows in one statement",
        &[
            "INSERT INTO src SELECT g, repeat('x', g % 50), g FROM generate_series(100, 2500) g",
            "UPDATE src SET v = v || '!' WHERE id % 3 <> 0",
            "DELETE FROM src WHERE id % 7 = 0",
            "INSERT INTO src SELECT g, 'again', g FROM generate_series(1, 2600) g ON CONFLICT (id) DO UPDATE SET v = excluded.v WHERE src.id % 2 = 0",
            "UPDATE src SET id = -id WHERE id % 5 = 0",
            "DELETE FROM src WHERE id > 40",
        ],
    ),
    plain(
        "many rows, from the last to the first",
        &[
            "INSERT INTO src SELECT g, 'new', g FROM generate_series(100, 400) g",
            "WITH o AS MATERIALIZED (SELECT s.id FROM src s ORDER BY s.id DESC) UPDATE src SET v = 'down' FROM o WHERE src.id = o.id",
            "WITH o AS MATERIALIZED (SELECT s.id FROM src s ORDER BY md5(s.id::text)) UPDATE src SET v = v || 'mixed' FROM o WHERE src.id = o.id",
            "WITH o AS MATERIALIZED (SELECT s.id FROM src s ORDER BY s.id DESC) DELETE FROM src USING o WHERE src.id = o.id AND o.id % 2 = 0",
        ],
    ),
    plain(
        "one command that writes the table in several ways",
        &[
            "INSERT INTO src SELECT g, 'new', g FROM generate_series(100, 300) g",
            "WITH a AS (UPDATE src SET v = 'a' WHERE id < 150 RETURNING id), b AS (DELETE FROM src WHERE id > 250 RETURNING id), \
             c AS (INSERT INTO src SELECT g, 'c', g FROM generate_series(1000, 1100) g RETURNING id) UPDATE src SET id = -id WHERE id BETWEEN 150 AND 200",
            "MERGE INTO src USING generate_series(1000, 1200) x(id) ON src.id = x.id WHEN MATCHED AND src.id % 2 = 0 THEN DELETE \
             WHEN MATCHED THEN UPDATE SET v = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'merged', 0)",
        ],
    ),
    plain(
        "many rows in places that others left",
        &[
            "INSERT INTO src SELECT g, repeat('x', 200), g FROM generate_series(100, 400) g",
            "DELETE FROM src WHERE id % 2 = 0",
            "VACUUM src",
            "INSERT INTO src SELECT g, 'y', g FROM generate_series(500, 700) g",
            "UPDATE src SET v = 'z' || id WHERE id > 90",
        ],
    ),
    plain(
        "many rows and rolled back savepoints",
        &[
            "BEGIN; INSERT INTO src SELECT g, 'new', g FROM generate_series(100, 200) g; SAVEPOINT s; UPDATE src SET v = 'no'; DELETE FROM src; \
             INSERT INTO src SELECT g, 'no', g FROM generate_series(1, 300) g; ROLLBACK TO s; UPDATE src SET v = 'yes' WHERE id > 150; SAVEPOINT t; \
             DELETE FROM src WHERE id > 190; RELEASE t; INSERT INTO src SELECT g, 'last', g FROM generate_series(195, 199) g; COMMIT",
        ],
    ),
    meddling(
        "own AFTER trigger that changes and deletes neighbours",
        plain_and!(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF; \
               UPDATE app.src SET v = v || '~' WHERE id = NEW.id + 3; DELETE FROM app.src WHERE id = NEW.id + 7 AND NEW.id % 5 = 0; RETURN NULL; END $$; \
             CREATE TRIGGER zz_meddle AFTER INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION meddle()"
        ),
    ),
    meddling(
        "own AFTER trigger that sorts first, and moves keys",
        plain_and!(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF; \
               UPDATE app.src SET id = id + 5000 WHERE id = OLD.id + 2 AND NOT EXISTS (SELECT FROM app.src x WHERE x.id = OLD.id + 5002); RETURN NULL; END $$; \
             CREATE TRIGGER \" first\" AFTER UPDATE OR DELETE ON src FOR EACH ROW EXECUTE FUNCTION meddle()"
        ),
    ),
    meddling(
        "own AFTER trigger that writes many rows, and takes half of them back",
        plain_and!(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF pg_trigger_depth() > 1 OR NEW.id % 10 <> 0 OR NEW.id > 200 THEN RETURN NULL; END IF; \
               INSERT INTO app.src SELECT 1000 * NEW.id + g, 'more', 0 FROM generate_series(1, 20) g ON CONFLICT DO NOTHING; \
               BEGIN UPDATE app.src SET v = 'no' WHERE id > 1000 * NEW.id; DELETE FROM app.src WHERE id BETWEEN 103 AND 109; RAISE division_by_zero; \
               EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN NULL; END $$; \
             CREATE TRIGGER zz_meddle AFTER INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION meddle()"
        ),
    ),
    Case {
        name: "many rows that refer to each other",
        tables: "CREATE TABLE src (id int PRIMARY KEY, up int REFERENCES src ON DELETE CASCADE ON UPDATE CASCADE, v text); \
                 INSERT INTO src SELECT g, nullif(g / 2, 0), 'v' FROM generate_series(1, 60) g; CREATE INDEX ON src (up)",
        sources: &["src"],
        writes: &[
            "INSERT INTO src SELECT g, g / 2, 'new' FROM generate_series(61, 400) g",
            "UPDATE src SET v = 'w' || id",
            "UPDATE src SET id = id + 1000 WHERE id BETWEEN 10 AND 20",
            "DELETE FROM src WHERE id IN (3, 1011)",
        ],
    },
    Case {
        name: "many rows and a second unique key whose values go round",
        tables: "CREATE TABLE src (id int PRIMARY KEY, n int UNIQUE DEFERRABLE, v text); INSERT INTO src SELECT g, g, 'v' FROM generate_series(1, 9) g",
        sources: &["src"],
        writes: &[
            "INSERT INTO src SELECT g, g, 'new' FROM generate_series(10, 200) g",
            "UPDATE src SET n = 201 - n",
            "UPDATE src SET n = n % 200 + 1",
            "DELETE FROM src WHERE id > 150",
        ],
    },
    plain(
        "upsert that does nothing",
        &["INSERT INTO src VALUES (3, 'x', 0), (20, 'y', 0) ON CONFLICT DO NOTHING"],
    ),
    plain(
        "upsert that updates",
        &[
            "INSERT INTO src VALUES (3, 'x', 0), (20, 'y', 0) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        ],
    ),
    plain(
        "upsert that updates under a condition",
        &[
            "INSERT INTO src VALUES (3, 'x', 0), (4, 'y', 0) ON CONFLICT (id) DO UPDATE SET v = excluded.v WHERE src.n = 4",
        ],
    ),
    plain(
        "upsert that changes the key",
        &["INSERT INTO src VALUES (3, 'x', 0) ON CONFLICT (id) DO UPDATE SET id = 33"],
    ),
    plain(
        "MERGE with all three actions",
        &[
            "MERGE INTO src USING (VALUES (2), (3), (20)) x(id) ON src.id = x.id WHEN MATCHED AND x.id = 2 THEN DELETE \
         WHEN MATCHED THEN UPDATE SET v = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'merged', 0)",
        ],
    ),
    plain("COPY", &["COPY src (id) FROM PROGRAM 'seq 20 30'"]),
    plain(
        "CTE that deletes what it inserts elsewhere",
        &[
            "WITH gone AS (DELETE FROM src WHERE id < 4 RETURNING *) INSERT INTO src SELECT id + 100, v, n FROM gone",
        ],
    ),
    plain(
        "CTE that updates and deletes",
        &[
            "WITH u AS (UPDATE src SET v = 'cte' WHERE id = 2 RETURNING id), d AS (DELETE FROM src WHERE id = 3) INSERT INTO src SELECT id + 50, 'from', 0 FROM u",
        ],
    ),
    plain(
        "UPDATE with a join",
        &["UPDATE src SET v = x.v FROM (VALUES (2, 'a'), (3, 'b')) x(id, v) WHERE src.id = x.id"],
    ),
    plain(
        "cursor",
        &[
            "DO $$ DECLARE c CURSOR FOR SELECT * FROM src WHERE id < 4 FOR UPDATE; r record; BEGIN OPEN c; LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; \
        IF r.id = 2 THEN DELETE FROM src WHERE CURRENT OF c; ELSE UPDATE src SET v = 'cursor' WHERE CURRENT OF c; END IF; END LOOP; END $$",
        ],
    ),
    plain(
        "view that can be written",
        &[
            "CREATE VIEW w AS SELECT id, v FROM src WHERE id < 5",
            "UPDATE w SET v = 'view'; DELETE FROM w WHERE id = 2; INSERT INTO w VALUES (0, 'view')",
        ],
    ),
    plain(
        "one row many times in a transaction",
        &[
            "DO $$ BEGIN UPDATE src SET v = 'a' WHERE id = 2; DELETE FROM src WHERE id = 2; INSERT INTO src VALUES (2, 'b', 0); UPDATE src SET v = 'c' WHERE id = 2; END $$",
        ],
    ),
    plain(
        "delete and insert of a key",
        &["DO $$ BEGIN DELETE FROM src WHERE id = 2; INSERT INTO src VALUES (2, 'b', 0); END $$"],
    ),
    plain(
        "savepoints",
        &[
            "BEGIN; UPDATE src SET v = 'kept' WHERE id = 2; SAVEPOINT a; UPDATE src SET v = 'lost' WHERE id = 2; DELETE FROM src WHERE id = 3; ROLLBACK TO a; \
        SAVEPOINT b; DELETE FROM src WHERE id = 4; SAVEPOINT c; INSERT INTO src VALUES (4, 'again', 0); ROLLBACK TO c; RELEASE b; COMMIT",
        ],
    ),
    plain(
        "error caught inside a function",
        &[
            "DO $$ BEGIN UPDATE src SET v = 'kept' WHERE id = 2; BEGIN UPDATE src SET v = 'lost' WHERE id = 3; DELETE FROM src WHERE id = 4; INSERT INTO src VALUES (5, 'double', 0); \
        EXCEPTION WHEN unique_violation THEN UPDATE src SET v = 'caught' WHERE id = 5; END; END $$",
        ],
    ),
    plain(
        "rollback",
        &[
            "BEGIN; UPDATE src SET v = 'lost'; DELETE FROM src WHERE id = 2; INSERT INTO src VALUES (20, 'lost', 0); ROLLBACK",
        ],
    ),
    plain(
        "prepared transaction that commits",
        &[
            "BEGIN; UPDATE src SET v = 'prepared' WHERE id = 2; DELETE FROM src WHERE id = 3; PREPARE TRANSACTION 'p'",
            "COMMIT PREPARED 'p'",
        ],
    ),
    plain(
        "prepared transaction that rolls back",
        &[
            "BEGIN; UPDATE src SET v = 'prepared' WHERE id = 2; DELETE FROM src WHERE id = 3; PREPARE TRANSACTION 'p'",
            "ROLLBACK PREPARED 'p'",
        ],
    ),
    plain(
        "replica role, as logical apply and restores have it",
        &[
            "SET session_replication_role = replica; UPDATE src SET v = 'replica' WHERE id = 2; DELETE FROM src WHERE id = 3; INSERT INTO src VALUES (20, 'replica', 0); RESET session_replication_role",
        ],
    ),
    plain(
        "hostile settings",
        &[
            "SET search_path = app, pg_temp, pg_catalog; SET row_security = on; SET DateStyle = 'German'; CREATE TEMP TABLE new_src (id int, v text, n int); UPDATE src SET v = 'hostile' WHERE id = 2; DELETE FROM src WHERE id = 3",
        ],
    ),
    plain(
        "publication of all tables, which asks every table for its identity",
        &[
            "CREATE PUBLICATION everything FOR ALL TABLES",
            "UPDATE src SET v = 'x' WHERE id = 2; DELETE FROM src WHERE id = 3",
            "DROP PUBLICATION everything",
        ],
    ),
    plain("TRUNCATE", &["TRUNCATE src"]),
    plain(
        "TRUNCATE and insert",
        &["TRUNCATE src; INSERT INTO src VALUES (2, 'after', 0)"],
    ),
    plain(
        "keys there and back",
        &[
            "UPDATE src SET id = id + 100",
            "UPDATE src SET id = id - 100",
        ],
    ),
    plain(
        "keys move into each other's place, one by one",
        &[
            "DO $$ BEGIN UPDATE src SET id = 100 WHERE id = 1; UPDATE src SET id = 1 WHERE id = 2; UPDATE src SET id = 2 WHERE id = 100; END $$",
        ],
    ),
    deferrable(
        "keys shift up in one statement",
        &["UPDATE src SET id = id + 1"],
    ),
    deferrable(
        "keys swap in one statement",
        &["UPDATE src SET id = 10 - id"],
    ),
    deferrable(
        "key double until later in the transaction",
        &[
            "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO src VALUES (3, 'second', 0); UPDATE src SET v = 'both' WHERE id = 3; DELETE FROM src WHERE id = 3 AND n = 3; COMMIT",
        ],
    ),
    triggered(
        "own BEFORE trigger that rewrites and vetoes",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN RETURN NULL; END IF; IF NEW.v = 'y' THEN RETURN NULL; END IF; NEW.v := NEW.v || '!'; RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON src FOR EACH ROW EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own BEFORE trigger that sorts first and changes the key",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'changed' THEN NEW.id := NEW.id + 1000; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER \" \" BEFORE INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own AFTER trigger before ours that writes the row again",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE app.src SET n = n + 1 WHERE id = NEW.id AND n < 50; RETURN NULL; END $$; \
         CREATE TRIGGER \" \" AFTER INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own AFTER trigger after ours that writes the row again",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE app.src SET n = n + 1 WHERE id = NEW.id AND n < 50; RETURN NULL; END $$; \
         CREATE TRIGGER zzz AFTER INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own AFTER trigger before ours that deletes the row",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM app.src WHERE id = NEW.id; RETURN NULL; END $$; \
         CREATE TRIGGER \" \" AFTER INSERT OR UPDATE ON src FOR EACH ROW EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own statement trigger with transition tables that writes other rows",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() = 1 THEN UPDATE app.src SET n = -1 WHERE id IN (SELECT id + 1 FROM touched); END IF; RETURN NULL; END $$; \
         CREATE TRIGGER t AFTER UPDATE ON src REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own BEFORE trigger that puts another row at the key that is being left",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 7 THEN INSERT INTO app.src VALUES (6, 'next', 0); END IF; RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE UPDATE ON src FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION app.f()"
        ),
    ),
    triggered(
        "own deferred trigger that writes at commit",
        plain_and!(
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE app.src SET n = n + 1 WHERE id = 9 AND n < 50; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON src DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id <> 9) EXECUTE FUNCTION app.f()"
        ),
    ),
    Case {
        name: "identity and serial keys, drawn and given",
        tables: "CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE TABLE d (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text); CREATE TABLE s (id serial PRIMARY KEY, v text); \
                 INSERT INTO a (v) VALUES ('x'), ('y'), ('z'); INSERT INTO d (v) VALUES ('x'), ('y'), ('z'); INSERT INTO s (v) VALUES ('x'), ('y'), ('z')",
        sources: &["a", "d", "s"],
        writes: &[
            "INSERT INTO a (v) VALUES ('n'); INSERT INTO a OVERRIDING SYSTEM VALUE VALUES (50, 'given'); UPDATE a SET id = DEFAULT WHERE v = 'y'; DELETE FROM a WHERE v = 'x'",
            "INSERT INTO d (v) VALUES ('n'); INSERT INTO d VALUES (50, 'given'); UPDATE d SET id = 60 WHERE v = 'y'",
            "INSERT INTO s (v) VALUES ('n'); UPDATE s SET id = 60 WHERE v = 'y'; DELETE FROM s WHERE v = 'z'",
        ],
    },
];
