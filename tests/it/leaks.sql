CREATE ROLE dml LOGIN;
CREATE ROLE cols LOGIN;
CREATE ROLE hidden LOGIN;
CREATE ROLE reader LOGIN;
CREATE ROLE half LOGIN;
CREATE FUNCTION made(z int, ssn text, m int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
  IF z = 60 THEN RETURN ssn::int; END IF;
  IF z = 70 THEN RAISE EXCEPTION 'no such person: %', ssn USING HINT = ssn, ERRCODE = '23514', TABLE = 'o_new', CONSTRAINT = 'spoken'; END IF;
  -- Whoever catches an error goes by what it says.
  IF z = 80 THEN BEGIN RETURN ssn::int; EXCEPTION WHEN others THEN RETURN CASE WHEN SQLERRM LIKE '%SECRET%' THEN -5 END; END; END IF;
  RETURN m;
END$$;
CREATE TABLE o (id int PRIMARY KEY, ssn text, x int, u int, e int, k int, z int, m int, note text);
INSERT INTO o SELECT g, 'SECRET', 1, g, g, 1, 1, 1, 'SECRET' FROM generate_series(1, 2) g;
CREATE TABLE person (ssn text, k int, PRIMARY KEY (ssn, k));
INSERT INTO person VALUES ('SECRET', 1);
CREATE TABLE kept (id int PRIMARY KEY, ssn text, z int);
INSERT INTO kept SELECT g, 'SECRET', 1 FROM generate_series(1, 2) g;
SELECT mig_define('m');
SELECT mig_add_table('m', 'o', 'o_new', columns => '{"m": {"up": "public.made(z, ssn, m)", "down": "public.made(z, ssn, m)"}}');
SELECT mig_define('c');
SELECT mig_add_column('c', 'kept', 'n', 'int', 'CASE WHEN z = 60 THEN ssn::int ELSE z END', 'n', replaces => 'z');
GRANT SELECT, INSERT, UPDATE, DELETE ON o, kept TO reader, hidden;
GRANT INSERT, UPDATE, DELETE ON o, kept TO dml, cols;
GRANT SELECT (id, x), INSERT, UPDATE, DELETE ON o TO cols;
GRANT SELECT (id, z) ON kept TO cols;
GRANT SELECT, INSERT, UPDATE, DELETE ON o TO half;
DO $$DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['o', 'kept'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY write ON %I FOR UPDATE USING (true)', t);
    EXECUTE format('CREATE POLICY gone ON %I FOR DELETE USING (true)', t);
    EXECUTE format('CREATE POLICY come ON %I FOR INSERT WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY read ON %I FOR SELECT USING (current_user <> ''hidden'')', t);
  END LOOP;
END$$;
-- Policies count for all of them but this one, who sees what PostgreSQL shows.
ALTER ROLE reader BYPASSRLS;
ALTER ROLE half BYPASSRLS;
