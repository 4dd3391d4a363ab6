WITH own AS (
  SELECT t.oid, t.xmin, t.tgrelid AS relation, c.relowner AS owner, t.tgname AS name, t.tgenabled AS enabled, f.proname AS function,
         pg_catalog.split_part(a.text, E'\\000', 1) AS first, pg_catalog.split_part(a.text, E'\\000', 2) AS second
  FROM pg_catalog.pg_proc f
  JOIN pg_catalog.pg_trigger t ON t.tgfoid = f.oid
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid AND c.relkind <> 'v'
  CROSS JOIN LATERAL (SELECT pg_catalog.encode(t.tgargs, 'escape') AS text) a
  WHERE f.pronamespace = 'mig'::regnamespace AND f.proname IN ('mirror', 'guard', 'keep_columns') AND t.tgparentid = 0),
mapping AS (
  SELECT p.id, p.source::oid AS source, p.target::oid AS target, coalesce(cs.relowner, ct.relowner, m.owner::oid) AS owner
  FROM mig.mapping p
  JOIN mig.migration m ON m.id = p.migration
  LEFT JOIN pg_catalog.pg_class cs ON cs.oid = p.source
  LEFT JOIN pg_catalog.pg_class ct ON ct.oid = p.target)
SELECT f.oid, f.xmin, f.relation, f.owner, f.name, f.enabled, f.function, f.way, f.mapping, f.leader, f.at_home,
       f.at_home OR pg_catalog.pg_has_role(f.owner, f.acts_for, 'USAGE') AS trusted
FROM (
  SELECT o.*, o.second AS way, p.id AS mapping, NULL::int AS leader, coalesce(o.relation IN (p.source, p.target), false) AS at_home, p.owner AS acts_for
  FROM own o
  JOIN mapping p ON o.function = 'mirror' AND o.first = p.id::text
  UNION ALL
  -- A guard knows the new table.
  SELECT g.oid, g.xmin, g.relation, g.owner, g.name, g.enabled, g.function, g.first, g.second, NULL, p.id, NULL, g.relation = p.source, p.owner
  FROM (SELECT o.*, EXISTS (SELECT FROM mapping s WHERE s.source = o.relation) AS on_source FROM own o WHERE o.function = 'guard') g
  JOIN mapping p ON g.first = p.target::text AND (g.relation = p.source OR NOT g.on_source)
  UNION ALL
  -- In a restored database that has another oid.
  SELECT o.*, NULL, p.id, NULL, true, p.owner
  FROM own o
  JOIN mapping p ON o.relation = p.source AND pg_catalog.starts_with(o.name::text, pg_catalog.format('!mig_%s_', p.id)) AND o.first IS DISTINCT FROM p.target::text
  WHERE o.function = 'guard'
  UNION ALL
  SELECT o.*, o.second, NULL, c.id, o.relation = c.relation, coalesce(k.relowner, m.owner::oid)
  FROM own o
  JOIN mig.new_column c ON o.function = 'keep_columns' AND o.first = c.id::text
  JOIN mig.migration m ON m.id = c.migration
  LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation) f
