-- New ids: a parent whose target draws its own, children that follow, and the map.
SET client_min_messages = warning;
-- Numbers of mappings start at 1.
DROP EXTENSION IF EXISTS pg_mig CASCADE;
CREATE EXTENSION pg_mig;
DROP SCHEMA IF EXISTS new_ids CASCADE;
CREATE SCHEMA new_ids;
SET search_path = new_ids, public;
RESET client_min_messages;
CREATE TABLE projects (id uuid PRIMARY KEY, slug text);
INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001', 'cover');
CREATE TABLE rounds (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, after int REFERENCES rounds);
CREATE TABLE sign_ups (id serial PRIMARY KEY, round_id int NOT NULL DEFAULT 1 REFERENCES rounds ON DELETE CASCADE, email text);
INSERT INTO rounds (slug, after) VALUES ('one', NULL), ('two', 1), ('three', 2);
INSERT INTO sign_ups (round_id, email) SELECT 1 + g % 3, 'u' || g FROM generate_series(1, 6) g;

SELECT mig_define('cover', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('cover', 'rounds', 'project_rounds', id_mode => 'remap');
SELECT mig_add_table('cover', 'sign_ups', 'project_sign_ups');
SELECT mig_map('cover', 'rounds', '1');
\echo :SQLSTATE
SELECT jsonb_pretty(mig_config('cover')->'tables'->0);
SELECT relation, action FROM mig_plan('cover') WHERE phase = 'created' AND action ~ 'map|VIEW';
SELECT severity, check_name, detail FROM mig_preflight('cover') WHERE severity <> 'info';
SELECT * FROM mig_create();
\d project_rounds
\d project_sign_ups
\d mig.m1_map
SELECT source, id_mode, id_map FROM mig.tables ORDER BY ordinal;
SELECT * FROM mig_dual_write();

-- A row whose parent has no id yet waits for the backfill.
UPDATE sign_ups SET email = 'changed' WHERE id = 6;
SELECT key FROM mig.leftover;
SELECT mig_step(max_ms => 10000) > 0 AS done;
DO $$ BEGIN WHILE mig_step() > 0 LOOP END LOOP; END $$;
SELECT phase, state FROM mig_status();
SELECT r.old_id, r.new_id IS NOT NULL AS mapped, p.slug, a.old_id AS after
FROM mig.m1_map r JOIN project_rounds p ON p.id = r.new_id LEFT JOIN mig.m1_map a ON a.new_id = p.after ORDER BY 1;
SELECT m.old_id AS round_id, array_agg(s.email ORDER BY s.id) FROM project_sign_ups s JOIN mig.m1_map m ON m.new_id = s.round_id GROUP BY 1 ORDER BY 1;
SELECT mig_map('cover', 'rounds', '2') = (SELECT id::text FROM project_rounds WHERE slug = 'two') AS same;
SELECT mig_map('cover', 'sign_ups', '5') AS kept, mig_map('cover', 'rounds', '77') AS unknown;
SELECT mig_map('cover', 'projects', '5');
\echo :SQLSTATE
SELECT mig_map('cover', 'rounds', 'no number');
\echo :SQLSTATE
SELECT mig_assert();

-- A difference is named by both keys.
BEGIN;
UPDATE project_rounds SET slug = 'damaged' WHERE slug = 'two';
SELECT key->'old' AS old, key->'new'->>'id' = mig_map('cover', 'rounds', '2') AS new, kind, source_row->>'slug' AS source, target_row->>'slug' AS target FROM mig_diff('cover', 'rounds');
SELECT * FROM mig_repair('cover', 'rounds', dry_run => false);
SELECT mig_assert();
INSERT INTO project_rounds (project_id, slug) VALUES ('00000000-0000-0000-0000-000000000001', 'stray');
SELECT key->'old' AS old, kind, source_row, target_row->>'slug' AS target FROM mig_diff('cover', 'rounds');
SELECT * FROM mig_repair('cover', 'rounds', dry_run => false);
SELECT mig_assert();
ROLLBACK;

-- A key changes, a row goes.
UPDATE rounds SET id = 30 WHERE slug = 'three' AND NOT EXISTS (SELECT FROM sign_ups WHERE round_id = 3);
DELETE FROM sign_ups WHERE round_id = 3;
UPDATE rounds SET id = 30 WHERE slug = 'three';
SELECT mig_map('cover', 'rounds', '3') AS gone, mig_map('cover', 'rounds', '30') = (SELECT id::text FROM project_rounds WHERE slug = 'three') AS follows;
DELETE FROM rounds WHERE id = 30;
SELECT mig_map('cover', 'rounds', '30') AS gone;
SELECT mig_assert();

-- Both sides: each draws ids by its own rule.
SELECT * FROM mig_switch('cover');
INSERT INTO project_rounds (project_id, slug, after) SELECT project_id, 'born there', id FROM project_rounds WHERE slug = 'one';
INSERT INTO project_sign_ups (project_id, round_id, email) SELECT project_id, id, 'there' FROM project_rounds WHERE slug = 'born there';
SELECT r.id, r.slug, r.after, s.email FROM rounds r JOIN sign_ups s ON s.round_id = r.id WHERE r.slug = 'born there';
INSERT INTO rounds (slug) VALUES ('born here');
SELECT r.id, p.id::text = mig_map('cover', 'rounds', r.id::text) AS mapped FROM rounds r JOIN project_rounds p USING (slug) WHERE slug = 'born here';
SELECT mig_assert();
SELECT * FROM mig_stop('cover');
SELECT * FROM mig_archive('cover', compat_views => true, force => true);
SELECT r.slug, s.email FROM rounds r JOIN sign_ups s ON s.round_id = r.id WHERE r.slug = 'born there';
SELECT * FROM mig_drop('cover', archives => true, force => true);
SELECT m.old_id, p.slug FROM project_rounds_id_map m JOIN project_rounds p ON p.id = m.new_id ORDER BY 1;
SELECT r.slug, s.email FROM rounds r JOIN sign_ups s ON s.round_id = r.id WHERE r.slug = 'born there';
INSERT INTO project_rounds (project_id, slug) VALUES ('00000000-0000-0000-0000-000000000001', 'afterwards');
