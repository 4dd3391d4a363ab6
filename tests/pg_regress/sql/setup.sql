-- What the other sessions here use: the five tables of the README, small.
CREATE EXTENSION pg_mig;
SELECT mig_version() ~ '^\d+\.\d+\.\d+$' AS version_is_a_version;
CREATE TABLE projects (id uuid PRIMARY KEY, slug text UNIQUE NOT NULL);
INSERT INTO projects VALUES
  ('00000000-0000-0000-0000-000000000001', 'cover'),
  ('00000000-0000-0000-0000-000000000002', 'originals');
CREATE TABLE round_metadata (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, opens_at timestamptz NOT NULL DEFAULT now(), settings jsonb NOT NULL DEFAULT '{}');
CREATE TABLE sign_ups (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE, user_id uuid NOT NULL, email text, UNIQUE (round_id, user_id));
CREATE TABLE submissions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE, user_id uuid NOT NULL, url text CHECK (url <> ''));
CREATE INDEX submissions_round_idx ON submissions (round_id);
CREATE TABLE song_selection_votes (submission_id uuid REFERENCES submissions ON DELETE CASCADE, user_id uuid, points int NOT NULL DEFAULT 1, PRIMARY KEY (submission_id, user_id));
CREATE TABLE email_reminders_sent (id serial PRIMARY KEY, round_id int REFERENCES round_metadata ON DELETE SET NULL, kind text NOT NULL, sent_at timestamptz NOT NULL DEFAULT now());
INSERT INTO round_metadata (slug) SELECT 'round-' || n FROM generate_series(1, 20) n;
INSERT INTO sign_ups (round_id, user_id, email) SELECT 1 + n % 20, gen_random_uuid(), 'u' || n || '@example.org' FROM generate_series(1, 500) n;
INSERT INTO submissions (round_id, user_id, url) SELECT round_id, user_id, 'https://example.org/' || id FROM sign_ups;
INSERT INTO song_selection_votes SELECT id, user_id, 3 FROM submissions;
INSERT INTO email_reminders_sent (round_id, kind) SELECT id, 'opening' FROM round_metadata;
