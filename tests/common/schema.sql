-- The five tables of the Cover Project, with keys, references, defaults and types as such tables have them.
CREATE TABLE projects (
  id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  name text NOT NULL,
  config jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO projects (id, slug, name) VALUES ('00000000-0000-0000-0000-000000000001', 'cover', 'Cover Project');

CREATE TABLE round_metadata (
  id serial PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  title text,
  opens_at timestamptz NOT NULL DEFAULT now(),
  closes_at timestamptz,
  settings jsonb NOT NULL DEFAULT '{"phases": ["signup", "submit", "vote"]}',
  CHECK (closes_at IS NULL OR closes_at > opens_at)
);
CREATE TABLE sign_ups (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE,
  user_id uuid NOT NULL,
  email text NOT NULL,
  youtube_link text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (round_id, user_id)
);
CREATE INDEX sign_ups_user_idx ON sign_ups (user_id);
CREATE TABLE submissions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE,
  user_id uuid NOT NULL,
  soundcloud_url text NOT NULL,
  extra jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (round_id, user_id)
);
CREATE TABLE song_selection_votes (
  submission_id uuid NOT NULL REFERENCES submissions ON UPDATE CASCADE ON DELETE CASCADE,
  user_id uuid NOT NULL,
  points int NOT NULL DEFAULT 1 CHECK (points BETWEEN 0 AND 5),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (submission_id, user_id)
);
CREATE TABLE email_reminders_sent (
  id serial PRIMARY KEY,
  round_id int REFERENCES round_metadata ON DELETE SET NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL DEFAULT 'voting-closes',
  sent_at timestamptz NOT NULL DEFAULT now()
);

-- :scale rows of sign-ups and the like; about 4.2 times that in all.
CREATE FUNCTION pg_temp.fill(scale int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO round_metadata (slug, title) SELECT 'round-' || g, 'Round ' || g FROM generate_series(1, scale / 100) g;
  INSERT INTO sign_ups (round_id, user_id, email, youtube_link)
    SELECT 1 + g % (scale / 100), md5('u' || g / (scale / 100) || g % (scale / 100))::uuid, 'u' || g || '@example.org', 'https://youtu.be/' || g
    FROM generate_series(1, scale) g;
  INSERT INTO submissions (round_id, user_id, soundcloud_url) SELECT round_id, user_id, 'https://soundcloud.com/' || id FROM sign_ups;
  INSERT INTO song_selection_votes (submission_id, user_id, points) SELECT id, md5(id::text || n)::uuid, n FROM submissions, generate_series(1, 1) n;
  INSERT INTO email_reminders_sent (round_id, user_id) SELECT round_id, user_id FROM sign_ups;
$$;
