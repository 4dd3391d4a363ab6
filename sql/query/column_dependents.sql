-- $1 oid, $2 name: what depends on a column beside its own default, indexes and constraints, and what is ours, as text.
SELECT pg_catalog.to_jsonb(x.what) FROM (
  SELECT DISTINCT CASE
    WHEN d.classid = 'pg_catalog.pg_rewrite'::regclass THEN
      (SELECT pg_catalog.format('%s %s', CASE v.relkind WHEN 'm' THEN 'materialized view' WHEN 'v' THEN 'view' ELSE 'rule of' END, v.oid::regclass)
       FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class WHERE r.oid = d.objid AND v.relnamespace <> 'mig'::regnamespace)
    WHEN d.classid = 'pg_catalog.pg_policy'::regclass THEN
      (SELECT pg_catalog.format('policy %I of %s', p.polname, p.polrelid::regclass) FROM pg_catalog.pg_policy p WHERE p.oid = d.objid)
    WHEN d.classid = 'pg_catalog.pg_trigger'::regclass THEN
      (SELECT pg_catalog.format('trigger %I of %s', t.tgname, t.tgrelid::regclass) FROM pg_catalog.pg_trigger t WHERE t.oid = d.objid AND NOT t.tgisinternal)
    WHEN d.classid = 'pg_catalog.pg_attrdef'::regclass THEN
      (SELECT pg_catalog.format('generated column %I of %s', g.attname, g.attrelid::regclass)
       FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum
       WHERE f.oid = d.objid AND g.attgenerated <> '')
    WHEN d.classid = 'pg_catalog.pg_proc'::regclass THEN pg_catalog.format('function %s', d.objid::regprocedure)
    WHEN d.classid = 'pg_catalog.pg_publication_rel'::regclass THEN 'a publication''s column list or filter'
    END AS what
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid = a.attnum) x
WHERE x.what IS NOT NULL ORDER BY 1
