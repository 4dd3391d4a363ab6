-- Expressions, renames, columns left out, filters, odd names and types; and a migration without a scope.
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('happy', 'sad');
CREATE DOMAIN app.short AS text CHECK (length(value) < 30);
CREATE TYPE app.pair AS (a int, b text);
CREATE TABLE app."we""ird $$; drop" (
  "select" int, "Key" app.short, doc json, x xml, at point, m app.mood DEFAULT 'sad', n numeric(10, 2), tags text[],
  p app.pair, raw bytea, big text, drop_me text, total int GENERATED ALWAYS AS ("select" * 2) STORED,
  PRIMARY KEY ("Key", "select"));
INSERT INTO app."we""ird $$; drop" ("select", "Key", doc, x, at, n, tags, p, raw, big, drop_me)
  SELECT g, 'k' || g, '{"a": 1}', '<a/>', point(g, g), g / 3.0, ARRAY['a', NULL, 'c'], row(g, 'b')::app.pair, '\xdeadbeef', repeat(md5(g::text), 400), 'x'
  FROM generate_series(1, 300) g;
SELECT mig_define('odd');
SELECT mig_add_table('odd', 'app."we""ird $$; drop"', '"New ""odd"" $$"',
  columns => '{"drop_me": null, "doc2": {"up": "doc::jsonb", "down": "doc2::json"}, "label": "upper(\"Key\") -- loud", "number": "select"}',
  filter => '"select" > 10');
\echo :SQLSTATE
SELECT mig_config() - 'options';
SELECT count(*) FROM mig_create();
\d app."New ""odd"" $$"
SELECT count(*) FROM mig_dual_write();
SELECT mig_backfill() IS NOT NULL AS started;
SELECT mig_wait();
-- Into the filter, out of it, and a key that moves.
UPDATE app."we""ird $$; drop" SET "select" = 5 WHERE "select" = 20;
UPDATE app."we""ird $$; drop" SET "select" = 1005 WHERE "select" = 6;
UPDATE app."we""ird $$; drop" SET "Key" = 'moved', doc = '{"b": 2}' WHERE "select" = 30;
INSERT INTO app."we""ird $$; drop" ("select", "Key") VALUES (2000, NULL);
INSERT INTO app."we""ird $$; drop" ("select", "Key") VALUES (2000, 'nulls everywhere');
DELETE FROM app."we""ird $$; drop" WHERE "select" = 40;
SELECT check_name, source_value, target_value, ok FROM mig_check() WHERE ok IS NOT TRUE OR check_name = 'rows';
SELECT count(*) FROM (SELECT "select", "Key", x::text, at::text, m, n, tags, p, raw, big, total, doc::jsonb, upper("Key") FROM app."we""ird $$; drop" WHERE "select" > 10
  EXCEPT ALL SELECT "select", "Key", x::text, at::text, m, n, tags, p, raw, big, total, doc::jsonb, label FROM app."New ""odd"" $$") d;
-- What the mapping needs cannot be dropped under it; what it does not need can come and go.
\set VERBOSITY terse
ALTER TABLE app."we""ird $$; drop" DROP COLUMN big;
\echo :SQLSTATE
ALTER TABLE app."we""ird $$; drop" ALTER COLUMN n TYPE numeric(12, 3);
\echo :SQLSTATE
\set VERBOSITY default
ALTER TABLE app."we""ird $$; drop" RENAME COLUMN tags TO labels;
ALTER TABLE app."we""ird $$; drop" ADD COLUMN later text;
INSERT INTO app."we""ird $$; drop" ("select", "Key", later) VALUES (3000, 'after DDL', 'x');
SELECT number, label FROM app."New ""odd"" $$" WHERE label = 'AFTER DDL';
SELECT check_name, target_value FROM mig_check() WHERE NOT ok;
SELECT action FROM mig_rollback('odd', 'defined');
SELECT action FROM mig_drop('odd');
-- The whole definition as one document, there and back.
SELECT mig_define('{"migration": "doc", "scope_table": "projects", "scope_value": "00000000-0000-0000-0000-000000000002",
  "options": {"batch_rows": 7},
  "tables": [{"source": "round_metadata", "target": "o_rounds"},
             {"source": "submissions", "target": "o_submissions", "unique_keys": [["user_id", "round_id"]], "refs": {"user_id": "sign_ups"},
              "columns": {"host": "split_part(url, ''/'', 3)"}, "filter": "url IS NOT NULL"}]}');
SELECT mig_config();
CREATE TEMP TABLE kept AS SELECT mig_config() AS config;
SELECT action FROM mig_drop('doc');
SELECT mig_define(config) FROM kept;
SELECT mig_config() = config AS same FROM kept;
SELECT mig_configure('doc', '{"batch_rows": null, "delay_ms": 1}');
SELECT action FROM mig_drop('doc');
-- What another session would answer otherwise is taken, with a warning.
SELECT mig_define('stable');
SELECT mig_add_table('stable', 'round_metadata', 'r2', columns => '{"opens_on": "opens_at::date", "utc_day": "(opens_at AT TIME ZONE ''UTC'')::date"}', filter => 'opens_at < now()');
SELECT severity, detail, hint FROM mig_preflight() WHERE check_name = 'expression not immutable';
SELECT action FROM mig_drop('stable');
DROP SCHEMA app CASCADE;
-- The way back, for writes that will begin on the new side: by name, by rename, by "down"; said before it is needed.
CREATE TABLE people (id int PRIMARY KEY, first text NOT NULL, last text NOT NULL, born text, note text, secret text DEFAULT 'x' NOT NULL);
SELECT mig_define('people');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"name": "first || '' '' || last", "first": null, "last": null, "secret": null}');
SELECT severity, detail, hint FROM mig_preflight('people') WHERE check_name = 'no way back';
SELECT mig_drop('people');
SELECT mig_define('people');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"day": {"up": "born::date", "down": "day::text"}, "born": null, "note": {"up": "upper(note)", "down": "lower(note)"}}');
SELECT count(*) FROM mig_preflight('people') WHERE check_name = 'no way back';
SELECT mig_drop('people');
SELECT mig_define('people');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"name": {"up": "first || last", "down": "name"}, "first": null, "last": null}');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"day": {"up": "born::date", "down": "dy::text"}, "born": null}');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"day": {"up": "born::date", "down": 7}, "born": null}');
SELECT mig_add_table('people', 'people', 'persons', columns => '{"day": {"up": "born::date", "down": "(SELECT 1)::text"}, "born": null}');
SELECT mig_drop('people');
DROP TABLE people;
