-- Constraints and indexes as jobs.
SET client_min_messages = warning;
CREATE SCHEMA app;
SET search_path = app, public;
CREATE FUNCTION positive(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE posts (id int PRIMARY KEY, user_id int, title text, votes int DEFAULT 1);
INSERT INTO users SELECT g, 'u' || g FROM generate_series(1, 100) g;
INSERT INTO posts SELECT g, 1 + g % 100, 't' || g FROM generate_series(1, 1000) g;
RESET client_min_messages;
-- NOT NULL.
SELECT mig_set_not_null('posts', 'title') AS job \gset
SELECT mig_wait(:job);
SELECT mig_set_not_null('posts', 'title');
SELECT attnotnull FROM pg_attribute WHERE attrelid = 'posts'::regclass AND attname = 'title';
SELECT conname FROM pg_constraint WHERE conrelid = 'posts'::regclass AND contype = 'c';
-- Rows that break it are named, and nothing of it is left.
UPDATE posts SET user_id = NULL WHERE id IN (7, 8);
SELECT mig_set_not_null('posts', 'user_id') AS job \gset
\set VERBOSITY terse
SELECT mig_wait(:job);
\set VERBOSITY default
SELECT kind, name, state, error FROM mig.jobs WHERE id = :job;
SELECT conname FROM pg_constraint WHERE conrelid = 'posts'::regclass AND contype = 'c';
-- A CHECK, with a function of the caller's own search_path.
SELECT mig_add_check('posts', 'votes_positive', 'positive(votes) -- as it should be') AS job \gset
SELECT mig_wait(:job);
SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conname = 'votes_positive';
SELECT mig_add_check('posts', 'votes_positive', 'positive(votes)');
SELECT mig_add_check('posts', 'odd', 'id % 2 = 1') AS job \gset
\set VERBOSITY terse
SELECT mig_wait(:job);
\set VERBOSITY default
SELECT error FROM mig.jobs WHERE id = :job;
SELECT mig_add_check('posts', 'bad', 'votes');
SELECT mig_add_check('posts', 'bad', 'true); DROP TABLE users; --');
-- A foreign key.
INSERT INTO posts VALUES (2000, 555, 'orphan');
SELECT mig_add_foreign_key('posts', 'posts_user', '{user_id}', 'users', '{id}', on_delete => 'cascade') AS job \gset
\set VERBOSITY terse
SELECT mig_wait(:job);
\set VERBOSITY default
SELECT error FROM mig.jobs WHERE id = :job;
DELETE FROM posts WHERE id = 2000;
SELECT mig_add_foreign_key('posts', 'posts_user', '{user_id}', 'users', '{id}', on_delete => 'cascade') AS job \gset
SELECT mig_wait(:job);
SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conname = 'posts_user';
SELECT mig_add_foreign_key('posts', 'posts_user', '{user_id}', 'users', '{id}');
SELECT mig_add_foreign_key('posts', 'x', '{user_id}', 'users', '{name}');
SELECT mig_add_foreign_key('posts', 'x', '{user_id}', 'users', '{id,name}');
SELECT mig_add_foreign_key('posts', 'x', '{usr_id}', 'users', '{id}');
SELECT mig_add_foreign_key('posts', 'x', '{user_id}', 'users', '{id}', on_delete => 'explode');
-- An index, whether it says CONCURRENTLY or not.
SELECT mig_create_index('CREATE INDEX posts_title ON posts (title);') AS job \gset
SELECT mig_wait(:job);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'posts_title'::regclass;
SELECT mig_create_index('create index concurrently posts_title on posts (title)');
SELECT mig_create_index('CREATE UNIQUE INDEX /* the index of */ posts_votes ON app.posts (votes)') AS job \gset
\set VERBOSITY terse
SELECT mig_wait(:job);
\set VERBOSITY default
SELECT error FROM mig.jobs WHERE id = :job;
SELECT to_regclass('posts_votes');
SELECT mig_create_index('CREATE INDEX ON posts (title)');
SELECT mig_create_index('DROP TABLE posts');
SELECT mig_create_index('CREATE INDEX a ON posts (title); DROP TABLE posts');
SELECT mig_create_index('CREATE INDEX a ON nowhere (title)');
SELECT mig_create_index('CREATE INDEX a ON posts (titel)');
-- Whoever waits in the transaction that begins a job would wait for ever; a rollback begins nothing.
BEGIN;
SELECT mig_create_index('CREATE INDEX posts_user_id ON posts (user_id)') AS job \gset
\set VERBOSITY terse
SELECT mig_wait(:job);
\set VERBOSITY default
ROLLBACK;
SELECT mig_wait(999999999);
-- Of the wrong kind, of somebody else, with names that are none.
CREATE VIEW seen AS SELECT * FROM posts;
SELECT mig_set_not_null('seen', 'title');
SELECT mig_set_not_null('posts', 'titel');
SELECT mig_set_not_null(NULL, 'title');
SELECT mig_create_index('CREATE INDEX posts_user_id ON posts (user_id)') AS job \gset
SELECT mig_wait(:job);
SELECT mig_cancel(:job);
CREATE ROLE stranger;
GRANT USAGE ON SCHEMA app TO stranger;
SELECT mig_allow('stranger');
SET ROLE stranger;
SELECT mig_set_not_null('app.posts', 'votes');
SELECT mig_cancel(:job);
RESET ROLE;
SELECT kind, name, state, at_work, pct FROM mig.jobs ORDER BY id;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
DROP OWNED BY stranger;
DROP ROLE stranger;
