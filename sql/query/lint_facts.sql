-- What the database knows of names in a file: $1 text[] and $2 text[] schemas (null where there is none) and names of relations,
-- $3 text[] schemas to look in, in their order, $4 text[] functions, $5 text[] types; $6 text[] kinds, $7 text[] schemas and $8 text[] names of
-- what is dropped with CASCADE.
WITH RECURSIVE wanted AS (
  SELECT DISTINCT w.schema, w.name FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) w(schema, name)),
found AS (
  SELECT w.schema, w.name, c.oid, c.relkind, c.reltuples
  FROM wanted w
  CROSS JOIN LATERAL (
    SELECT c.oid, c.relkind, c.reltuples
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.unnest($3) WITH ORDINALITY p(schema, place) ON p.schema = n.nspname
    WHERE c.relname = w.name AND (n.nspname = w.schema OR w.schema IS NULL AND p.place IS NOT NULL)
    ORDER BY p.place LIMIT 1) c),
tables AS (
  SELECT f.schema, f.name,
         greatest(f.reltuples, 0)::bigint AS rows,
         CASE WHEN f.relkind IN ('r', 'm', 'i', 't') THEN pg_catalog.pg_relation_size(f.oid)
              WHEN f.relkind IN ('p', 'I') THEN (SELECT coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0) FROM pg_catalog.pg_partition_tree(f.oid) t WHERE t.isleaf)
              ELSE 0 END::bigint AS bytes,
         (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'name', a.attname, 'base', pg_catalog.format_type(a.atttypid, NULL), 'modifier', a.atttypmod, 'not_null', a.attnotnull)), '[]')
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = f.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
         (SELECT coalesce(pg_catalog.jsonb_agg(a.attname), '[]')
          FROM pg_catalog.pg_constraint o
          JOIN pg_catalog.pg_attribute a ON a.attrelid = f.oid AND o.conkey = ARRAY[a.attnum]
          WHERE o.conrelid = f.oid AND o.contype = 'c' AND o.convalidated AND NOT o.connoinherit
            AND pg_catalog.pg_get_expr(o.conbin, o.conrelid) = pg_catalog.format('(%I IS NOT NULL)', a.attname)) AS checked_not_null,
         (SELECT i.indrelid::regclass::text FROM pg_catalog.pg_index i WHERE i.indexrelid = f.oid) AS index_of,
         (SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT o.conrelid::regclass::text), '[]') FROM pg_catalog.pg_constraint o
          WHERE o.confrelid = f.oid AND o.contype = 'f' AND o.conrelid <> f.oid) AS referred_by
  FROM found f),
-- As findDependentObjects() in dependency.c goes: a column takes along what depends on that column only.
falls AS (
  SELECT w.kind, w.schema, w.name, o.classid, o.objid, 0 AS objsubid
  FROM ROWS FROM (pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)) w(kind, schema, name)
  CROSS JOIN LATERAL (
    SELECT 'function', 'pg_catalog.pg_proc'::regclass::oid, f.oid, f.pronamespace FROM pg_catalog.pg_proc f WHERE f.proname = w.name
    UNION ALL SELECT 'type', 'pg_catalog.pg_type'::regclass, t.oid, t.typnamespace FROM pg_catalog.pg_type t WHERE t.typname = w.name
    UNION ALL SELECT 'sequence', 'pg_catalog.pg_class'::regclass, c.oid, c.relnamespace FROM pg_catalog.pg_class c WHERE c.relname = w.name AND c.relkind = 'S'
    UNION ALL SELECT 'schema', 'pg_catalog.pg_namespace'::regclass, n.oid, NULL FROM pg_catalog.pg_namespace n WHERE n.nspname = w.name
    UNION ALL SELECT 'extension', 'pg_catalog.pg_extension'::regclass, e.oid, NULL FROM pg_catalog.pg_extension e WHERE e.extname = w.name) o(kind, classid, objid, namespace)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
  WHERE o.kind = w.kind AND (o.namespace IS NULL OR n.nspname = w.schema OR w.schema IS NULL AND n.nspname = ANY ($3))
  UNION
  SELECT f.kind, f.schema, f.name, d.classid, d.objid, d.objsubid
  FROM falls f
  JOIN pg_catalog.pg_depend d ON d.refclassid = f.classid AND d.refobjid = f.objid AND (f.objsubid = 0 OR d.refobjsubid = f.objsubid)),
fallen AS (
  SELECT DISTINCT f.kind, f.schema, f.name, c.oid
  FROM falls f
  LEFT JOIN pg_catalog.pg_index i ON f.classid = 'pg_catalog.pg_class'::regclass AND i.indexrelid = f.objid
  LEFT JOIN pg_catalog.pg_attrdef a ON f.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = f.objid
  LEFT JOIN pg_catalog.pg_constraint o ON f.classid = 'pg_catalog.pg_constraint'::regclass AND o.oid = f.objid
  LEFT JOIN pg_catalog.pg_trigger t ON f.classid = 'pg_catalog.pg_trigger'::regclass AND t.oid = f.objid
  LEFT JOIN pg_catalog.pg_policy p ON f.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = f.objid
  JOIN pg_catalog.pg_class c ON c.oid IN (i.indrelid, a.adrelid, o.conrelid, o.confrelid, t.tgrelid, p.polrelid)
    OR f.classid = 'pg_catalog.pg_class'::regclass AND c.oid = f.objid
  WHERE c.relkind IN ('r', 'p', 'm', 'f')),
cascades AS (
  SELECT f.kind, f.schema, f.name, pg_catalog.jsonb_agg(f.oid::regclass::text ORDER BY f.oid::regclass::text) AS tables
  FROM fallen f GROUP BY f.kind, f.schema, f.name)
SELECT pg_catalog.jsonb_build_object(
  'cascades', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c)), '[]') FROM cascades c),
  'tables', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(t)), '[]') FROM tables t),
  'volatile', (SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT p.proname), '[]') FROM pg_catalog.pg_proc p
               WHERE p.proname = ANY ($4::name[]) AND p.provolatile = 'v'),
  'coercible', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                         'from', pg_catalog.format_type(c.castsource, NULL), 'to', pg_catalog.format_type(c.casttarget, NULL))), '[]')
                FROM pg_catalog.pg_cast c WHERE c.castmethod = 'b' AND pg_catalog.cardinality($5) > 0),
  'types', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(t.typname, pg_catalog.format_type(t.oid, NULL))), '[]')
            FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
            WHERE t.typname = ANY ($5::name[]) AND n.nspname = ANY ($3)),
  'lock_timeout_ms', (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'lock_timeout'),
  'timezone_is_utc', pg_catalog.current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT'))
