-- A schema with some of what other people's have: circles of keys, self references, checks that exclude each other, types of all kinds,
-- counters kept by triggers, and tables that take no row.
CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN email AS citext CHECK (VALUE IN ('a@example.org', 'b@example.org', 'c@example.org'));
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE person (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  mail email,
  best_friend bigint REFERENCES person ON DELETE SET NULL,
  mood mood DEFAULT 'ok',
  posts int NOT NULL DEFAULT 0,
  born date,
  updated_at timestamptz NOT NULL DEFAULT now(),
  initials text GENERATED ALWAYS AS (upper(left(name, 2))) STORED
);
-- Two tables that want each other's rows.
CREATE TABLE house (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner int NOT NULL, size numeric(6, 2) NOT NULL CHECK (size >= 0));
CREATE TABLE owner (id serial PRIMARY KEY, first_house uuid NOT NULL REFERENCES house ON DELETE CASCADE, UNIQUE (id, first_house));
ALTER TABLE house ADD FOREIGN KEY (owner) REFERENCES owner ON DELETE CASCADE;
-- A row that refers to itself.
CREATE TABLE node (id int PRIMARY KEY, root int NOT NULL REFERENCES node DEFERRABLE INITIALLY DEFERRED, tags text[] NOT NULL DEFAULT '{}', at point);
CREATE TABLE post (
  id serial PRIMARY KEY,
  author bigint NOT NULL REFERENCES person ON DELETE CASCADE,
  title varchar(20) NOT NULL,
  body jsonb,
  raw json,
  slug text UNIQUE,
  kind text NOT NULL CHECK (kind IN ('note', 'link')),
  link text,
  note text,
  seen tstzrange,
  CHECK ((kind = 'link') = (link IS NOT NULL)),
  CHECK (num_nonnulls(link, note) = 1)
);
CREATE INDEX ON post (lower(title)) WHERE kind = 'note';
CREATE INDEX ON post USING gin (body jsonb_path_ops);
CREATE UNIQUE INDEX ON post (author, title) WHERE link IS NULL;
CREATE TABLE vote (post int REFERENCES post ON DELETE CASCADE ON UPDATE CASCADE, person bigint REFERENCES person ON DELETE CASCADE, points smallint CHECK (points BETWEEN 1 AND 5), PRIMARY KEY (post, person));
CREATE TABLE tenant (org int NOT NULL, id int NOT NULL, v pair, moods mood[], bits bit(5), PRIMARY KEY (org, id));
CREATE TABLE member (org int NOT NULL, id int NOT NULL, tenant int NOT NULL, boss int, strength positive, PRIMARY KEY (org, id), FOREIGN KEY (org, tenant) REFERENCES tenant (org, id), FOREIGN KEY (org, boss) REFERENCES member (org, id));
CREATE TABLE never (id int PRIMARY KEY CHECK (id > 1 AND id < 1));
CREATE TABLE after_never (id int PRIMARY KEY, never int NOT NULL REFERENCES never);
CREATE TABLE without_key (v text);
CREATE VIEW popular AS SELECT p.id, p.title FROM post p JOIN person USING (id);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION touch();
CREATE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE person SET posts = posts + d.n FROM (SELECT author, count(*) AS n FROM came GROUP BY author) d WHERE id = d.author;
  RETURN NULL;
END $$;
CREATE TRIGGER count_posts AFTER INSERT ON post REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_posts();
