-- $1 oid[]: relations, each as one JSON document (model::shape::Shape); no row for one that does not exist.
-- Texts from pg_get_*() come out fully qualified, because search_path is pinned by the caller.
SELECT jsonb_build_object(
  'oid', c.oid::bigint,
  'name', jsonb_build_object('schema', CASE c.relpersistence WHEN 't' THEN 'pg_temp' ELSE n.nspname END, 'name', c.relname),
  'kind', c.relkind,
  'persistence', c.relpersistence,
  'is_partition', c.relispartition,
  'is_catalog', n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'mig'),
  'owner', c.relowner::bigint,
  'owner_name', r.rolname,
  'rls', c.relrowsecurity,
  'force_rls', c.relforcerowsecurity,
  'replica_identity', c.relreplident,
  'options', coalesce(to_jsonb(c.reloptions), '[]') || coalesce((
    SELECT jsonb_agg('toast.' || o) FROM pg_catalog.pg_class tt, unnest(tt.reloptions) o WHERE tt.oid = c.reltoastrelid), '[]'),
  'comment', obj_description(c.oid, 'pg_class'),
  -- A table that was never analyzed is guessed at 100 rows a block.
  'est_rows', CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint
    WHEN c.relkind = 'r' THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint * 100
    ELSE 0 END,
  'bytes', CASE WHEN c.relkind IN ('r', 'p', 'm') THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END,
  'columns', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', a.attname,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'not_null', a.attnotnull,
      'default', CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
      'generated', CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
      'identity', CASE WHEN a.attidentity <> '' THEN (
        SELECT jsonb_build_object('schema', sn.nspname, 'name', s.relname)
        FROM pg_catalog.pg_depend dep
        JOIN pg_catalog.pg_class s ON s.oid = dep.objid AND s.relkind = 'S'
        JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
        WHERE dep.classid = 'pg_class'::regclass AND dep.refclassid = 'pg_class'::regclass
          AND dep.refobjid = c.oid AND dep.refobjsubid = a.attnum AND dep.deptype = 'i') END,
      'always_identity', a.attidentity = 'a',
      'collation', CASE WHEN a.attcollation <> t.typcollation THEN (
        SELECT jsonb_build_object('schema', cn.nspname, 'name', co.collname)
        FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
        WHERE co.oid = a.attcollation) END,
      'storage', CASE WHEN a.attstorage <> t.typstorage THEN
        CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
      'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
      'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
      -- Other options are the server's own.
      'options', (SELECT coalesce(jsonb_agg(o), '[]') FROM unnest(a.attoptions) o WHERE o LIKE 'n_distinct%'),
      'comment', pg_catalog.col_description(c.oid, a.attnum),
      -- hash_record_extended() refuses types without a hash function; a container or domain is as good as its element.
      -- Equal values may look different (1.0 and 1.00) unless the type's B-tree operator class says that they never do
      -- (the manual's "B-Tree Support Functions", equalimage).
      'compare', CASE WHEN hash.opcfamily IS NULL THEN 'text'
        WHEN EXISTS (
          SELECT FROM pg_catalog.pg_amproc ap
          WHERE ap.amprocfamily = btree.opcfamily AND ap.amproclefttype = btree.opcintype
            AND ap.amprocrighttype = btree.opcintype AND ap.amprocnum = 4
            AND (ap.amproc = 'btequalimage'::regproc OR ap.amproc = 'btvarstrequalimage'::regproc AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_collation co WHERE co.oid = a.attcollation AND NOT co.collisdeterministic)))
          THEN 'image' ELSE 'value' END) ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attribute a
    JOIN (SELECT ty.*, coalesce(nullif(ty.typbasetype, 0), ty.oid) AS base FROM pg_catalog.pg_type ty) t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN LATERAL (
      SELECT oc.opcfamily, oc.opcintype FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod
      WHERE am.amname = 'hash' AND oc.opcdefault
        AND (oc.opcintype = t.base OR t.typtype = 'e' AND oc.opcintype = 'anyenum'::regtype
          OR EXISTS (SELECT FROM pg_catalog.pg_cast ca WHERE ca.castsource = t.base
               AND ca.casttarget = oc.opcintype AND ca.castmethod = 'b' AND ca.castcontext = 'i'))
      ORDER BY oc.opcintype = t.base DESC LIMIT 1) hash ON true
    LEFT JOIN LATERAL (
      SELECT oc.opcfamily, oc.opcintype FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod
      WHERE am.amname = 'btree' AND oc.opcdefault
        AND (oc.opcintype = t.base OR t.typtype = 'e' AND oc.opcintype = 'anyenum'::regtype
          OR EXISTS (SELECT FROM pg_catalog.pg_cast ca WHERE ca.castsource = t.base
               AND ca.casttarget = oc.opcintype AND ca.castmethod = 'b' AND ca.castcontext = 'i'))
      ORDER BY oc.opcintype = t.base DESC LIMIT 1) btree ON true
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'indexes', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', ic.relname,
      'primary', i.indisprimary,
      'unique', i.indisunique,
      'exclusion', i.indisexclusion,
      'valid', i.indisvalid,
      'constraint', coalesce(co.contype, 'x') <> 'x',
      'operators', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('schema', opn.nspname, 'name', op.oprname) ORDER BY k.n), '[]')
        FROM unnest(co.conexclop) WITH ORDINALITY k(num, n)
        JOIN pg_catalog.pg_operator op ON op.oid = k.num
        JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace),
      'deferrable', coalesce(co.condeferrable, false),
      'initially_deferred', coalesce(co.condeferred, false),
      'method', am.amname,
      'columns', (
        SELECT jsonb_agg(jsonb_build_object(
          'name', ia.attname,
          'text', pg_catalog.pg_get_indexdef(i.indexrelid, k.n::int, false),
          'suffix', concat_ws(' ',
            CASE WHEN cl.oid IS NOT NULL AND cl.oid <> coalesce(ia.attcollation, cl.oid)
              THEN format('COLLATE %I.%I', (SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = cl.collnamespace), cl.collname) END,
            CASE WHEN NOT oc.opcdefault OR xa.attoptions IS NOT NULL
              THEN concat_ws(' ', format('%I.%I', (SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = oc.opcnamespace), oc.opcname),
                (SELECT format('(%s)', string_agg(format('%I = %L', o.option_name, o.option_value), ', ')) FROM pg_catalog.pg_options_to_table(xa.attoptions) o
                 HAVING count(*) > 0)) END,
            CASE WHEN am.amname = 'btree' THEN nullif(
              CASE i.indoption[k.n - 1]::int & 3
                WHEN 1 THEN 'DESC NULLS LAST' WHEN 2 THEN 'NULLS FIRST' WHEN 3 THEN 'DESC' ELSE '' END, '') END),
          'equals', (
            SELECT jsonb_build_object('schema', opn.nspname, 'name', op.oprname)
            FROM pg_catalog.pg_amop ao
            JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
            JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
            WHERE ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
              AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype AND am.amname = 'btree'))
          ORDER BY k.n)
        FROM generate_series(1, i.indnkeyatts) k(n)
        JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[k.n - 1]
        LEFT JOIN pg_catalog.pg_collation cl ON cl.oid = i.indcollation[k.n - 1]
        LEFT JOIN pg_catalog.pg_attribute xa ON xa.attrelid = i.indexrelid AND xa.attnum = k.n
        LEFT JOIN pg_catalog.pg_attribute ia ON ia.attrelid = c.oid AND ia.attnum = i.indkey[k.n - 1] AND ia.attnum > 0),
      'include', (
        SELECT coalesce(jsonb_agg(ia.attname ORDER BY k.n), '[]')
        FROM generate_series(i.indnkeyatts + 1, i.indnatts) k(n)
        JOIN pg_catalog.pg_attribute ia ON ia.attrelid = c.oid AND ia.attnum = i.indkey[k.n - 1]),
      'predicate', pg_catalog.pg_get_expr(i.indpred, i.indrelid),
      -- A reference to the row itself, which is of the table's type.
      'whole_row', concat(i.indexprs, i.indpred) LIKE '%:varattno 0 %',
      'options', coalesce(to_jsonb(ic.reloptions), '[]'),
      'comment', coalesce(obj_description(co.oid, 'pg_constraint'), obj_description(i.indexrelid, 'pg_class')),
      'statistics', (
        SELECT coalesce(jsonb_agg(jsonb_build_array(ia.attnum, ia.attstattarget) ORDER BY ia.attnum), '[]')
        FROM pg_catalog.pg_attribute ia WHERE ia.attrelid = i.indexrelid AND ia.attstattarget >= 0),
      -- indnullsnotdistinct came with PostgreSQL 15.
      'nulls_not_distinct', coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false))
      ORDER BY i.indexrelid), '[]')
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_am am ON am.oid = ic.relam
    LEFT JOIN pg_catalog.pg_constraint co ON co.conindid = i.indexrelid AND co.conrelid = c.oid AND co.contype IN ('p', 'u', 'x')
    -- What is dropped meanwhile has no text any more: those functions look at the catalog as it is now.
    WHERE i.indrelid = c.oid AND pg_catalog.pg_get_indexdef(i.indexrelid) IS NOT NULL),
  'checks', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', co.conname,
      'definition', pg_catalog.pg_get_constraintdef(co.oid),
      'comment', obj_description(co.oid, 'pg_constraint'),
      'whole_row', co.conbin::text LIKE '%:varattno 0 %',
      'mutable', co.conbin::text LIKE '%{SQLVALUEFUNCTION%' OR EXISTS (
        SELECT FROM pg_catalog.regexp_matches(co.conbin::text, ':(?:op)?funcid ([0-9]+)', 'g') m
        JOIN pg_catalog.pg_proc f ON f.oid = m[1]::oid WHERE f.provolatile <> 'i'),
      'columns', (SELECT coalesce(jsonb_agg(a.attname), '[]') FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum = ANY (co.conkey))) ORDER BY co.conname), '[]')
    FROM pg_catalog.pg_constraint co WHERE co.conrelid = c.oid AND co.contype = 'c' AND pg_catalog.pg_get_constraintdef(co.oid) IS NOT NULL),
  'fkeys', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', co.conname,
      'columns', (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM unnest(co.conkey) WITH ORDINALITY k(num, n)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = co.conrelid AND a.attnum = k.num),
      'ref_oid', co.confrelid::bigint,
      'ref_name', (SELECT jsonb_build_object('schema', rn.nspname, 'name', rc.relname)
                   FROM pg_catalog.pg_class rc JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace WHERE rc.oid = co.confrelid),
      'validated', co.convalidated,
      'deferrable', co.condeferrable,
      'initially_deferred', co.condeferred,
      'match_full', co.confmatchtype = 'f' AND pg_catalog.cardinality(co.conkey) > 1,
      'comment', obj_description(co.oid, 'pg_constraint'),
      'enforced', NOT EXISTS (SELECT FROM pg_catalog.pg_trigger tg WHERE tg.tgconstraint = co.oid AND tg.tgenabled = 'D'),
      'equals', (SELECT jsonb_agg(jsonb_build_object('schema', opn.nspname, 'name', op.oprname) ORDER BY k.n)
                 FROM unnest(co.conpfeqop) WITH ORDINALITY k(num, n)
                 JOIN pg_catalog.pg_operator op ON op.oid = k.num
                 JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace),
      'ref_columns', (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM unnest(co.confkey) WITH ORDINALITY k(num, n)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = co.confrelid AND a.attnum = k.num),
      'on_delete', co.confdeltype,
      'on_update', co.confupdtype,
      -- confdelsetcols came with PostgreSQL 15.
      'set_columns', (SELECT coalesce(jsonb_agg(a.attname), '[]') FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = c.oid AND to_jsonb(co)->'confdelsetcols' @> to_jsonb(a.attnum)))
      -- In the order in which a row's keys are checked, which is that of the names of their triggers: parents are locked in it.
      ORDER BY (SELECT min(tg.tgname::text COLLATE "C") FROM pg_catalog.pg_trigger tg WHERE tg.tgconstraint = co.oid AND tg.tgrelid = c.oid), co.conname), '[]')
    FROM pg_catalog.pg_constraint co
    WHERE co.conrelid = c.oid AND co.contype = 'f' AND co.conparentid = 0),
  'policies', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', p.polname,
      'comment', obj_description(p.oid, 'pg_policy'),
      'permissive', p.polpermissive,
      'command', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
      'roles', (SELECT jsonb_agg(CASE WHEN m = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(m)) END) FROM unnest(p.polroles) m),
      'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
      'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
      'columns', (SELECT coalesce(jsonb_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum))) ORDER BY p.polname), '[]')
    FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  -- The application's; internal ones belong to constraints, those of schema mig are ours.
  'triggers', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', t.tgname,
      'type', t.tgtype,
      'enabled', t.tgenabled,
      'constraint', t.tgconstraint <> 0,
      'from', CASE WHEN t.tgconstrrelid <> 0 THEN (
        SELECT jsonb_build_object('schema', fn.nspname, 'name', fc.relname)
        FROM pg_catalog.pg_class fc JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace WHERE fc.oid = t.tgconstrrelid) END,
      'deferrable', t.tgdeferrable,
      'initially_deferred', t.tginitdeferred,
      'update_columns', (SELECT coalesce(jsonb_agg(a.attname ORDER BY k.n), '[]') FROM unnest(t.tgattr) WITH ORDINALITY k(num, n)
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num),
      -- Those of UPDATE OF and of WHEN.
      'columns', (SELECT coalesce(jsonb_agg(DISTINCT a.attname), '[]') FROM pg_catalog.pg_depend d
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
                    AND d.refobjid = c.oid AND d.refobjsubid > 0),
      'old_table', t.tgoldtable,
      'new_table', t.tgnewtable,
      'condition', t.tgqual::text,
      'function', jsonb_build_object('schema', fn.nspname, 'name', f.proname),
      'arguments', encode(t.tgargs, 'hex'),
      'source_text', f.prosrc,
      'may_call', pg_catalog.has_function_privilege(c.relowner, t.tgfoid, 'EXECUTE'),
      'comment', obj_description(t.oid, 'pg_trigger')) ORDER BY t.tgname), '[]')
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
    WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgparentid = 0 AND fn.nspname <> 'mig'),
  'grants', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END,
      'privilege', x.privilege_type, 'grantable', x.is_grantable, 'column', x.attname)
      ORDER BY x.attname NULLS FIRST, x.grantee, x.privilege_type), '[]')
    FROM (
      SELECT e.grantee, e.privilege_type, e.is_grantable, NULL::name AS attname
      FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e
      UNION ALL
      SELECT e.grantee, e.privilege_type, e.is_grantable, a.attname
      FROM pg_catalog.pg_attribute a, aclexplode(a.attacl) e
      WHERE a.attrelid = c.oid AND NOT a.attisdropped) x),
  'publications', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', p.pubname,
      'mine', pg_catalog.pg_has_role(p.pubowner, 'USAGE'),
      -- Lists of columns and filters came with PostgreSQL 15.
      'columns', (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND to_jsonb(pr)->'prattrs' @> to_jsonb(a.attnum)),
      'filter', (SELECT to_jsonb(v)->>'rowfilter' FROM pg_catalog.pg_publication_tables v
                 WHERE v.pubname = p.pubname AND v.schemaname = n.nspname AND v.tablename = c.relname)) ORDER BY p.pubname), '[]')
    FROM pg_catalog.pg_publication_rel pr JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid
    WHERE pr.prrelid = c.oid),
  -- Over plain columns only; kinds as CREATE STATISTICS names them.
  'statistics', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'columns', (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM unnest(st.stxkeys) WITH ORDINALITY k(num, n)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num),
      'kinds', (SELECT jsonb_agg(CASE k WHEN 'd' THEN 'ndistinct' WHEN 'f' THEN 'dependencies' ELSE 'mcv' END) FROM unnest(st.stxkind) k),
      'target', (SELECT st.stxstattarget WHERE st.stxstattarget >= 0),
      'comment', obj_description(st.oid, 'pg_statistic_ext')) ORDER BY st.stxname), '[]')
    FROM pg_catalog.pg_statistic_ext st WHERE st.stxrelid = c.oid AND NOT 'e' = ANY (st.stxkind))
) AS doc
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.oid = ANY ($1::oid[])
