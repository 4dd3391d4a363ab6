-- $1 oid: foreign keys of a table, and whose table each refers to. The operators and types are that table's own.
SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname) AS parent, c.relowner::bigint AS owner,
  (SELECT jsonb_agg(jsonb_build_object(
     'columns', jsonb_build_object('child', ca.attname, 'parent', pa.attname,
       'equals', (SELECT jsonb_build_object('schema', opn.nspname, 'name', op.oprname)
                  FROM pg_catalog.pg_operator op JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
                  WHERE op.oid = co.conppeqop[k.i])),
     'type', pg_catalog.format_type(pa.atttypid, pa.atttypmod)) ORDER BY k.i)
   FROM generate_subscripts(co.conkey, 1) k(i)
   JOIN pg_catalog.pg_attribute ca ON ca.attrelid = co.conrelid AND ca.attnum = co.conkey[k.i]
   JOIN pg_catalog.pg_attribute pa ON pa.attrelid = co.confrelid AND pa.attnum = co.confkey[k.i]) AS pairs
FROM pg_catalog.pg_constraint co
JOIN pg_catalog.pg_class c ON c.oid = co.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE co.conrelid = $1 AND co.contype = 'f' AND co.conparentid = 0
ORDER BY co.oid
