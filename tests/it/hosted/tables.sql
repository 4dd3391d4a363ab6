-- The five tables as such a project has them. Run by postgres, who is no superuser.
CREATE TABLE projects (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001', 'cover'), ('00000000-0000-0000-0000-000000000002', 'originals');
CREATE TABLE round_metadata (
  id serial PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  title text,
  opens_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sign_ups (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE,
  user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users ON DELETE CASCADE,
  email text,
  UNIQUE (round_id, user_id)
);
CREATE TABLE submissions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  round_id int NOT NULL REFERENCES round_metadata ON DELETE CASCADE,
  user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users ON DELETE CASCADE,
  url text NOT NULL CHECK (url <> ''),
  UNIQUE (round_id, user_id)
);
CREATE TABLE song_selection_votes (
  submission_id uuid REFERENCES submissions ON DELETE CASCADE,
  user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users ON DELETE CASCADE,
  points int NOT NULL DEFAULT 1,
  PRIMARY KEY (submission_id, user_id)
);
CREATE TABLE email_reminders_sent (
  id serial PRIMARY KEY,
  round_id int REFERENCES round_metadata ON DELETE SET NULL,
  user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
  sent_at timestamptz NOT NULL DEFAULT now()
);
ALTER PUBLICATION supabase_realtime ADD TABLE submissions;
-- Narrower than the default privileges gave.
REVOKE ALL ON email_reminders_sent FROM anon, authenticated;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON round_metadata, sign_ups, submissions, song_selection_votes FROM anon;
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE round_metadata ENABLE ROW LEVEL SECURITY;
ALTER TABLE sign_ups ENABLE ROW LEVEL SECURITY;
ALTER TABLE submissions ENABLE ROW LEVEL SECURITY;
ALTER TABLE song_selection_votes ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_reminders_sent ENABLE ROW LEVEL SECURITY;
CREATE POLICY "everybody reads projects" ON projects FOR SELECT USING (true);
CREATE POLICY "everybody reads rounds" ON round_metadata FOR SELECT USING (true);
CREATE POLICY "own sign-ups" ON sign_ups TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
CREATE POLICY "all see submissions" ON submissions FOR SELECT TO anon, authenticated USING (true);
CREATE POLICY "own submissions" ON submissions TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
CREATE POLICY "own votes" ON song_selection_votes TO authenticated
  USING (user_id = auth.uid())
  WITH CHECK (user_id = auth.uid() AND points BETWEEN 0 AND 5);
INSERT INTO round_metadata (slug, title) SELECT 'round-' || g, 'Round ' || g FROM generate_series(1, 20) g;
INSERT INTO sign_ups (round_id, user_id, email) SELECT 1 + g % 20, md5('user' || 1 + g % 200)::uuid, 'u@x' FROM generate_series(1, 2000) g ON CONFLICT DO NOTHING;
INSERT INTO submissions (round_id, user_id, url) SELECT round_id, user_id, 'https://x.org/' || id FROM sign_ups;
INSERT INTO song_selection_votes SELECT id, user_id, 3 FROM submissions;
INSERT INTO email_reminders_sent (round_id, user_id) SELECT round_id, user_id FROM sign_ups;
