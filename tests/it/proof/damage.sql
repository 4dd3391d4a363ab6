CREATE TABLE projects (id uuid PRIMARY KEY);
INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000002');
CREATE ROLE proof_reader;
CREATE ROLE proof_stranger;
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE TABLE users (id uuid PRIMARY KEY);
INSERT INTO users SELECT md5('u' || g)::uuid FROM generate_series(1, 50) g;
CREATE TABLE songs (
  id serial PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  plays int DEFAULT 5 CHECK (plays >= 0),
  price numeric NOT NULL DEFAULT 1.0,
  rating float8,
  loud boolean NOT NULL DEFAULT false,
  born date,
  heard_at timestamptz NOT NULL DEFAULT '2026-01-01',
  long interval,
  extra jsonb NOT NULL DEFAULT '{"n": 1.0}',
  raw json,
  cover bytea,
  tags text[],
  owner uuid,
  mood mood,
  place point,
  cost numeric
);
CREATE INDEX songs_born ON songs (born);
GRANT SELECT ON songs TO proof_reader;
ALTER TABLE songs ENABLE ROW LEVEL SECURITY;
CREATE POLICY reads ON songs FOR SELECT TO proof_reader USING (loud);
INSERT INTO songs (slug, rating, born, long, raw, cover, tags, owner, mood, place, cost)
  SELECT 's' || g, g, '2026-01-01'::date + g, '30 days', '{"a": 1}', '\x01', '{a,b}', md5('u' || 1 + g % 50)::uuid, 'calm', '(1,2)', 1.0
  FROM generate_series(1, 300) g;
CREATE TABLE notes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  song_id int NOT NULL REFERENCES songs ON DELETE CASCADE,
  author uuid REFERENCES users,
  body text
);
INSERT INTO notes (song_id, author, body) SELECT 1 + g % 300, md5('u' || 1 + g % 50)::uuid, 'note ' || g FROM generate_series(1, 900) g;
CREATE TABLE stars (note_id bigint NOT NULL REFERENCES notes ON DELETE CASCADE, n int NOT NULL, PRIMARY KEY (note_id, n));
INSERT INTO stars SELECT id, 1 FROM notes;

CREATE EXTENSION pg_mig;
SELECT mig_define('proof', 'projects', '00000000-0000-0000-0000-000000000001');
SELECT mig_add_table('proof', 'songs', 'project_songs', refs => '{"owner": "users"}',
  columns => '{"cost": {"up": "cost::numeric(10,2)", "down": "cost"}}');
SELECT mig_add_table('proof', 'notes', 'project_notes');
SELECT mig_add_table('proof', 'stars', 'project_stars');
SELECT mig_create();
SELECT mig_dual_write();
