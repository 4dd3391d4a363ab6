-- Everything that belongs to the extension, one fact a line: columns, views, functions, rights, comments, what is dumped.
CREATE OR REPLACE FUNCTION pg_temp.facts() RETURNS SETOF text LANGUAGE sql AS $$
  WITH member AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE d.deptype = 'e' AND e.extname = 'pg_mig'),
  relation AS (SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid)
  SELECT format('extension: %s', e.extversion) FROM pg_extension e WHERE e.extname = 'pg_mig'
  UNION ALL
  SELECT format('member: %s', pg_describe_object(m.classid, m.objid, 0)) FROM member m
  UNION ALL
  SELECT format('dumped: %s %s', e.extconfig[n]::regclass, e.extcondition[n]) FROM pg_extension e, generate_subscripts(e.extconfig, 1) n WHERE e.extname = 'pg_mig'
  UNION ALL
  SELECT format('column %s.%s: %s', c.oid::regclass, a.attname, concat_ws(', ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)))
    FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  UNION ALL
  SELECT format('relation %s: %s %s', c.oid::regclass, c.relkind, obj_description(c.oid, 'pg_class')) FROM relation c
  UNION ALL
  SELECT format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM relation c WHERE c.relkind = 'v'
  UNION ALL
  SELECT format('constraint %s of %s: %s', o.conname, c.oid::regclass, pg_get_constraintdef(o.oid)) FROM relation c JOIN pg_constraint o ON o.conrelid = c.oid
  UNION ALL
  SELECT format('index: %s', pg_get_indexdef(i.indexrelid)) FROM relation c JOIN pg_index i ON i.indrelid = c.oid
  UNION ALL
  SELECT format('trigger: %s', pg_get_triggerdef(t.oid)) FROM relation c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
  UNION ALL
  -- Whoever granted it.
  SELECT format('grant on %s: %s to %s, option %s', c.oid::regclass, x.privilege_type, x.grantee::regrole, bool_or(x.is_grantable))
    FROM relation c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) x
    GROUP BY c.oid, x.privilege_type, x.grantee
  UNION ALL
  SELECT format('function: %s, %s', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'))
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
  UNION ALL
  SELECT format('grant on %s: %s to %s, option %s', p.oid::regprocedure, x.privilege_type, x.grantee::regrole, bool_or(x.is_grantable))
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
    GROUP BY p.oid, x.privilege_type, x.grantee
$$;
