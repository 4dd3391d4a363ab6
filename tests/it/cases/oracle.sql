-- Compares a source with its target by the text of whole rows: stricter than any operator, and nothing of ours in it.
CREATE TABLE public.projects (id int PRIMARY KEY);
INSERT INTO public.projects VALUES (7), (8);

-- Whether a source's ids can be drawn anew: a key of one column, an integer or a uuid, that refers to nothing.
CREATE FUNCTION public.can_remap(source regclass) RETURNS boolean LANGUAGE sql AS $$
  SELECT count(*) = 1 AND bool_and(a.atttypid IN ('int'::regtype, 'bigint'::regtype, 'uuid'::regtype)
    AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = source AND f.contype = 'f' AND a.attnum = ANY (f.conkey)))
  FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) WHERE c.conrelid = source AND c.contype = 'p'
$$;

-- What the old table has for a column of row t of the new one: an id is looked up in the map of the table whose it is.
CREATE FUNCTION public.old_value(source regclass, col name, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  map int := (SELECT id FROM mig.mapping p WHERE p.source = old_value.source AND p.id_mode = 'remap');
  parent record;
BEGIN
  IF map IS NOT NULL AND EXISTS (SELECT FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
                                 WHERE c.conrelid = source AND c.contype = 'p' AND a.attname = col) THEN
    RETURN format('(SELECT %I FROM mig.m%s_map WHERE %I = %s)', 'old_' || col, map, 'new_' || col, value);
  END IF;
  SELECT f.confrelid::regclass AS relation, b.attname AS name INTO parent
  FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.conrelid AND f.conkey = ARRAY[a.attnum]
  JOIN pg_attribute b ON b.attrelid = f.confrelid AND f.confkey = ARRAY[b.attnum]
  WHERE f.conrelid = source AND f.contype = 'f' AND a.attname = col AND (f.confrelid <> source OR b.attname <> col);
  RETURN CASE WHEN parent IS NULL THEN value ELSE public.old_value(parent.relation, parent.name, value) END;
END
$$;

CREATE FUNCTION public.differences(source text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  columns text;
  olds text;
  found bigint;
  relation regclass := ('app.' || quote_ident(source))::regclass;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(public.old_value(relation, attname, 't.' || quote_ident(attname)), ', ' ORDER BY attnum)
  INTO columns, olds
  FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped;
  EXECUTE format('SELECT count(*) FROM ((SELECT ROW(%1$s)::text FROM app.%2$I EXCEPT ALL SELECT ROW(%4$s)::text FROM app.%3$I t) '
    'UNION ALL (SELECT ROW(%4$s)::text FROM app.%3$I t EXCEPT ALL SELECT ROW(%1$s)::text FROM app.%2$I)) d', columns, source, 'new_' || source, olds)
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
