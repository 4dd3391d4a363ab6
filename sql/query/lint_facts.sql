-- What the database knows of names in a file: $1 text[] and $2 text[] schemas (null where there is none) and names of relations,
-- $3 text[] schemas to look in, in their order, $4 text[] functions, $5 text[] types.
WITH wanted AS (
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
  FROM found f)
SELECT pg_catalog.jsonb_build_object(
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
