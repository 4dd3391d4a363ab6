-- $1 oid[]: what depends on these tables, on their row types or on arrays of these, and is neither theirs nor ours. It follows the
-- table's oid and not its name. `kind` is one of pg::catalog::DependentKind.
WITH reached AS (
  SELECT 'pg_catalog.pg_class'::regclass AS class, t.oid AS object, t.oid AS relation FROM pg_catalog.unnest($1) t(oid)
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, y.oid, c.oid
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_type y ON y.oid = c.reltype OR y.oid = (SELECT e.typarray FROM pg_catalog.pg_type e WHERE e.oid = c.reltype)
  WHERE c.oid = ANY ($1)
), found AS (
  SELECT d.classid, d.objid, d.objsubid, r.relation, w.oid IS NOT NULL AS is_rule, k.contype, k.conparentid, l.oid IS NOT NULL AS is_policy,
         coalesce(w.ev_class, k.conrelid, g.tgrelid, l.polrelid, a.adrelid, i.indrelid, s.stxrelid, b.prrelid,
                  CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid END) AS holder,
         coalesce(k.conname, l.polname) AS name
  FROM reached r
  JOIN pg_catalog.pg_depend d ON d.refclassid = r.class AND d.refobjid = r.object AND d.deptype IN ('n', 'a')
  LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
  LEFT JOIN pg_catalog.pg_trigger g ON d.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = d.objid
  LEFT JOIN pg_catalog.pg_policy l ON d.classid = 'pg_catalog.pg_policy'::regclass AND l.oid = d.objid
  LEFT JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_catalog.pg_index i ON d.classid = 'pg_catalog.pg_class'::regclass AND i.indexrelid = d.objid
  LEFT JOIN pg_catalog.pg_statistic_ext s ON d.classid = 'pg_catalog.pg_statistic_ext'::regclass AND s.oid = d.objid
  LEFT JOIN pg_catalog.pg_publication_rel b ON d.classid = 'pg_catalog.pg_publication_rel'::regclass AND b.oid = d.objid
)
SELECT DISTINCT f.relation::bigint AS relation, x.kind, x.what
FROM found f
LEFT JOIN pg_catalog.pg_class h ON h.oid = f.holder
CROSS JOIN LATERAL (
  SELECT CASE WHEN f.is_rule THEN 'view' WHEN f.contype = 'f' THEN 'foreign key' WHEN f.is_policy THEN 'policy' ELSE 'dependent object' END,
         CASE WHEN f.is_rule THEN pg_catalog.format('%s %s reads %s',
                CASE h.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'a rule of' END, h.oid::regclass, f.relation::regclass)
              WHEN f.contype = 'f' THEN pg_catalog.format('foreign key %I of %s refers to %s', f.name, h.oid::regclass, f.relation::regclass)
              WHEN f.is_policy THEN pg_catalog.format('policy %I of %s reads %s', f.name, h.oid::regclass, f.relation::regclass)
              ELSE pg_catalog.format('%s uses %s', pg_catalog.pg_describe_object(f.classid, f.objid, f.objsubid), f.relation::regclass) END) x(kind, what)
WHERE (f.holder IS NULL OR f.holder <> ALL ($1))
  -- A sequence of the table's is handed over; partitions of a foreign key are its parent's.
  AND h.relkind IS DISTINCT FROM 'S' AND coalesce(f.conparentid, 0) = 0
  AND h.relnamespace IS DISTINCT FROM 'mig'::regnamespace
ORDER BY x.what
