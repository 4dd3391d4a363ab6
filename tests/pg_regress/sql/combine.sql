-- Several old tables become one: rows side by side (union), or rows of one key in one row (merge).
SET client_min_messages = warning;
-- Numbers of mappings start at 1.
DROP EXTENSION IF EXISTS pg_mig CASCADE;
CREATE EXTENSION pg_mig;
DROP SCHEMA IF EXISTS together CASCADE;
CREATE SCHEMA together;
SET search_path = together, public;
DROP ROLE IF EXISTS together_reader;
CREATE ROLE together_reader;
RESET client_min_messages;
CREATE TABLE projects (id uuid PRIMARY KEY, slug text);
INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001', 'one'), ('00000000-0000-0000-0000-000000000002', 'two');
CREATE TABLE settings (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, title text NOT NULL DEFAULT 'none' CHECK (title <> ''));
CREATE TABLE event_settings (event_id int PRIMARY KEY REFERENCES settings ON DELETE CASCADE, theme text NOT NULL, guests int CHECK (guests > 0));
CREATE TABLE mails (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), address text NOT NULL UNIQUE, body text, CHECK (body <> 'spam'));
CREATE TABLE letters (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), address text NOT NULL, stamp numeric(6,2) NOT NULL DEFAULT 0.85);
CREATE TABLE requests (id bigserial PRIMARY KEY, song text NOT NULL);
CREATE TABLE notices (id bigserial PRIMARY KEY, body text NOT NULL, song int);
INSERT INTO settings (slug) SELECT 'event' || g FROM generate_series(1, 4) g;
INSERT INTO event_settings VALUES (1, 'dark', 10), (2, 'light', NULL);
INSERT INTO mails (id, address, body) SELECT ('00000000-0000-0000-0000-00000000010' || g)::uuid, 'm' || g, 'hello' FROM generate_series(1, 3) g;
INSERT INTO letters (id, address) SELECT ('00000000-0000-0000-0000-00000000020' || g)::uuid, 'm1' FROM generate_series(1, 2) g;
SELECT setval('settings_id_seq', 100);
INSERT INTO requests (song) SELECT 'song' || g FROM generate_series(1, 3) g;
INSERT INTO notices (body) SELECT 'body' || g FROM generate_series(1, 2) g;

-- What cannot be.
SELECT mig_define('odd');
SELECT mig_add_table('odd', 'requests', 'activity', columns => '{"kind": "''request''"}');
SELECT mig_add_table('odd', 'notices', 'activity');
\echo :SQLSTATE
SELECT mig_add_table('odd', 'notices', 'activity', combine => 'mix');
\echo :SQLSTATE
SELECT mig_add_table('odd', 'notices', 'activity', combine => 'union');
\echo :SQLSTATE
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"kind": "''request''"}', combine => 'union');
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"kind": "''notice''"}', id_mode => 'remap');
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"kind": "''notice''", "song": null}');
SELECT mig_add_table('odd', 'mails', 'activity', columns => '{"kind": "''mail''"}');
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"song": null}', combine => 'merge', id_mode => 'remap');
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"song": "song::text"}', combine => 'merge');
SELECT mig_add_table('odd', 'notices', 'activity', columns => '{"song": null}', combine => 'merge', filter => 'body <> ''x''');
SELECT mig_add_table('odd', 'letters', 'activity', combine => 'merge');
SELECT mig_drop('odd');

-- Side by side, each kind with its own rules, in a table that other projects share.
ALTER TABLE mails ENABLE ROW LEVEL SECURITY;
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON mails FOR SELECT TO together_reader USING (address <> 'secret');
CREATE POLICY readers ON letters FOR SELECT TO together_reader USING (stamp > 0);
GRANT SELECT ON mails TO together_reader;
SELECT mig_define('post', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('post', 'mails', 'messages', columns => '{"kind": "''mail''"}');
SELECT mig_add_table('post', 'letters', 'messages', columns => '{"kind": "''letter''"}');
SELECT severity, check_name, relation, detail, hint FROM mig_preflight('post') WHERE severity = 'error';
SELECT mig_create('post');
SET client_min_messages = error;
CREATE PUBLICATION both_of_them FOR TABLE mails, letters;
CREATE PUBLICATION one_of_them FOR TABLE letters;
RESET client_min_messages;
SELECT check_name, relation, detail, hint FROM mig_preflight('post') WHERE check_name = 'publication';
GRANT SELECT ON letters TO together_reader;
SELECT * FROM mig_create('post');
SELECT pubname FROM pg_publication_tables WHERE tablename = 'messages';
\d messages
SELECT * FROM mig_dual_write('post');
SELECT mig_step('post') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('post') > 0 LOOP END LOOP; END $$;
\d messages
UPDATE letters SET stamp = 1.2 WHERE id::text LIKE '%1';
INSERT INTO mails (address) VALUES ('m9');
DELETE FROM mails WHERE address = 'm2';
SELECT kind, address, body, stamp FROM messages ORDER BY 1, 2, 4;
SELECT check_name, source, source_value, target_value, ok FROM mig_check('post') WHERE ok IS NOT TRUE OR check_name ~ '^rows' ORDER BY 2, 1;
SELECT * FROM mig_switch('post');
INSERT INTO messages (project_id, kind, address, stamp) VALUES ('00000000-0000-0000-0000-000000000001', 'letter', 'new', 2);
INSERT INTO messages VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000301', 'nobody', NULL, 'pigeon');
\echo :SQLSTATE
UPDATE messages SET kind = 'mail', stamp = NULL, body = 'was a letter' WHERE address = 'new';
SELECT address, body FROM mails ORDER BY 1;
SELECT address, stamp FROM letters ORDER BY 1, 2;
INSERT INTO messages (project_id, kind, address) VALUES ('00000000-0000-0000-0000-000000000002', 'mail', 'of another project');
TRUNCATE messages;
DELETE FROM messages WHERE address = 'of another project';
SELECT mig_assert('post');
SELECT count(*) FROM mig_stop('post');
INSERT INTO messages (project_id, kind, address) VALUES ('00000000-0000-0000-0000-000000000001', 'mail', 'after');
SELECT count(*) FROM mig_archive('post', compat_views => true, force => true);
SELECT address FROM mails ORDER BY 1;
SELECT count(*) FROM letters;
SELECT count(*) FROM mig_rollback('post', 'switched');
DO $$ BEGIN WHILE mig_step('post') > 0 LOOP END LOOP; END $$;
SELECT phase, state FROM mig_status('post');
TRUNCATE messages;
SELECT (SELECT count(*) FROM mails) AS mails, (SELECT count(*) FROM letters) AS letters;
SELECT count(*) FROM mig_rollback('post', 'defined');
SELECT to_regclass('messages') IS NULL AS gone;
SELECT mig_drop('post');

-- New ids, and a definition that comes back as it was.
SELECT mig_define('news');
SELECT mig_add_table('news', 'requests', 'activity', columns => '{"kind": "''request''"}');
SELECT mig_add_table('news', 'notices', 'activity', columns => '{"kind": "''notice''", "about": "song", "song": null}', id_mode => 'remap');
CREATE TEMP TABLE kept AS SELECT mig_config('news') AS config;
SELECT mig_drop('news');
SELECT mig_define(config) FROM kept;
SELECT mig_config('news') = config AS same FROM kept;
SELECT statement FROM mig_ddl('news') AS statement \gexec
SELECT * FROM mig_create('news');
SELECT count(*) FROM mig_dual_write('news');
SELECT mig_step('news') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('news') > 0 LOOP END LOOP; END $$;
SELECT id, kind, song, body FROM activity ORDER BY 1;
SELECT mig_map('news', 'notices', '2');
UPDATE notices SET song = 7 WHERE id = 2;
SELECT id, kind, about FROM activity WHERE about IS NOT NULL;
SELECT mig_assert('news');
SELECT count(*) FROM mig_rollback('news', 'defined');
SELECT mig_drop('news');

DROP TABLE activity;
ALTER TABLE mails DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON mails FROM together_reader;
INSERT INTO mails (address) VALUES ('m1'), ('m2');
-- Ids of two types: all get new ones.
SELECT mig_define('mixed');
SELECT mig_add_table('mixed', 'requests', 'activity', columns => '{"kind": "''request''", "id": "gen_random_uuid()"}', id_mode => 'remap');
SELECT mig_add_table('mixed', 'mails', 'activity', columns => '{"kind": "''mail''", "id": "gen_random_uuid()"}', id_mode => 'remap');
SELECT count(*) FROM mig_create('mixed');
SELECT count(*) FROM mig_dual_write('mixed');
SELECT mig_step('mixed') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('mixed') > 0 LOOP END LOOP; END $$;
SELECT kind, song, address FROM activity ORDER BY 1, 2, 3;
SELECT count(*) FROM mig_switch('mixed');
INSERT INTO activity (kind, song) VALUES ('request', 'from the new side');
UPDATE activity SET kind = 'mail', address = 'was a song', song = NULL WHERE song = 'from the new side';
SELECT song FROM requests ORDER BY id;
SELECT address FROM mails ORDER BY 1;
SELECT mig_assert('mixed');
SELECT bool_and(ok) FROM mig_check('mixed', 'sample');
SELECT count(*) FROM mig_rollback('mixed', 'defined');
SELECT mig_drop('mixed');

-- Keys that both have: the kind comes in front.
CREATE TABLE tags (code text PRIMARY KEY, label text, note text);
CREATE TABLE genres (code text PRIMARY KEY, label text);
INSERT INTO tags VALUES ('a', 'tag a'), ('b', 'tag b');
INSERT INTO genres VALUES ('a', 'genre a'), ('c', 'genre c');
SELECT mig_define('words');
SELECT mig_add_table('words', 'tags', 'words', columns => '{"kind": "1"}');
SELECT mig_add_table('words', 'genres', 'words', columns => '{"kind": "2"}');
SELECT count(*) FROM mig_create('words');
\d words
SELECT count(*) FROM mig_dual_write('words');
DELETE FROM tags WHERE code = 'a';
SELECT mig_step('words') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('words') > 0 LOOP END LOOP; END $$;
UPDATE genres SET code = 'b', label = 'was c' WHERE code = 'c';
TRUNCATE tags;
INSERT INTO tags VALUES ('a', 'again', 'n');
SELECT kind, code, label, note FROM words ORDER BY 1, 2;
SELECT count(*) FROM mig_switch('words');
UPDATE words SET code = 'z' WHERE kind = 2 AND code = 'a';
DELETE FROM words WHERE kind = 1;
SELECT * FROM genres ORDER BY 1;
SELECT count(*) FROM tags;
SELECT mig_assert('words');
SELECT count(*) FROM mig_rollback('words', 'defined');
SELECT mig_drop('words');

-- One row of two: the key of one refers to the key of the other.
SELECT mig_define('events');
SELECT mig_add_table('events', 'settings', 'events');
SELECT mig_add_table('events', 'event_settings', 'events');
SELECT mig_config('events')->'tables'->1->'columns' AS columns;
SELECT relation, action FROM mig_plan('events') WHERE phase = 'created' AND action LIKE 'CREATE TABLE%';
SELECT * FROM mig_create('events');
SELECT count(*) FROM mig_dual_write('events');
UPDATE event_settings SET theme = 'early' WHERE event_id = 2;
SELECT mapping, key FROM mig.leftover;
SELECT * FROM events;
SELECT mig_step('events') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('events') > 0 LOOP END LOOP; END $$;
INSERT INTO event_settings VALUES (4, 'new', 1);
DELETE FROM event_settings WHERE event_id = 1;
UPDATE settings SET id = 40 WHERE id = 3;
SELECT * FROM events ORDER BY id;
-- A new row that is not what its parts are, and one that has none.
ALTER TABLE events DISABLE TRIGGER ALL;
UPDATE events SET theme = 'wrong' WHERE id = 4;
DELETE FROM events WHERE id = 2;
INSERT INTO events (id, slug) VALUES (77, 'stray');
ALTER TABLE events ENABLE TRIGGER ALL;
SELECT check_name, source, source_value, target_value FROM mig_check('events', relation => 'event_settings') WHERE ok IS NOT TRUE;
SELECT key, kind, source_row->>'theme' AS old, target_row->>'theme' AS new FROM mig_diff('events', 'events') ORDER BY 1;
SELECT kind, rows FROM mig_repair('events', dry_run => false) ORDER BY 1;
SELECT * FROM events ORDER BY id;
SELECT count(*) FROM mig_switch('events');
INSERT INTO events (slug) VALUES ('plain');
INSERT INTO events (slug, theme) VALUES ('themed', 'red');
UPDATE events SET theme = NULL WHERE id = 2;
UPDATE events SET guests = 5 WHERE id = 2;
\echo :SQLSTATE
UPDATE events SET theme = 'back', guests = 5 WHERE id = 2;
DELETE FROM events WHERE id = 4;
SELECT s.slug, e.theme, e.guests FROM settings s LEFT JOIN event_settings e ON e.event_id = s.id ORDER BY 1;
SELECT mig_assert('events');
SELECT bool_and(ok) FROM mig_check('events', 'sample');
SELECT bool_and(ok) FROM mig_check('events', 'quick');
SELECT phase, item, ok FROM mig_checklist('events') WHERE ok IS NOT TRUE ORDER BY 1, 2;
UPDATE events SET id = 500 WHERE slug = 'event1';
UPDATE events SET id = 501 WHERE slug = 'event2';
SELECT s.id, slug, theme FROM settings s LEFT JOIN event_settings e ON e.event_id = s.id ORDER BY 1;
SELECT mig_assert('events');
TRUNCATE event_settings;
SELECT slug, theme, guests FROM events ORDER BY 1;
SELECT count(*) FROM mig_rollback('events', 'defined');
SELECT mig_drop('events');

-- Added the other way round it is the same table.
SELECT mig_define('round');
SELECT mig_add_table('round', 'event_settings', 'events', columns => '{"id": "event_id", "event_id": null}');
SELECT mig_add_table('round', 'settings', 'events');
SELECT statement FROM mig_ddl('round') AS statement WHERE statement LIKE 'CREATE%';
SELECT mig_drop('round');

-- One row of three that know nothing of each other: it is there as long as any of them has it.
CREATE TABLE prices (code text PRIMARY KEY, price numeric);
CREATE TABLE stocks (code text PRIMARY KEY, pieces int NOT NULL);
CREATE TABLE notes (code text PRIMARY KEY, note text);
INSERT INTO prices VALUES ('a', 1.50), ('b', 2);
INSERT INTO stocks VALUES ('b', 20), ('c', 30);
INSERT INTO notes VALUES ('c', NULL), ('d', 'only a note');
SELECT mig_define('goods');
SELECT mig_add_table('goods', 'prices', 'goods', combine => 'merge');
SELECT mig_add_table('goods', 'stocks', 'goods', combine => 'merge');
SELECT mig_add_table('goods', 'notes', 'goods', combine => 'merge');
SELECT * FROM mig_create('goods');
SELECT count(*) FROM mig_dual_write('goods');
SELECT check_name, source_value, target_value, ok FROM mig_check('goods') WHERE ok IS NOT TRUE;
SELECT mig_step('goods') > 0 AS copied;
DO $$ BEGIN WHILE mig_step('goods') > 0 LOOP END LOOP; END $$;
SELECT * FROM goods ORDER BY 1;
DELETE FROM stocks WHERE code = 'c';
DELETE FROM notes WHERE code = 'd';
UPDATE prices SET code = 'z' WHERE code = 'b';
SELECT * FROM goods ORDER BY 1;
TRUNCATE prices;
SELECT * FROM goods ORDER BY 1;
SELECT count(*) FROM mig_switch('goods');
INSERT INTO goods (code, pieces) VALUES ('n', 1);
UPDATE goods SET price = 9 WHERE code = 'c';
SELECT * FROM prices FULL JOIN stocks USING (code) FULL JOIN notes USING (code) ORDER BY 1;
SELECT mig_assert('goods');
SELECT count(*) FROM mig_stop('goods');
UPDATE goods SET price = 10, pieces = 2 WHERE code = 'n';
DELETE FROM goods WHERE code = 'c';
SELECT count(*) FROM mig_rollback('goods');
DO $$ BEGIN WHILE mig_step('goods') > 0 LOOP END LOOP; END $$;
SELECT phase, state, problem FROM mig_status('goods');
SELECT * FROM prices FULL JOIN stocks USING (code) FULL JOIN notes USING (code) ORDER BY 1;
SELECT count(*) FROM mig_rollback('goods', 'defined');
SELECT mig_drop('goods');
SET client_min_messages = warning;
DROP PUBLICATION both_of_them, one_of_them;
DROP SCHEMA together CASCADE;
DROP ROLE together_reader;
