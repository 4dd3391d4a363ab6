-- What the catalogs say about a table, one fact a line: written from the documentation of pg_catalog, and owing nothing to our
-- own queries. Names of indexes, of keys and of the table itself are left out: those are new by design.
CREATE FUNCTION pg_temp.facts(t regclass) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT format('table: %s', concat_ws(', ', c.relpersistence, am.amname, pg_get_userbyid(c.relowner), c.relreplident, c.relrowsecurity, c.relforcerowsecurity,
    c.reloptions, tt.reloptions, ts.spcname, obj_description(c.oid, 'pg_class')))
    FROM pg_class c LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_class tt ON tt.oid = c.reltoastrelid LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace WHERE c.oid = t
  UNION ALL
  SELECT format('column %I: %s', a.attname, concat_ws(', ', format_type(a.atttypid, a.atttypmod), co.collname, a.attnotnull, a.attstorage, nullif(a.attcompression, ''),
    a.attstattarget, (SELECT array_agg(o) FROM unnest(a.attoptions) o WHERE o LIKE 'n\_distinct%'), a.attgenerated, col_description(t, a.attnum)))
    FROM pg_attribute a LEFT JOIN pg_collation co ON co.oid = a.attcollation WHERE a.attrelid = t AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT format('identity of %I: %s', a.attname, a.attidentity) FROM pg_attribute a WHERE a.attrelid = t AND a.attidentity <> ''
  UNION ALL
  SELECT format('default of %I: %s', a.attname, pg_get_expr(d.adbin, d.adrelid)) FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = t AND a.attnum = d.adnum WHERE d.adrelid = t
  UNION ALL
  SELECT format('grant: %s to %s by %s, option %s', x.privilege_type, x.grantee::regrole, x.grantor::regrole, x.is_grantable)
    FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x WHERE c.oid = t
  UNION ALL
  SELECT format('grant on %I: %s to %s by %s, option %s', a.attname, x.privilege_type, x.grantee::regrole, x.grantor::regrole, x.is_grantable)
    FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = t
  UNION ALL
  SELECT format('sequence of %I: %s %s', a.attname, (SELECT row(s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle) FROM pg_sequence s WHERE s.seqrelid = q.oid),
    (SELECT string_agg(format('%s to %s', x.privilege_type, x.grantee::regrole), ', ' ORDER BY 1) FROM aclexplode(coalesce(q.relacl, acldefault('s', q.relowner))) x WHERE x.grantee <> q.relowner))
    FROM pg_attribute a JOIN pg_class q ON q.oid = pg_get_serial_sequence(t::text, a.attname)::regclass WHERE a.attrelid = t AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT format('check %I: %s, %s, %s', o.conname, pg_get_constraintdef(o.oid), o.connoinherit, obj_description(o.oid, 'pg_constraint')) FROM pg_constraint o WHERE o.conrelid = t AND o.contype = 'c'
  UNION ALL
  SELECT format('key: %s, %s', pg_get_constraintdef(o.oid), obj_description(o.oid, 'pg_constraint')) FROM pg_constraint o WHERE o.conrelid = t AND o.contype IN ('p', 'u')
  UNION ALL
  SELECT format('foreign key: %s', pg_get_constraintdef(o.oid)) FROM pg_constraint o WHERE o.conrelid = t AND o.contype = 'f'
  UNION ALL
  SELECT format('index: %s, valid %s, clustered %s, replica identity %s, targets %s, %s',
    regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .* ON .* USING', 'CREATE \1INDEX USING'), i.indisvalid, i.indisclustered, i.indisreplident,
    (SELECT array_agg(a.attstattarget ORDER BY a.attnum) FILTER (WHERE a.attstattarget >= 0) FROM pg_attribute a WHERE a.attrelid = i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
    FROM pg_index i WHERE i.indrelid = t
  UNION ALL
  SELECT format('policy %I: %s, %s, %s, %s, %s, %s', p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, t), pg_get_expr(p.polwithcheck, t), obj_description(p.oid, 'pg_policy'))
    FROM pg_policy p WHERE p.polrelid = t
  UNION ALL
  SELECT format('publication %I: %s, %s', b.pubname, pg_get_expr(r.prqual, t),
    (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = t AND a.attnum = ANY (r.prattrs::int2[])))
    FROM pg_publication_rel r JOIN pg_publication b ON b.oid = r.prpubid WHERE r.prrelid = t
  UNION ALL
  SELECT format('statistics: %s', concat_ws(', ', s.stxkind, (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = t AND a.attnum = ANY (s.stxkeys)),
    nullif(pg_get_statisticsobjdef_expressions(s.oid), '{}'), nullif(s.stxstattarget, -1), obj_description(s.oid, 'pg_statistic_ext')))
    FROM pg_statistic_ext s WHERE s.stxrelid = t
  UNION ALL
  SELECT format('comment on a foreign key: %s', obj_description(o.oid, 'pg_constraint')) FROM pg_constraint o
    WHERE o.conrelid = t AND o.contype = 'f' AND obj_description(o.oid, 'pg_constraint') IS NOT NULL
  UNION ALL
  SELECT format('trigger %I: %s', g.tgname, concat_ws(', ', replace(pg_get_triggerdef(g.oid), format(' ON %s ', t), ' '), g.tgenabled, obj_description(g.oid, 'pg_trigger')))
    FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid WHERE g.tgrelid = t AND NOT g.tgisinternal AND f.pronamespace IS DISTINCT FROM to_regnamespace('mig')
  UNION ALL
  SELECT format('exclusion: %s', pg_get_constraintdef(o.oid)) FROM pg_constraint o WHERE o.conrelid = t AND o.contype = 'x'
  UNION ALL
  SELECT format('rule %I: %s', r.rulename, r.ev_enabled) FROM pg_rewrite r WHERE r.ev_class = t
  UNION ALL
  SELECT format('tablespace of an index: %s', s.spcname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_tablespace s ON s.oid = c.reltablespace WHERE i.indrelid = t
  UNION ALL
  SELECT format('table of a type: %s', c.reloftype::regtype) FROM pg_class c WHERE c.oid = t AND c.reloftype <> 0
$$;
