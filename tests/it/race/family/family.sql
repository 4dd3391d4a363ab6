-- Parents and children: without mirrors in `plain`, and on both sides of a migration in `old` and `new`.
CREATE SCHEMA plain;
CREATE SCHEMA old;
CREATE SCHEMA new;

DO $$
DECLARE
  side text;
BEGIN
  FOREACH side IN ARRAY '{plain,old}'::text[] LOOP
    PERFORM set_config('search_path', side, true);
    CREATE TABLE p (id int PRIMARY KEY, v text);
    CREATE TABLE q (id int PRIMARY KEY, v text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int NOT NULL REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, v text);
    -- The key to q is checked first, though the other one comes first by its name.
    CREATE TABLE d (id int PRIMARY KEY, q_id int CONSTRAINT d_2 REFERENCES q ON DELETE SET NULL, p_id int CONSTRAINT d_1 REFERENCES p, v text);
    CREATE INDEX ON c (p_id);
    CREATE INDEX ON d (q_id);
    CREATE INDEX ON d (p_id);
  END LOOP;
END
$$;
RESET search_path;

-- The same rows at the beginning of each case, in the tables of the search_path.
CREATE FUNCTION fill_family() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM c;
  DELETE FROM d;
  DELETE FROM p;
  DELETE FROM q;
  INSERT INTO p SELECT g, 'old' FROM generate_series(1, 3) g;
  INSERT INTO q SELECT g, 'old' FROM generate_series(1, 2) g;
  INSERT INTO c SELECT g, g, 'old' FROM generate_series(1, 3) g;
  INSERT INTO d VALUES (1, 1, 2, 'old'), (2, 2, NULL, 'old');
END
$$;

-- All rows of the tables of a schema, in one order.
CREATE FUNCTION read_family(side text) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('search_path', side, true);
  RETURN (SELECT array_agg(r ORDER BY r) FROM (
    SELECT 'p' || p r FROM p UNION ALL SELECT 'q' || q FROM q UNION ALL SELECT 'c' || c FROM c UNION ALL SELECT 'd' || d FROM d) rows);
END
$$;

-- Rows that are on one side only. `uncopied` are missing on the new side, unless somebody has written them.
CREATE FUNCTION family_differences(uncopied text[]) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM (
    (SELECT unnest(public.read_family('old')) EXCEPT ALL SELECT unnest(public.read_family('new') || uncopied))
    UNION ALL (SELECT unnest(public.read_family('new')) EXCEPT ALL SELECT unnest(public.read_family('old')))) d
$$;

SELECT mig_define('family');
SELECT mig_add_table('family', 'old.' || t, 'new.' || t) FROM unnest('{p,q,c,d}'::text[]) t;
SELECT mig_create();
