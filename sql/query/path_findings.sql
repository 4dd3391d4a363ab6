-- Whose names code of others finds. $1 text[] schemas of a migration's search_path, $2 oid[] owners of its tables, $3 text the migration's name.
SELECT 'error' AS severity, 'search_path' AS check_name, NULL::bigint AS relation,
       pg_catalog.format('Schema "%s" of the migration''s search_path does not exist.', p.schema) AS detail,
       pg_catalog.format('SELECT mig_configure(%L, %L);', $3, pg_catalog.jsonb_build_object('search_path',
         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(k.schema), ', ' ORDER BY k.n) FROM pg_catalog.unnest($1) WITH ORDINALITY k(schema, n)
          JOIN pg_catalog.pg_namespace n ON n.nspname = k.schema))) AS hint
FROM pg_catalog.unnest($1) p(schema)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = p.schema)
UNION ALL
SELECT DISTINCT 'warning', 'search_path', NULL::bigint,
       pg_catalog.format('Role %s may create objects in schema %I of the migration''s search_path: where a function of the application names something without a schema, it may find them, and runs them as %s.',
         w.who, n.nspname, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner))),
       pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s; or set the option search_path.', n.nspname, w.who)
FROM pg_catalog.unnest($1) p(schema)
JOIN pg_catalog.pg_namespace n ON n.nspname = p.schema
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
CROSS JOIN LATERAL (SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) w(who)
CROSS JOIN (SELECT DISTINCT u.owner FROM pg_catalog.unnest($2) u(owner)) o
WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
  AND (a.grantee = 0 OR NOT pg_catalog.pg_has_role(a.grantee, o.owner, 'USAGE'))
UNION ALL
SELECT 'warning', 'event trigger', NULL::bigint,
       pg_catalog.format('Event trigger %I runs %s for DDL of pg_mig. What pg_mig makes in its own schema is made as the owner of the extension, and there the function finds only what it names with a schema.',
         t.evtname, f.oid::regprocedure),
       pg_catalog.format('ALTER FUNCTION %s SET search_path = %s;', f.oid::regprocedure, (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n WHERE n.oid = f.pronamespace))
FROM pg_catalog.pg_event_trigger t
JOIN pg_catalog.pg_proc f ON f.oid = t.evtfoid
JOIN pg_catalog.pg_extension x ON x.extname = 'pg_mig'
JOIN pg_catalog.pg_language l ON l.oid = f.prolang AND l.lanname NOT IN ('c', 'internal')
WHERE t.evtenabled <> 'D' AND NOT pg_catalog.pg_has_role(session_user, x.extowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) c(setting) WHERE pg_catalog.starts_with(c.setting, 'search_path='))
ORDER BY 1, 4
