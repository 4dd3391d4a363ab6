-- Most tables of the regression scripts have no key, so no migration takes them. Played with keys, they show what mirrors do; without mirrors they
-- have the keys too.
CREATE SCHEMA conformance;
CREATE TABLE conformance.keyed AS SELECT oid AS relation FROM pg_class;

-- Gives each new table whose first column can be one a primary key.
CREATE FUNCTION conformance.add_keys() RETURNS void LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT c.oid::regclass AS name, c.oid, quote_ident(attname) AS first FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum = 1
           WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relispartition AND relpersistence <> 't'
             AND NOT EXISTS (SELECT FROM conformance.keyed WHERE relation = c.oid)
             AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
             AND NOT EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)) ORDER BY c.oid LOOP
    INSERT INTO conformance.keyed VALUES (t.oid);
    BEGIN
      EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', t.name, t.first);
    EXCEPTION WHEN OTHERS THEN
      -- It stays without.
    END;
  END LOOP;
END
$$;
