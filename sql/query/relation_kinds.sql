SELECT x.relation, x.kind, x.what
FROM (
  SELECT c.oid AS relation,
         CASE WHEN c.relkind = 'p' THEN 'partitioned' WHEN c.relkind = 'f' THEN 'foreign' WHEN c.relkind IN ('v', 'm') THEN 'view' WHEN c.relkind <> 'r' THEN 'other'
           -- Object ids of what initdb makes never change (pg_am.dat).
           WHEN c.relam <> 2 THEN 'access method' WHEN child.name IS NOT NULL THEN 'parent' WHEN managed.what IS NOT NULL THEN 'managed' END AS kind,
         CASE WHEN c.relkind = 'p' THEN 'a partitioned table' WHEN c.relkind = 'f' THEN 'a foreign table' WHEN c.relkind = 'v' THEN 'a view'
           WHEN c.relkind = 'm' THEN 'a materialized view' WHEN c.relkind <> 'r' THEN 'no table'
           WHEN c.relam <> 2 THEN pg_catalog.format('a table of access method %I', (SELECT a.amname FROM pg_catalog.pg_am a WHERE a.oid = c.relam))
           WHEN child.name IS NOT NULL THEN pg_catalog.format('a table with the child %s', child.name) ELSE managed.what END AS what
  FROM pg_catalog.pg_class c
  CROSS JOIN LATERAL (SELECT min(i.inhrelid::regclass::text) AS name FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) child
  -- What PostgreSQL makes by itself are triggers of foreign keys, deferred unique keys and exclusion constraints.
  CROSS JOIN LATERAL (
    SELECT min(pg_catalog.format('a table that %s manages, as a distributed or reference table (its internal trigger calls %s)',
      coalesce('extension ' || (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass), 'something else'),
      f.oid::regprocedure)) AS what
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND t.tgisinternal
      AND NOT (f.pronamespace = 'pg_catalog'::regnamespace AND (f.proname = 'unique_key_recheck' OR f.proname ~ '^RI_FKey_'))) managed) x
WHERE x.kind IS NOT NULL
