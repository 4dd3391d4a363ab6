-- Seven tables that are to become four.
CREATE TABLE admins (
  id serial PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE settings (
  id serial PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  title text NOT NULL DEFAULT 'untitled' CHECK (title <> ''),
  owner_id int REFERENCES admins ON DELETE SET NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE event_settings (
  event_id int PRIMARY KEY REFERENCES settings ON DELETE CASCADE,
  theme text NOT NULL DEFAULT 'dark',
  max_requests int CHECK (max_requests > 0),
  notes text
);
CREATE TABLE requests (
  id bigserial PRIMARY KEY,
  event_id int NOT NULL REFERENCES settings ON DELETE CASCADE,
  song text NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'played', 'refused')),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON requests (event_id, status);
CREATE TABLE notifications (
  id bigserial PRIMARY KEY,
  event_id int NOT NULL REFERENCES settings ON DELETE CASCADE,
  admin_id int REFERENCES admins ON DELETE CASCADE,
  body text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE spotify_auth (
  id serial PRIMARY KEY,
  admin_id int NOT NULL UNIQUE REFERENCES admins ON DELETE CASCADE,
  access_token text NOT NULL,
  refresh_token text,
  expires_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE oauth_sessions (
  id serial PRIMARY KEY,
  admin_id int NOT NULL REFERENCES admins ON DELETE CASCADE,
  provider text NOT NULL,
  access_token text NOT NULL,
  expires_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON oauth_sessions (provider);

INSERT INTO admins (email, name) SELECT 'admin' || g || '@example.org', 'Admin ' || g FROM generate_series(1, 60) g;
INSERT INTO settings (slug, title, owner_id) SELECT 'event' || g, 'Event ' || g, 1 + g % 60 FROM generate_series(1, 400) g;
INSERT INTO event_settings (event_id, theme, max_requests, notes) SELECT g, 'light', g, 'notes ' || g FROM generate_series(1, 400, 2) g;
INSERT INTO requests (event_id, song) SELECT 1 + g % 400, 'song ' || g FROM generate_series(1, 6000) g;
INSERT INTO notifications (event_id, admin_id, body) SELECT 1 + g % 400, 1 + g % 60, 'body ' || g FROM generate_series(1, 4000) g;
INSERT INTO spotify_auth (admin_id, access_token) SELECT g, 'token ' || g FROM generate_series(1, 40) g;
INSERT INTO oauth_sessions (admin_id, provider, access_token) SELECT 1 + g % 60, 'google', 'token ' || g FROM generate_series(1, 200) g;
SELECT mig_define('seven');
SELECT mig_add_table('seven', 'admins', 'people');
SELECT mig_add_table('seven', 'settings', 'events');
SELECT mig_add_table('seven', 'event_settings', 'events');
SELECT mig_add_table('seven', 'spotify_auth', 'credentials', columns => '{"kind": "''spotify''"}', id_mode => 'remap');
SELECT mig_add_table('seven', 'oauth_sessions', 'credentials', columns => '{"kind": "''oauth''"}', id_mode => 'remap');
SELECT mig_add_table('seven', 'requests', 'activity', columns => '{"kind": "''request''"}', id_mode => 'remap');
SELECT mig_add_table('seven', 'notifications', 'activity', columns => '{"kind": "''notification''"}', id_mode => 'remap');
