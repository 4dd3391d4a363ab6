-- $1 source, $2 target, $3 and $4 text[] key columns of each, in one order: columns for which each table draws from a
-- sequence of its own. identity: whether the target's is an identity column.
WITH drawn AS (
  SELECT a.attrelid AS relation, a.attname AS name, a.attidentity <> '' AS identity, c.oid::regclass AS sequence
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
      AND d.refobjsubid = a.attnum AND d.deptype = 'i'
    OR d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_catalog.pg_class c ON c.oid = CASE d.deptype WHEN 'i' THEN d.objid ELSE d.refobjid END AND c.relkind = 'S'
  WHERE a.attrelid IN ($1, $2) AND NOT a.attisdropped)
SELECT t.name AS column, s.sequence::text AS source_sequence, t.identity
FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) k(source_column, target_column)
JOIN drawn s ON s.relation = $1 AND s.name = k.source_column
JOIN drawn t ON t.relation = $2 AND t.name = k.target_column
WHERE s.sequence <> t.sequence
