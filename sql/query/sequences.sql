-- $1 oid: columns of a table that draw from a sequence which the current role may read, by default or as an identity.
SELECT a.attname AS "column", n.nspname AS schema, c.relname AS name, s.seqincrement > 0 AS ascending
FROM pg_catalog.pg_attribute a
JOIN LATERAL (
  SELECT d.refobjid AS sequence FROM pg_catalog.pg_attrdef ad
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid AND d.refclassid = 'pg_class'::regclass
  WHERE ad.adrelid = a.attrelid AND ad.adnum = a.attnum
  UNION
  SELECT d.objid FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
    AND d.refobjsubid = a.attnum AND d.deptype = 'i') f ON true
JOIN pg_catalog.pg_sequence s ON s.seqrelid = f.sequence
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  AND pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT')
ORDER BY a.attnum
