-- $1 source, $2 target: sequences that a column of the source owns and that a default of the target draws from. identity is
-- the source column's, empty for a plain default.
SELECT sa.attname AS source_column, ta.attname AS target_column,
       pg_catalog.jsonb_build_object('schema', n.nspname, 'name', s.relname) AS sequence, sa.attidentity AS identity,
       pg_catalog.format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s', q.seqincrement, q.seqmin, q.seqmax,
         q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options
FROM pg_catalog.pg_depend own
JOIN pg_catalog.pg_class s ON s.oid = own.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
JOIN pg_catalog.pg_attribute sa ON sa.attrelid = own.refobjid AND sa.attnum = own.refobjsubid
JOIN pg_catalog.pg_depend drawn ON drawn.refclassid = 'pg_class'::regclass AND drawn.refobjid = s.oid AND drawn.classid = 'pg_attrdef'::regclass
JOIN pg_catalog.pg_attrdef d ON d.oid = drawn.objid AND d.adrelid = $2
JOIN pg_catalog.pg_attribute ta ON ta.attrelid = d.adrelid AND ta.attnum = d.adnum
WHERE own.classid = 'pg_class'::regclass AND own.refclassid = 'pg_class'::regclass AND own.refobjid = $1 AND own.deptype IN ('a', 'i')
ORDER BY ta.attnum
