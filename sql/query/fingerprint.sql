-- $1, $2 oid: source and target. Columns by position, with type, nullability and default kind; keys by position.
SELECT pg_catalog.md5(pg_catalog.string_agg(part, ';' ORDER BY side, part))
FROM (
  SELECT CASE a.attrelid WHEN $1 THEN 0 ELSE 1 END AS side,
         pg_catalog.format('c %s %s %s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated) AS part
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid IN ($1, $2) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT CASE i.indrelid WHEN $1 THEN 0 ELSE 1 END, pg_catalog.format('k %s', i.indkey)
  FROM pg_catalog.pg_index i
  WHERE i.indrelid IN ($1, $2) AND i.indisprimary
) x
