-- Compares a source with its target by the text of whole rows: stricter than any operator, and nothing of ours in it.
CREATE TABLE public.projects (id int PRIMARY KEY);
INSERT INTO public.projects VALUES (7), (8);

CREATE FUNCTION public.differences(source text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  columns text;
  found bigint;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
  FROM pg_attribute WHERE attrelid = ('app.' || quote_ident(source))::regclass AND attnum > 0 AND NOT attisdropped;
  EXECUTE format('SELECT count(*) FROM ((SELECT ROW(%1$s)::text FROM app.%2$I EXCEPT ALL SELECT ROW(%1$s)::text FROM app.%3$I) '
    'UNION ALL (SELECT ROW(%1$s)::text FROM app.%3$I EXCEPT ALL SELECT ROW(%1$s)::text FROM app.%2$I)) d', columns, source, 'new_' || source)
  INTO found;
  RETURN found;
END
$$;

CREATE PROCEDURE public.clean_up() LANGUAGE plpgsql AS $$
DECLARE
  name text;
BEGIN
  -- What the application put on a new table holds it.
  FOR name IN SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'v' LOOP
    EXECUTE 'DROP VIEW app.' || name;
  END LOOP;
  IF EXISTS (SELECT FROM mig.migration WHERE phase <> 'defined') THEN
    PERFORM public.mig_rollback('case', 'defined');
  END IF;
  IF EXISTS (SELECT FROM mig.migration) THEN
    PERFORM public.mig_drop('case');
  END IF;
  SET LOCAL client_min_messages = warning;
  DROP SCHEMA app CASCADE;
END
$$;
