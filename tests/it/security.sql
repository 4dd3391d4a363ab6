-- Everything that a hostile, or a careless, role can put before our statements: settings, operators, functions, names.
CREATE ROLE keeper LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE stranger LOGIN;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO stranger;
CREATE EXTENSION pg_mig;
SELECT mig_allow('keeper');
GRANT CREATE ON DATABASE security TO keeper;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
DO $$
DECLARE
  t text;
  o text;
BEGIN
  FOREACH t IN ARRAY ARRAY['text', 'integer', 'bigint', 'double precision', 'bytea', 'timestamptz', 'interval', 'oid', 'name', 'boolean', '"char"', 'jsonb'] LOOP
    EXECUTE format('CREATE FUNCTION evil.trap(%s, %1$s) RETURNS boolean LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''trapped as %%'', current_user; END$f$', t);
    FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '||', '~', '@>'] LOOP
      EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = evil.trap)', o, t);
    END LOOP;
    EXECUTE format('CREATE FUNCTION evil.lower(%s) RETURNS text LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''trapped as %%'', current_user; END$f$', t);
  END LOOP;
  EXECUTE 'CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''trapped''; END$f$';
  EXECUTE 'CREATE FUNCTION evil.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS ''text_format''';
  EXECUTE 'CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''trapped''; END$f$';
  EXECUTE 'CREATE TABLE evil.mapping (id int)';
  EXECUTE 'CREATE TABLE evil.pg_class (oid oid)';
END
$$;
CREATE SCHEMA "sh'op" AUTHORIZATION keeper;
GRANT USAGE ON SCHEMA "sh'op" TO app;
SET SESSION AUTHORIZATION keeper;
CREATE TABLE "sh'op".places ("k\ey" text PRIMARY KEY);
INSERT INTO "sh'op".places VALUES (E'x\\y''z');
CREATE TABLE "sh'op"."we\ird "" $$ t'able" (
  f float8, b bytea, "w\hen" timestamptz, i interval,
  "v'alue" text NOT NULL DEFAULT E'\\ ''',
  n int,
  PRIMARY KEY (f, b, "w\hen", i)
);
CREATE TABLE "sh'op".child (
  id serial PRIMARY KEY, f float8, b bytea, "w\hen" timestamptz, i interval, word text,
  FOREIGN KEY (f, b, "w\hen", i) REFERENCES "sh'op"."we\ird "" $$ t'able" ON UPDATE CASCADE ON DELETE CASCADE
);
INSERT INTO "sh'op"."we\ird "" $$ t'able" SELECT 0.1 + g * 0.2, decode(lpad(to_hex(g), 4, '0'), 'hex') || E'\\\\'::bytea, timestamptz '2024-03-31 01:59:59.999999+01' + g * interval '1 microsecond', make_interval(mins => g, secs => 1e-6), E'v\\' || g, g
  FROM generate_series(1, 300) g;
INSERT INTO "sh'op".child (f, b, "w\hen", i, word) SELECT f, b, "w\hen", i, "v'alue" FROM "sh'op"."we\ird "" $$ t'able";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "sh'op" TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA "sh'op" TO app;
RESET SESSION AUTHORIZATION;
DO $$
DECLARE
  r text;
  s text;
BEGIN
  FOREACH r IN ARRAY ARRAY['keeper', 'app'] LOOP
    FOREACH s IN ARRAY ARRAY['search_path = evil, pg_temp, pg_catalog, public', 'datestyle = ''SQL, DMY''', 'intervalstyle = ''sql_standard''', 'timezone = ''America/Caracas''',
      'extra_float_digits = -15', 'bytea_output = escape', 'transform_null_equals = on', 'array_nulls = off', 'standard_conforming_strings = off', 'backslash_quote = on',
      'escape_string_warning = off', 'quote_all_identifiers = on', 'row_security = on', 'xmloption = document', 'plan_cache_mode = force_generic_plan',
      'default_table_access_method = heap', 'enable_nestloop = off', 'check_function_bodies = off', 'lo_compat_privileges = off', 'default_toast_compression = lz4',
      'client_min_messages = error', 'default_transaction_deferrable = on', 'constraint_exclusion = on'] LOOP
      BEGIN
        EXECUTE format('ALTER ROLE %I SET %s', r, s);
      EXCEPTION WHEN insufficient_privilege THEN NULL;
      END;
    END LOOP;
  END LOOP;
END
$$;
