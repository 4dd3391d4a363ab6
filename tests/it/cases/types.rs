//! Types of columns and of keys. Rows are compared by their text, so 1.0 and 1.00 are two values.

use super::Case;

const fn keyed(name: &'static str, tables: &'static str, writes: &'static [&'static str]) -> Case {
    Case {
        name,
        tables,
        sources: &["src"],
        writes,
    }
}

pub const CASES: [Case; 21] = [
    keyed(
        "nulls come and go",
        "CREATE TABLE src (id int PRIMARY KEY, a text, b int, c jsonb); INSERT INTO src VALUES (1, NULL, 1, NULL), (2, 'x', NULL, '{}'), (3, NULL, NULL, NULL)",
        &[
            "UPDATE src SET a = 'now' WHERE id = 1; UPDATE src SET a = NULL WHERE id = 2",
            "INSERT INTO src VALUES (4, NULL, NULL, NULL)",
        ],
    ),
    keyed(
        "toasted values, changed and unchanged",
        "CREATE TABLE src (id int PRIMARY KEY, big text, also text, n int); ALTER TABLE src ALTER also SET STORAGE EXTERNAL; \
         INSERT INTO src SELECT g, (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 500) i), repeat('e', 9000), g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET n = n + 1",
            "UPDATE src SET big = big || 'more' WHERE id = 2",
            "UPDATE src SET also = NULL WHERE id = 3",
            "UPDATE src SET id = 40 WHERE id = 4",
            "INSERT INTO src SELECT 50, big, also, n FROM src WHERE id = 5",
        ],
    ),
    keyed(
        "generated column",
        "CREATE TABLE src (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED); INSERT INTO src SELECT g, g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET n = 100 WHERE id = 2",
            "INSERT INTO src VALUES (20, 5)",
            "UPDATE src SET id = 30 WHERE id = 3",
        ],
    ),
    keyed(
        "domain, enum, array, composite",
        "CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN app.email AS text CHECK (VALUE LIKE '%@%'); CREATE TYPE app.pair AS (a int, b text); \
         CREATE TABLE src (id int PRIMARY KEY, m app.mood, e app.email, l int[], p app.pair, ps app.pair[], ms app.mood[]); \
         INSERT INTO src SELECT g, 'ok', 'a@b', ARRAY[g, NULL], ROW(g, 'x')::app.pair, ARRAY[ROW(1, NULL)::app.pair], '{sad,ok}' FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET m = 'happy', l = '[0:1]={7,8}', p = NULL WHERE id = 2",
            "UPDATE src SET e = 'c@d', ps = '{}', ms = NULL WHERE id = 3",
            "INSERT INTO src VALUES (20, 'sad', 'x@y', '{{1,2},{3,4}}', ROW(NULL, NULL), NULL, '{}')",
        ],
    ),
    keyed(
        "json, jsonb, xml, point and other shapes",
        "CREATE TABLE src (id int PRIMARY KEY, j json, b jsonb, x xml, p point, c circle, pol polygon, v tsvector, q tsquery, i inet, mac macaddr, bits bit varying, mon money, ly bytea); \
         INSERT INTO src SELECT g, '{\"a\": 1,  \"a\": 2}', '{\"a\": 1}', '<a/>', '(1,2)', '<(1,2),3>', '((0,0),(1,1),(2,0))', 'fat cat', 'fat & cat', '10.0.0.1/8', '08:00:2b:01:02:03', B'101', 12.5, '\\x00ff' FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET j = '{ \"a\" : 1 }', x = '<b>ä</b>', p = '(0,-0)' WHERE id = 2",
            "UPDATE src SET j = NULL, x = NULL, p = NULL, bits = B'' WHERE id = 3",
            "INSERT INTO src (id, j, p) VALUES (20, 'null', '(NaN,1)')",
        ],
    ),
    keyed(
        "numbers that are equal and look different",
        "CREATE TABLE src (id int PRIMARY KEY, n numeric, f float8, r real); INSERT INTO src SELECT g, 1.0, 0, 1.5 FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET n = 1.00 WHERE id = 2",
            "UPDATE src SET f = '-0', n = 'NaN' WHERE id = 3",
            "UPDATE src SET f = 'NaN', r = 'Infinity', n = 1.000000 WHERE id = 4",
        ],
    ),
    keyed(
        "dates, times, intervals, ranges",
        "CREATE TABLE src (id int PRIMARY KEY, t timestamptz, d date, i interval, z timetz, r tstzrange, m int4multirange); INSERT INTO src SELECT g, '2026-01-01 12:00+02', 'infinity', '1 mon -2 days', '12:00+05', '[2026-01-01,)', '{[1,3),[5,9)}' FROM generate_series(1, 9) g",
        &[
            "SET TimeZone = 'Asia/Tokyo'; UPDATE src SET t = '-infinity', i = '30 days', r = 'empty' WHERE id = 2",
            "UPDATE src SET t = '2026-03-29 02:30 Europe/Berlin', d = '4713-01-01 BC' WHERE id = 3",
        ],
    ),
    keyed(
        "characters that pad and columns with odd names",
        "CREATE TABLE src (\"select\" int PRIMARY KEY, \"a \"\"b\" char(8), \"Ünï\" varchar(5), \"char\" \"char\", n name); INSERT INTO src SELECT g, 'x', 'é', 'c', 'n' FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET \"a \"\"b\" = 'x  ' WHERE \"select\" = 2",
            "UPDATE src SET \"Ünï\" = '' WHERE \"select\" = 3",
            "DELETE FROM src WHERE \"select\" = 4",
        ],
    ),
    keyed(
        "columns dropped before the key",
        "CREATE TABLE src (gone int, id int, also_gone text, PRIMARY KEY (id), v text); INSERT INTO src SELECT 0, g, '', 'v' FROM generate_series(1, 9) g; ALTER TABLE src DROP gone; ALTER TABLE src DROP also_gone",
        &[
            "UPDATE src SET v = 'x' WHERE id = 2",
            "UPDATE src SET id = 30 WHERE id = 3",
            "DELETE FROM src WHERE id = 4",
        ],
    ),
    keyed(
        "column added with a default that old rows do not hold",
        "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT g, 'v' FROM generate_series(1, 9) g; ALTER TABLE src ADD flag boolean NOT NULL DEFAULT true; ALTER TABLE src ADD at timestamptz DEFAULT '2026-01-01'",
        &[
            "UPDATE src SET v = 'x' WHERE id = 2",
            "INSERT INTO src VALUES (20, 'n', false)",
        ],
    ),
    keyed(
        "key: uuid",
        "CREATE TABLE src (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int); INSERT INTO src (n) SELECT g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET n = 100 WHERE n = 2",
            "UPDATE src SET id = gen_random_uuid() WHERE n = 3",
            "DELETE FROM src WHERE n = 4",
            "INSERT INTO src (n) VALUES (20)",
        ],
    ),
    keyed(
        "key: text with quotes, commas, braces, backslashes and nothing",
        "CREATE TABLE src (id text PRIMARY KEY, n int); INSERT INTO src SELECT x, 1 FROM unnest(ARRAY['', ' ', ',', '{}', '\"', '''', E'\\\\', 'NULL', 'é', E'\\n', 'plain']) x",
        &[
            "UPDATE src SET n = 2",
            "DELETE FROM src WHERE id IN ('', ','); UPDATE src SET id = id || id WHERE id IN ('{}', '\"', E'\\\\')",
            "INSERT INTO src VALUES ('', 3)",
        ],
    ),
    keyed(
        "key: text in a collation that ignores case",
        "CREATE COLLATION app.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE src (id text COLLATE app.ci PRIMARY KEY, n int); INSERT INTO src VALUES ('Anna', 1), ('BOB', 2), ('carl', 3)",
        &[
            "UPDATE src SET id = 'ANNA' WHERE id = 'anna'",
            "UPDATE src SET n = 5 WHERE id = 'bob'",
            "DELETE FROM src WHERE id = 'CARL'",
            "INSERT INTO src VALUES ('Anna', 9) ON CONFLICT (id) DO UPDATE SET n = 9",
        ],
    ),
    keyed(
        "key: numeric, equal in value and not in image",
        "CREATE TABLE src (id numeric PRIMARY KEY, n int); INSERT INTO src VALUES (1.0, 1), (2.50, 2), (3, 3)",
        &[
            "UPDATE src SET id = 1.000 WHERE id = 1",
            "UPDATE src SET n = 7 WHERE id = 2.5",
            "DELETE FROM src WHERE id = 3.00",
            "INSERT INTO src VALUES (3.000, 8)",
        ],
    ),
    keyed(
        "key: timestamp with time zone",
        "CREATE TABLE src (id timestamptz PRIMARY KEY, n int); INSERT INTO src SELECT '2026-01-01 00:00:00.123456+00'::timestamptz + g * interval '1 h', g FROM generate_series(1, 9) g",
        &[
            "SET TimeZone = 'America/New_York'; SET DateStyle = 'SQL, DMY'; UPDATE src SET n = 0 WHERE n = 2; UPDATE src SET id = id + interval '1 y' WHERE n = 3; DELETE FROM src WHERE n = 4",
        ],
    ),
    keyed(
        "key: float8",
        "CREATE TABLE src (id float8 PRIMARY KEY, n int); INSERT INTO src VALUES (0.1, 1), (1e300, 2), ('NaN', 3), (-0.0, 4), (0.1::float4, 5)",
        &[
            "SET extra_float_digits = -5; UPDATE src SET n = n + 10; DELETE FROM src WHERE id = 'NaN'; UPDATE src SET id = 0.3 WHERE id = 0.1",
        ],
    ),
    keyed(
        "key: enum and domain",
        "CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN app.code AS text CHECK (VALUE <> ''); CREATE TABLE src (m app.mood, c app.code, n int, PRIMARY KEY (m, c)); INSERT INTO src SELECT m, 'c' || g, g FROM unnest(enum_range(NULL::app.mood)) m, generate_series(1, 3) g",
        &[
            "UPDATE src SET m = 'happy', c = 'x' WHERE m = 'sad' AND n = 1",
            "DELETE FROM src WHERE m = 'ok' AND n = 2",
            "UPDATE src SET n = 9 WHERE c = 'c3'",
        ],
    ),
    keyed(
        "key: array, bytea, inet together",
        "CREATE TABLE src (a int[], b bytea, i inet, n int, PRIMARY KEY (a, b, i)); INSERT INTO src SELECT ARRAY[g, NULL], '\\x00'::bytea || g::text::bytea, '10.0.0.1', g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET n = 0 WHERE n = 2",
            "UPDATE src SET a = '{}' WHERE n = 3",
            "UPDATE src SET b = '' WHERE n = 4",
            "DELETE FROM src WHERE n = 5",
        ],
    ),
    keyed(
        "key: composite, in another order than the columns, and nothing else",
        "CREATE TABLE src (b text, a int, PRIMARY KEY (a, b)); INSERT INTO src SELECT 'b' || g, g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET b = 'x' WHERE a = 2",
            "UPDATE src SET a = 30 WHERE a = 3",
            "DELETE FROM src WHERE a = 4",
            "INSERT INTO src VALUES ('b5', 55), ('n', 5)",
        ],
    ),
    keyed(
        "key: range and boolean",
        "CREATE TABLE src (r int4range, ok boolean, n int, PRIMARY KEY (r, ok)); INSERT INTO src SELECT int4range(g, g + 2), g % 2 = 0, g FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET ok = NOT ok WHERE n = 2",
            "UPDATE src SET r = 'empty' WHERE n = 3",
            "DELETE FROM src WHERE n = 4",
        ],
    ),
    keyed(
        "key with INCLUDE, and a table of keys only",
        "CREATE TABLE src (id int, v text, PRIMARY KEY (id) INCLUDE (v)); INSERT INTO src SELECT g, 'v' FROM generate_series(1, 9) g",
        &[
            "UPDATE src SET v = 'x' WHERE id = 2",
            "UPDATE src SET id = 30 WHERE id = 3",
            "DELETE FROM src WHERE id = 4",
        ],
    ),
];
