-- A login with a schema of its own and CREATE on the database: a trap for every operator and function that it can name, of exactly the
-- types that pg_catalog has, and of pairs that pg_catalog only has by a cast.
CREATE OR REPLACE FUNCTION pg_temp.set_traps(schema name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  f record;
  made bigint := 0;
  body CONSTANT text := 'BEGIN RAISE EXCEPTION ''trapped as %'', current_user; END';
BEGIN
  FOR f IN
    SELECT DISTINCT p.proname, oidvectortypes(p.proargtypes) AS arguments
    FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0
      AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) a(t) JOIN pg_type y ON y.oid = a.t WHERE y.typtype = 'p')
      AND p.proname !~ '^(pg_toast|binary_upgrade)'
  LOOP
    EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS boolean LANGUAGE plpgsql AS %L', schema, f.proname, f.arguments, body);
    made := made + 1;
  END LOOP;
  FOR f IN
    WITH t(type) AS (
      SELECT unnest(ARRAY['oid', 'regclass', 'regproc', 'regprocedure', 'regtype', 'regrole', 'regnamespace', 'integer', 'bigint', 'smallint', 'name', 'text',
        '"char"', 'varchar', 'jsonb', 'numeric', 'float8', 'timestamptz', 'interval', 'oidvector', 'int2vector', 'text[]', 'name[]']::text[]))
    SELECT o.name, l.type AS l, r.type AS r
    FROM unnest(ARRAY['=', '<>', '<', '>', '||', '~', '->', '->>', '+', '-', '/']) o(name), t l, t r
    WHERE NOT EXISTS (SELECT FROM pg_operator g WHERE g.oprnamespace = schema::regnamespace AND g.oprname = o.name
      AND g.oprleft = l.type::regtype AND g.oprright = r.type::regtype)
  LOOP
    IF to_regprocedure(format('%I.trap(%s, %s)', schema, f.l, f.r)) IS NULL THEN
      EXECUTE format('CREATE FUNCTION %I.trap(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L', schema, f.l, f.r, body);
    END IF;
    EXECUTE format('CREATE OPERATOR %I.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %1$I.trap)', schema, f.name, f.l, f.r);
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- What belongs to the extension refers to PostgreSQL's own objects, which pg_depend does not list, or to its own.
CREATE OR REPLACE FUNCTION pg_temp.strange() RETURNS SETOF text LANGUAGE sql AS $$
  WITH member AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE d.deptype = 'e' AND e.extname = 'pg_mig'),
  relation AS (SELECT m.objid AS oid FROM member m WHERE m.classid = 'pg_class'::regclass),
  own AS (
    SELECT classid, objid FROM member
    UNION SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN relation c ON c.oid = r.ev_class
    UNION SELECT 'pg_constraint'::regclass, o.oid FROM pg_constraint o JOIN relation c ON c.oid = o.conrelid
    UNION SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a JOIN relation c ON c.oid = a.adrelid
    UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN relation c ON c.oid = t.tgrelid
    UNION SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN relation c ON c.oid = i.indrelid
    UNION SELECT 'pg_type'::regclass, y.oid FROM pg_type y WHERE y.typrelid IN (SELECT oid FROM relation)
      OR y.typelem IN (SELECT x.oid FROM pg_type x WHERE x.typrelid IN (SELECT oid FROM relation)))
  SELECT DISTINCT format('%s -> %s', pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0))
  FROM pg_depend d JOIN own o USING (classid, objid)
  WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_class'::regclass, 'pg_cast'::regclass,
      'pg_collation'::regclass, 'pg_language'::regclass)
    AND NOT EXISTS (SELECT FROM own x WHERE x.classid = d.refclassid AND x.objid = d.refobjid)
    AND pg_describe_object(d.refclassid, d.refobjid, 0) <> 'language plpgsql'
    -- PostgreSQL's own views are not pinned.
    AND NOT EXISTS (SELECT FROM pg_class c WHERE d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid AND c.relnamespace = 'pg_catalog'::regnamespace)
$$;
