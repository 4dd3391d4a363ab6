CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE TABLE par (id int PRIMARY KEY);
INSERT INTO par SELECT g FROM generate_series(1, 9) g;
CREATE TABLE t (id int PRIMARY KEY, v text, p int REFERENCES par ON DELETE SET NULL);
INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(1, 9) g;
CREATE TABLE cols (id int PRIMARY KEY, v text, p int);
CREATE TABLE other (id int PRIMARY KEY, v text, p int);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v text, p int);
CREATE VIEW view AS SELECT * FROM other;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM other;
CREATE TABLE parted (id int PRIMARY KEY, v text, p int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1500);
CREATE TABLE rest PARTITION OF parted DEFAULT;
CREATE TABLE kin (id int PRIMARY KEY, v text, p int);
CREATE TABLE kid () INHERITS (kin);
CREATE TABLE remote (id int PRIMARY KEY, v text, p int);
DO $$BEGIN
  EXECUTE format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
    current_setting('unix_socket_directories'), current_setting('port'), current_database());
END$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loop OPTIONS (user 'postgres');
CREATE FOREIGN TABLE far (id int, v text, p int) SERVER loop OPTIONS (table_name 'remote');
INSERT INTO other SELECT g, 'v', NULL FROM generate_series(1, 9) g;
INSERT INTO cols SELECT * FROM other;
INSERT INTO unlogged SELECT * FROM other;
INSERT INTO parted SELECT * FROM other;
INSERT INTO kid SELECT * FROM other;
INSERT INTO remote SELECT * FROM other;
SELECT mig_define('m', options => '{"archive_after_days": 0}');
SELECT mig_add_table('m', 't', 't_new');
SELECT mig_define('c');
SELECT mig_add_column('c', 'cols', 'n', 'text', 'upper(v)', 'lower(n)', replaces => 'v');

-- Rows that one side has and the other lacks, while both should be equal.
CREATE FUNCTION differs() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
  RETURN EXISTS ((SELECT id, v, p FROM t EXCEPT ALL SELECT id, v, p FROM t_new) UNION ALL (SELECT id, v, p FROM t_new EXCEPT ALL SELECT id, v, p FROM t))
    OR EXISTS (SELECT FROM cols WHERE n IS DISTINCT FROM upper(v) AND n IS NOT NULL);
END$$;

-- Does what `made` says, then each statement of `fired` by itself; what became of each. All of it is taken back.
CREATE FUNCTION attempt(made text[], fired text[], compared boolean) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE told text[] := '{}'; one text; state text; said text;
BEGIN
  BEGIN
    FOREACH one IN ARRAY made LOOP EXECUTE one; END LOOP;
    FOREACH one IN ARRAY fired LOOP
      BEGIN
        EXECUTE one;
        SET CONSTRAINTS ALL IMMEDIATE;
        IF compared AND differs() AND NOT EXISTS (SELECT FROM mig.drift) THEN
          told := told || ('LOST: ' || one);
        ELSE
          told := told || 'passed'::text;
        END IF;
        RAISE EXCEPTION 'back' USING ERRCODE = 'ZZ998';
      EXCEPTION WHEN SQLSTATE 'ZZ998' THEN NULL; WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT;
        told := told || concat_ws(': ', state, said);
      END;
    END LOOP;
    RAISE EXCEPTION 'back' USING ERRCODE = 'ZZ999';
  EXCEPTION WHEN SQLSTATE 'ZZ999' THEN NULL; WHEN OTHERS THEN
    RETURN NULL;
  END;
  RETURN told;
END$$;
