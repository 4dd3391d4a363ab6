-- $1 oid[]: what depends on these tables and is neither theirs nor ours: views, rules, and foreign keys and policies of other
-- tables.
SELECT what FROM (
  SELECT DISTINCT pg_catalog.format('%s %s reads %s',
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'a rule of' END, c.oid::regclass, d.refobjid::regclass) AS what
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
  JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1) AND c.oid <> ALL ($1)
    AND c.relnamespace <> 'mig'::regnamespace
  UNION ALL
  SELECT DISTINCT pg_catalog.format('policy %I of %s reads %s', l.polname, l.polrelid::regclass, d.refobjid::regclass)
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_policy l ON d.classid = 'pg_policy'::regclass AND l.oid = d.objid
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1) AND l.polrelid <> ALL ($1)
  UNION ALL
  SELECT pg_catalog.format('foreign key %I of %s refers to %s', k.conname, k.conrelid::regclass, k.confrelid::regclass)
  FROM pg_catalog.pg_constraint k
  WHERE k.contype = 'f' AND k.confrelid = ANY ($1) AND k.conrelid <> ALL ($1) AND k.conparentid = 0) x
ORDER BY what
