-- What an operator reads. Every view shows what is the reader's: migrations of roles that the reader is a member of, or all of them to members
-- of pg_monitor. Texts that may name a row (problem, error, waiting_for) are for members of the owner alone. security_barrier: no
-- condition of the reader's is evaluated for a row that the reader may not see.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE VIEW mig.visible WITH (security_barrier) AS
SELECT m.id, m.name, m.owner, m.phase, m.state, m.drain, m.since, mine.is AS mine, hidden.text AS hidden,
       CASE WHEN mine.is OR m.problem ~ '^detached by mig_detach' THEN m.problem WHEN m.problem IS NOT NULL THEN hidden.text END AS problem
FROM mig.migration m
CROSS JOIN LATERAL (SELECT pg_catalog.pg_has_role(m.owner::oid, 'USAGE') AS is) mine
CROSS JOIN LATERAL (SELECT pg_catalog.format('for members of role %s to read', m.owner) AS text) hidden
WHERE mine.is OR pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE');
COMMENT ON VIEW mig.visible IS 'The migrations that the reader may know of: those of roles that the reader is a member of, or all of them for members of pg_monitor.';

CREATE VIEW mig.tables WITH (security_barrier) AS
SELECT m.name AS migration, p.ordinal, p.source,
       coalesce(p.target::text, pg_catalog.quote_ident(p.target_schema) || '.' || pg_catalog.quote_ident(p.target_name)) AS target,
       p.target AS target_relation, p.adopted, p.id_mode,
       p.copied, p.rows_done, p.rows_total, p.next_block, p.bound_blocks,
       CASE WHEN p.layout IS NOT NULL THEN 'mig.m' || p.id || '_forward' END AS mapping_view,
       CASE WHEN p.layout->'drawn' <> 'null' THEN 'mig.m' || p.id || '_map' END AS id_map
FROM mig.mapping p JOIN mig.visible m ON m.id = p.migration;
COMMENT ON VIEW mig.tables IS 'Every mapping: source, target, checkpoint.';

-- For other views alone, as mig.kinds is. Our triggers, wherever they are: by their functions and arguments, never by a name or a table that was
-- kept. Those of views stay with the views.
CREATE VIEW mig.triggers AS
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
  LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation) f;
COMMENT ON VIEW mig.triggers IS 'Our triggers on tables, wherever they are, and the mapping or column that their arguments name. trusted: the owner of the table may act for the owner of the mapping''s.';

-- The same text is asked for preflight.
CREATE VIEW mig.kinds AS
SELECT x.relation, x.kind, x.what
FROM (
  SELECT c.oid AS relation,
         CASE WHEN c.relkind = 'p' THEN 'partitioned' WHEN c.relkind = 'f' THEN 'foreign' WHEN c.relkind IN ('v', 'm') THEN 'view' WHEN c.relkind <> 'r' THEN 'other'
           -- Object ids of what initdb makes never change (pg_am.dat).
           WHEN c.relam <> 2 THEN 'access method' WHEN child.name IS NOT NULL THEN 'parent' WHEN managed.what IS NOT NULL THEN 'managed' END AS kind,
         CASE WHEN c.relkind = 'p' THEN 'a partitioned table' WHEN c.relkind = 'f' THEN 'a foreign table' WHEN c.relkind = 'v' THEN 'a view'
           WHEN c.relkind = 'm' THEN 'a materialized view' WHEN c.relkind <> 'r' THEN 'no table'
           WHEN c.relam <> 2 THEN pg_catalog.format('a table of access method %I', (SELECT a.amname FROM pg_catalog.pg_am a WHERE a.oid = c.relam))
           WHEN child.name IS NOT NULL THEN pg_catalog.format('a table with the child %s', child.name) ELSE managed.what END AS what
  FROM pg_catalog.pg_class c
  CROSS JOIN LATERAL (SELECT min(i.inhrelid::regclass::text) AS name FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) child
  -- What PostgreSQL makes by itself are triggers of foreign keys, deferred unique keys and exclusion constraints.
  CROSS JOIN LATERAL (
    SELECT min(pg_catalog.format('a table that %s manages, as a distributed or reference table (its internal trigger calls %s)',
      coalesce('extension ' || (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass), 'something else'),
      f.oid::regprocedure)) AS what
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND t.tgisinternal
      AND NOT (f.pronamespace = 'pg_catalog'::regnamespace AND (f.proname = 'unique_key_recheck' OR f.proname ~ '^RI_FKey_'))) managed) x
WHERE x.kind IS NOT NULL;
COMMENT ON VIEW mig.kinds IS 'Relations that are no ordinary tables, and what they are: not supported as a side of a migration.';

-- Columns by position with type, nullability and kind, and the key, of source and target. An UPDATE of pg_trigger
-- (DISABLE and ENABLE) leaves a row with another xmin, so a gap in the mirror shows even after it was closed again.
CREATE VIEW mig.standing WITH (security_barrier) AS
SELECT p.migration AS migration_id, p.id AS mapping, p.source, p.target, p.target_schema, p.target_name, p.layout IS NOT NULL AS created,
       p.layout->'back' <> 'null' AS goes_back,
       p.fingerprint AS fingerprint_then, f.fingerprint, p.seal,
       pg_catalog.format('%s/%s', (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c),
         (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS place,
       p.mirrors AS mirrors_then, t.triggers, t.mirrors, t.states, t.elsewhere, m.phase, p.known_schema, p.known_name
FROM mig.mapping p
JOIN mig.visible m ON m.id = p.migration
LEFT JOIN (
  SELECT t.mapping, pg_catalog.string_agg(pg_catalog.format('%s:%s:%s', t.oid, t.xmin, t.enabled), ' ' ORDER BY t.name) FILTER (WHERE t.at_home) AS triggers,
         pg_catalog.array_agg(t.name ORDER BY t.name) FILTER (WHERE t.at_home) AS mirrors,
         pg_catalog.array_agg(t.enabled ORDER BY t.name) FILTER (WHERE t.at_home) AS states,
         pg_catalog.string_agg(pg_catalog.format('%I on %s', t.name, t.relation::regclass), ', ' ORDER BY t.relation::regclass::text, t.name) FILTER (WHERE t.trusted AND NOT t.at_home) AS elsewhere
  FROM mig.triggers t GROUP BY t.mapping) t ON t.mapping = p.id
CROSS JOIN LATERAL (
  SELECT pg_catalog.string_agg(side.digest, ' ' ORDER BY side.n) AS fingerprint
  FROM (
    SELECT r.n, pg_catalog.md5(pg_catalog.string_agg(x.part, ';' ORDER BY x.part)) AS digest
    FROM (VALUES (1, p.source), (2, p.target)) r(n, relation)
    CROSS JOIN LATERAL (
      SELECT pg_catalog.format('c %s %s %s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated) AS part
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.relation AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
      SELECT pg_catalog.format('k %s', i.indkey) FROM pg_catalog.pg_index i WHERE i.indrelid = r.relation AND i.indisprimary) x
    GROUP BY r.n) side) f;
COMMENT ON VIEW mig.standing IS 'What tables and mirrors are now, to be compared with what mig.mapping keeps.';

CREATE VIEW mig.drift WITH (security_barrier) AS
SELECT p.migration_id, p.mapping, p.source, d.kind, d.what
FROM mig.standing p
LEFT JOIN pg_catalog.pg_class cs ON cs.oid = p.source
LEFT JOIN pg_catalog.pg_class ct ON ct.oid = p.target
-- Other tables under the names of ours (a view may stand in for one). Once both sides are live, the new table may have the old one's name.
CROSS JOIN LATERAL (
  SELECT max(o.relation) FILTER (WHERE o.n = 1) AS source, max(o.relation) FILTER (WHERE o.n = 2) AS target
  FROM (
    SELECT w.n, c.oid AS relation
    FROM (VALUES (1, p.known_schema, p.known_name, p.source::oid), (2, p.target_schema, p.target_name, p.target::oid)) w(n, nspname, relname, ours)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname AND c.relkind IN ('r', 'p', 'f')
    WHERE p.phase IN ('created', 'dual_write', 'backfilled', 'switched', 'stopped') AND c.oid <> w.ours
      AND (p.phase NOT IN ('switched', 'stopped') OR c.oid NOT IN (p.source, p.target))) o) taken
CROSS JOIN LATERAL (
  SELECT 'gone', CASE WHEN taken.source IS NULL THEN pg_catalog.format('the old table of %I.%I is gone', p.target_schema, p.target_name)
    ELSE pg_catalog.format('the old table of %I.%I was replaced: %s is another table now', p.target_schema, p.target_name, taken.source::regclass) END
  WHERE cs.oid IS NULL
  UNION ALL
  SELECT 'gone', CASE WHEN taken.target IS NULL THEN pg_catalog.format('table %I.%I, the target of %s, is gone', p.target_schema, p.target_name, p.source)
    ELSE pg_catalog.format('the target of %s was replaced: %s is another table now', p.source, taken.target::regclass) END
  WHERE p.target IS NOT NULL AND ct.oid IS NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('the old table of %I.%I was replaced: it is %s, and %s is another table now', p.target_schema, p.target_name, p.source, taken.source::regclass)
  WHERE cs.oid IS NOT NULL AND taken.source IS NOT NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('the target of %s was replaced: it is %s, and %s is another table now', p.source, p.target, taken.target::regclass)
  WHERE ct.oid IS NOT NULL AND taken.target IS NOT NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('view mig.m%s_%s, which says what a row of %s is, is gone', p.mapping, v.way, v.relation)
  FROM (VALUES ('forward', p.created, p.target), ('reverse', p.goes_back, p.source)) v(way, wanted, relation)
  LEFT JOIN pg_catalog.pg_class cv ON cv.relnamespace = 'mig'::regnamespace AND cv.relname = 'm' || p.mapping || '_' || v.way
  WHERE v.wanted AND cv.oid IS NULL AND cs.oid IS NOT NULL AND ct.oid IS NOT NULL
  UNION ALL
  SELECT 'shape', pg_catalog.format('columns or key of %s changed since mig_create', w.relation)
  FROM (VALUES (1, p.source), (2, p.target)) w(n, relation)
  WHERE cs.oid IS NOT NULL AND ct.oid IS NOT NULL
    AND pg_catalog.split_part(p.fingerprint_then, ' ', w.n) <> pg_catalog.split_part(p.fingerprint, ' ', w.n)
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s has the child %s, whose rows fire no trigger of it', p.source, i.inhrelid::regclass)
  FROM pg_catalog.pg_inherits i WHERE i.inhparent = p.source
  UNION ALL
  -- From "stopped" on nothing of ours hangs on them.
  SELECT 'shape', pg_catalog.format('%s is %s now', k.relation::regclass, k.what)
  FROM (
    SELECT w.relation, true FROM (VALUES (p.source::oid), (p.target::oid)) w(relation)
    UNION
    SELECT m.scope_table::oid, false FROM mig.migration m WHERE m.id = p.migration_id
    UNION
    SELECT c.oid, false
    FROM mig.mapping o
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(o.layout->'fkeys') f(one)
    JOIN pg_catalog.pg_namespace n ON n.nspname = f.one->'references'->>'schema'
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = f.one->'references'->>'name'
    WHERE o.id = p.mapping) w(relation, is_side)
  JOIN mig.kinds k ON k.relation = w.relation AND (w.is_side OR k.kind <> 'partitioned') AND k.kind <> 'parent'
  WHERE p.phase IN ('created', 'dual_write', 'backfilled', 'switched')
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s has the child %s, whose rows count as its own', p.target, i.inhrelid::regclass)
  FROM pg_catalog.pg_inherits i WHERE i.inhparent = p.target
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s: %s %s', w.relation, w.name, w.state)
  FROM (
    SELECT n.name, CASE WHEN n.name ~ '_reverse_' THEN p.target ELSE p.source END AS relation,
           CASE t.enabled WHEN 'D' THEN 'is disabled' WHEN 'O' THEN 'is demoted to ORIGIN'
             WHEN 'R' THEN 'fires for replicas only' WHEN 'A' THEN NULL ELSE 'is missing' END AS state
    FROM pg_catalog.unnest(p.mirrors_then) n(name)
    LEFT JOIN ROWS FROM (pg_catalog.unnest(p.mirrors), pg_catalog.unnest(p.states)) t(name, enabled) ON t.name = n.name) w
  WHERE cs.oid IS NOT NULL AND w.state IS NOT NULL
  UNION ALL
  -- A restore by another role than the superuser and ALTER TABLE OWNER leave them so.
  SELECT 'mirror', pg_catalog.format('mirror of %s reads mig.%I, which belongs to role %s, not to the owner of the table', p.source, co.relname, co.relowner::regrole)
  FROM pg_catalog.pg_class co
  WHERE co.relnamespace = 'mig'::regnamespace AND co.relowner <> cs.relowner
    AND EXISTS (SELECT FROM mig.migration m WHERE m.id = p.migration_id AND m.phase IN ('created', 'dual_write', 'backfilled', 'switched'))
    AND co.relname IN ('m' || p.mapping || '_forward', 'm' || p.mapping || '_reverse', 'm' || p.mapping || '_map', 'm' || p.mapping || '_anchor')
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s writes %s, whose owner %s has rights that the owner %s has not', w.touched, w.written, w.writes::regrole, w.owner::regrole)
  FROM (VALUES (p.source, cs.relowner, p.target, ct.relowner, '_forward_'), (p.target, ct.relowner, p.source, cs.relowner, '_reverse_')) w(touched, owner, written, writes, name)
  WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.mirrors_then) n(name) WHERE n.name ~ w.name) AND NOT pg_catalog.pg_has_role(w.owner, w.writes, 'USAGE')
  UNION ALL
  SELECT w.kind, pg_catalog.format('mirror of %s let writes pass, because the owner of a table lacked the rights that it needs', w.touched)
  FROM (VALUES ('mirror', 'forward', p.source), ('behind', 'reverse', p.target)) w(kind, way, touched)
  WHERE EXISTS (SELECT FROM mig.unmirrored u WHERE u.mapping = p.mapping AND u.way = w.way)
  UNION ALL
  SELECT 'mirror', pg_catalog.format('triggers of ours are on tables that are not of this migration: %s', p.elsewhere)
  WHERE p.elsewhere IS NOT NULL
  UNION ALL
  -- In another server or database it is a restored copy: its triggers are new, and rightly so.
  SELECT 'mirror', pg_catalog.format('mirror of %s was altered since it went in', p.source)
  WHERE p.seal LIKE p.place || ' %' AND p.seal <> p.place || ' ' || p.triggers
    AND p.mirrors = p.mirrors_then AND p.triggers !~ ':[^A]( |$)') d(kind, what)
UNION ALL
SELECT c.migration, 0, c.relation, d.kind, d.what
FROM (
  -- OFFSET: the planner takes this part by itself, and need not try all orders of so many tables.
  SELECT n.* FROM mig.new_column n JOIN mig.visible m ON m.id = n.migration AND m.phase <> 'defined' WHERE n.id = n.leader OFFSET 0) c
LEFT JOIN pg_catalog.pg_class cs ON cs.oid = c.relation
LEFT JOIN pg_catalog.pg_class cv ON cv.relnamespace = 'mig'::regnamespace AND cv.relname = 'columns_' || c.id
LEFT JOIN (
  SELECT t.leader, pg_catalog.string_agg(pg_catalog.format('%s:%s', t.oid, t.xmin), ' ' ORDER BY t.name) FILTER (WHERE t.at_home) AS triggers,
         max(t.enabled) FILTER (WHERE t.at_home AND t.name = pg_catalog.format('~mig_%s_columns', t.leader)) AS enabled,
         pg_catalog.string_agg(pg_catalog.format('%I on %s', t.name, t.relation::regclass), ', ' ORDER BY t.relation::regclass::text, t.name) FILTER (WHERE t.trusted AND NOT t.at_home) AS elsewhere
  FROM mig.triggers t GROUP BY t.leader) t ON t.leader = c.id
CROSS JOIN LATERAL (
  SELECT max(k.oid) AS oid FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_class k ON k.relnamespace = n.oid AND k.relname = c.known_name AND k.relkind IN ('r', 'p', 'f')
  WHERE n.nspname = c.known_schema AND k.oid <> c.relation) taken
CROSS JOIN LATERAL (SELECT pg_catalog.format('%s/%s', (SELECT k.system_identifier FROM pg_catalog.pg_control_system() k),
  (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())) AS is) place
CROSS JOIN LATERAL (
  SELECT 'gone', CASE WHEN taken.oid IS NULL THEN pg_catalog.format('the table of column %I is gone', c.name)
    ELSE pg_catalog.format('the table of column %I was replaced: %s is another table now', c.name, taken.oid::regclass) END
  WHERE cs.oid IS NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('the table of column %I was replaced: it is %s, and %s is another table now', c.name, c.relation, taken.oid::regclass)
  WHERE cs.oid IS NOT NULL AND taken.oid IS NOT NULL
  UNION ALL
  SELECT 'gone', pg_catalog.format('view mig.columns_%s, which says what column %I of %s is, is gone', c.id, c.name, c.relation)
  WHERE cs.oid IS NOT NULL AND cv.oid IS NULL
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s has the child %s, whose rows fire no trigger of it', c.relation, i.inhrelid::regclass)
  FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.relation
  UNION ALL
  SELECT 'shape', pg_catalog.format('%s is %s now', c.relation, k.what)
  FROM mig.kinds k WHERE k.relation = c.relation AND k.kind <> 'parent'
  UNION ALL
  SELECT 'shape', pg_catalog.format('column %I of %s is gone, or has another name', w.name, c.relation)
  FROM mig.new_column x
  CROSS JOIN LATERAL (VALUES (x.name), (CASE WHEN x.id = x.leader THEN x.replaces END)) w(name)
  WHERE x.leader = c.id AND cs.oid IS NOT NULL AND w.name IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.relation AND a.attname = w.name AND NOT a.attisdropped)
  UNION ALL
  -- In the order of the bytes of their names, as PostgreSQL fires them: BEFORE, FOR EACH ROW, INSERT or UPDATE.
  SELECT 'shape', pg_catalog.format('trigger %I of %s fires after %s: ALTER TRIGGER %1$I ON %2$s RENAME TO %4$I', o.tgname, c.relation, own.name, 'a_' || o.tgname)
  FROM pg_catalog.pg_trigger o CROSS JOIN LATERAL (SELECT pg_catalog.format('~mig_%s_columns', c.id)::name AS name WHERE t.enabled IS NOT NULL) own
  WHERE o.tgrelid = c.relation AND NOT o.tgisinternal AND o.tgtype & 3 = 3 AND o.tgtype & 20 <> 0 AND o.tgname > own.name AND o.tgname !~ '^~mig_[0-9]+_columns$'
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s reads mig.%I, which belongs to role %s, not to the owner of the table', c.relation, cv.relname, cv.relowner::regrole)
  WHERE c.seal IS NOT NULL AND cv.relowner <> cs.relowner
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s: ~mig_%s_columns %s', c.relation, c.id, w.state)
  FROM (SELECT CASE t.enabled WHEN 'D' THEN 'is disabled' WHEN 'O' THEN 'is demoted to ORIGIN'
          WHEN 'R' THEN 'fires for replicas only' WHEN 'A' THEN NULL ELSE 'is missing' END AS state) w
  WHERE c.seal IS NOT NULL AND cs.oid IS NOT NULL AND w.state IS NOT NULL
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s let writes pass, because the owner of a view lacked the rights of the table''s owner', c.relation)
  WHERE EXISTS (SELECT FROM mig.unmirrored u WHERE u.new_column = c.id)
  UNION ALL
  SELECT 'mirror', pg_catalog.format('mirror of %s was altered since it went in', c.relation)
  WHERE c.seal LIKE place.is || ' %' AND t.enabled = 'A' AND c.seal <> pg_catalog.format('%s %s', place.is, t.triggers)
  UNION ALL
  SELECT 'mirror', pg_catalog.format('triggers of ours are on tables that are not of this migration: %s', t.elsewhere)
  WHERE t.elsewhere IS NOT NULL) d(kind, what);
COMMENT ON VIEW mig.drift IS 'What is not as we left it: tables, columns, keys and mirrors that somebody changed.';

-- What else belongs to the tables, on both sides, with one meaning on both: columns of the source have the names that the target gives them, and
-- the scope's column does not count.
CREATE VIEW mig.objects WITH (security_barrier) AS
SELECT p.id AS mapping, s.side, o.oid, pg_catalog.format('%s of %s', o.object, s.relation) AS object, o.meaning
FROM mig.mapping p
JOIN mig.visible m ON m.id = p.migration
CROSS JOIN LATERAL (VALUES ('source', p.source), ('target', p.target)) s(side, relation)
CROSS JOIN LATERAL (
  SELECT coalesce(pg_catalog.jsonb_object_agg(a.attnum, coalesce(
    CASE s.side WHEN 'source' THEN (SELECT l->>'name' FROM pg_catalog.jsonb_array_elements(p.layout->'columns') l WHERE l#>>'{origin,source}' = a.attname LIMIT 1) END,
    a.attname)), '{}') AS names
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname IS DISTINCT FROM p.layout#>>'{scope,column}') c
CROSS JOIN LATERAL (
  SELECT k.oid, pg_catalog.format('%s %I', CASE k.contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' ELSE 'exclusion constraint' END, k.conname),
    pg_catalog.format('%s %s', k.contype, (SELECT pg_catalog.string_agg(c.names->>n::text, ',' ORDER BY c.names->>n::text) FROM pg_catalog.unnest(k.conkey) n))
  FROM pg_catalog.pg_constraint k WHERE k.conrelid = s.relation AND k.contype IN ('c', 'f', 'x')
  UNION ALL
  SELECT k.oid, pg_catalog.format('foreign key %I of %s to the key', k.conname, k.conrelid::regclass), pg_catalog.format('r %s', k.conrelid)
  FROM pg_catalog.pg_constraint k WHERE k.confrelid = s.relation AND k.contype = 'f'
    AND NOT EXISTS (SELECT FROM mig.mapping o WHERE o.migration = p.migration AND k.conrelid IN (o.source, o.target))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = k.conrelid AND r.relnamespace = 'mig'::regnamespace)
  UNION ALL
  SELECT i.indexrelid, pg_catalog.format('unique index %I', r.relname),
    pg_catalog.format('u %s', (SELECT pg_catalog.string_agg(c.names->>n::text, ',' ORDER BY c.names->>n::text) FROM pg_catalog.unnest(i.indkey) n))
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid
  WHERE i.indrelid = s.relation AND i.indisunique AND NOT i.indisprimary
  UNION ALL
  SELECT t.oid, pg_catalog.format('trigger %I', t.tgname), pg_catalog.format('t %s %s', t.tgfoid, t.tgtype)
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
  WHERE t.tgrelid = s.relation AND NOT t.tgisinternal AND f.pronamespace <> 'mig'::regnamespace
  UNION ALL
  -- Not by its text: pg_get_expr() waits for whoever has locked the table.
  SELECT d.oid, pg_catalog.format('default of column %I', a.attname), pg_catalog.format('d %s %s', c.names->>a.attnum::text,
    pg_catalog.md5(pg_catalog.regexp_replace(d.adbin::text, ':location -?[0-9]+', '', 'g')))
  FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
  WHERE d.adrelid = s.relation AND a.attgenerated = ''
  UNION ALL
  SELECT w.oid, pg_catalog.format('rule %I', w.rulename), pg_catalog.format('w %s', w.rulename)
  FROM pg_catalog.pg_rewrite w WHERE w.ev_class = s.relation
  UNION ALL
  SELECT y.oid, pg_catalog.format('policy %I', y.polname), pg_catalog.format('p %s', y.polname) FROM pg_catalog.pg_policy y WHERE y.polrelid = s.relation
  UNION ALL
  SELECT r.oid, 'row-level security', 's' FROM pg_catalog.pg_class r WHERE r.oid = s.relation AND r.relrowsecurity) o(oid, object, meaning);
COMMENT ON VIEW mig.objects IS 'Constraints, unique indexes, triggers, defaults, rules and policies of both tables of each mapping.';

-- A restored copy has other oids, so nothing is compared there. A renamed object keeps its oid; one that was made again has its name.
CREATE VIEW mig.changes WITH (security_barrier) AS
SELECT p.migration AS migration_id, p.id AS mapping, d.what
FROM mig.mapping p
JOIN mig.visible m ON m.id = p.migration AND m.phase IN ('created', 'dual_write', 'backfilled', 'switched')
JOIN mig.standing s ON s.mapping = p.id AND s.place = p.objects->>'place'
CROSS JOIN LATERAL (
  WITH now AS MATERIALIZED (SELECT * FROM mig.objects o WHERE o.mapping = p.id),
    past AS MATERIALIZED (SELECT * FROM pg_catalog.jsonb_to_recordset(p.objects->'all') o(side text, oid bigint, object text, meaning text))
  SELECT pg_catalog.format('%s came after mig_create, and %s has nothing like it', n.object, p.target)
  FROM now n
  WHERE n.side = 'source' AND NOT (p.adopted AND pg_catalog.starts_with(n.meaning, 'd '))
    AND NOT EXISTS (SELECT FROM past o WHERE o.side = 'source' AND (o.oid = n.oid::bigint OR o.object = n.object AND o.meaning = n.meaning))
    AND NOT EXISTS (SELECT FROM now o WHERE o.side = 'target' AND o.meaning = n.meaning)
  UNION ALL
  SELECT pg_catalog.format('%s went after mig_create, and %s has it still', o.object, p.target)
  FROM past o
  WHERE o.side = 'source' AND NOT (p.adopted AND pg_catalog.starts_with(o.meaning, 'd '))
    AND NOT EXISTS (SELECT FROM now n WHERE n.side = 'source' AND (o.oid = n.oid::bigint OR o.object = n.object OR o.meaning = n.meaning))
    AND EXISTS (SELECT FROM now n WHERE n.side = 'target' AND n.meaning = o.meaning)) d(what)
WHERE p.target IS NOT NULL;
COMMENT ON VIEW mig.changes IS 'What came or went on an old table after mig_create, and did not on the new one.';

CREATE VIEW mig.columns WITH (security_barrier) AS
SELECT m.name AS migration, m.phase, c.relation, c.name AS column_name, c.type, c.replaces, c.up, c.down, c.column_default, c.not_null,
       CASE WHEN m.phase <> 'defined' THEN 'mig.columns_' || c.leader END AS view, l.filled, l.next_block, l.bound_blocks
FROM mig.new_column c
JOIN mig.new_column l ON l.id = c.leader
JOIN mig.visible m ON m.id = c.migration;
COMMENT ON VIEW mig.columns IS 'Every column that mig_add_column adds: what it replaces, how, and how far it is.';

-- The runner of a job holds a lock that no SQL can take (src/pg/job_lock.rs); it goes with its process.
CREATE VIEW mig.runners WITH (security_barrier) AS
SELECT m.id AS migration_id, l.pid
FROM mig.visible m
JOIN pg_catalog.pg_locks l ON l.locktype = 'object' AND l.classid = 'mig.migration'::regclass AND l.objid = m.id::oid AND l.objsubid = 1 AND l.granted
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database();
COMMENT ON VIEW mig.runners IS 'The process that runs each migration''s job now.';

-- Its helpers share another lock; a process that must not meet any of them takes it exclusively.
CREATE VIEW mig.workers WITH (security_barrier) AS
SELECT m.id AS migration_id, l.pid, l.objsubid = 2 AS helps
FROM mig.visible m
JOIN pg_catalog.pg_locks l ON l.locktype = 'object' AND l.classid = 'mig.migration'::regclass AND l.objid = m.id::oid AND l.granted
  AND (l.objsubid = 1 OR l.objsubid = 2 AND l.mode = 'ShareLock')
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database();
COMMENT ON VIEW mig.workers IS 'The processes that are at each migration''s job now: the one that runs it, and those that help.';

CREATE VIEW mig.shares WITH (security_barrier) AS
SELECT s.mapping, sum(s.next_block - s.start_block)::bigint AS blocks_done, sum(s.rows_done)::bigint AS rows_done,
       max(s.batch_rows) AS batch_rows, max(s.batch_ms) AS batch_ms
FROM mig.share s
JOIN mig.mapping p ON p.id = s.mapping
JOIN mig.visible m ON m.id = p.migration
GROUP BY s.mapping;
COMMENT ON VIEW mig.shares IS 'What several workers have copied of a table, beside what its mapping counts.';

CREATE VIEW mig.checks WITH (security_barrier) AS
SELECT c.id, m.name AS migration, c.mode, c.phase, c.who, c.started_at, c.finished_at,
       c.finished_at - c.started_at AS duration, c.snapshot, c.ok, c.compared, c.differences,
       CASE WHEN m.mine THEN c.failed END AS failed
FROM mig.check_result c JOIN mig.visible m ON m.id = c.migration;
COMMENT ON VIEW mig.checks IS 'What each mig_check found, with who, when and for how long.';

CREATE VIEW mig.errors WITH (security_barrier) AS
SELECT m.name AS migration, p.source, e.key, e.sqlstate, e.message, e.at
FROM mig.row_error e JOIN mig.mapping p ON p.id = e.mapping JOIN mig.visible m ON m.id = p.migration
WHERE pg_catalog.has_table_privilege(p.source::oid, 'SELECT') AND NOT pg_catalog.row_security_active(p.source::oid);
COMMENT ON VIEW mig.errors IS 'Rows that cannot be copied as they are, by key: of tables of which the reader may read every row.';

CREATE VIEW mig.history WITH (security_barrier) AS
SELECT s.id, s.at, s.who, s.migration, s.phase, s.what FROM mig.step_log s
WHERE pg_catalog.pg_has_role(s.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE');
COMMENT ON VIEW mig.history IS 'Who did what, when; kept after a migration is dropped.';

CREATE VIEW mig.progress WITH (security_barrier) AS
SELECT m.name AS migration, p.source AS relation, p.target, j.id AS job,
       CASE WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place < look.done THEN 'checked'
            WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place = look.done THEN 'checking'
            WHEN j.task = 'repair' AND j.state IN ('running', 'paused') AND lo.n > 0 THEN 'repairing'
            WHEN p.copied AND m.phase <> 'dual_write' THEN 'done'
            WHEN p.copied AND lo.n > 0 THEN 'copying leftovers'
            WHEN p.copied THEN 'copied'
            WHEN p.bound_blocks IS NULL THEN 'waiting'
            WHEN p.pass = 'sweep' THEN 'removing what is gone'
            WHEN p.pass = 'back' THEN 'bringing back'
            ELSE 'copying' END AS phase,
       r.pid, j.driver,
       d.rows AS tuples_done,
       CASE WHEN p.copied THEN d.rows ELSE greatest(coalesce(p.rows_total, c.reltuples::bigint), d.rows) END AS tuples_total,
       CASE WHEN j.task = 'check' AND j.state IN ('running', 'paused') AND look.place = look.done
            THEN coalesce((SELECT pg_catalog.substring(a.query, '([0-9]+) %$')::numeric FROM pg_catalog.pg_stat_activity a WHERE a.pid = r.pid), 0.0)
            WHEN p.copied THEN 100.0
            WHEN p.bound_blocks > 0 THEN pg_catalog.round(100.0 * d.blocks / p.bound_blocks, 1)
            ELSE 0.0 END AS pct,
       CASE WHEN NOT p.copied AND s.seconds > 0 THEN pg_catalog.round(d.rows / s.seconds) END AS tuples_per_s,
       CASE WHEN NOT p.copied AND d.blocks > 0
            THEN pg_catalog.make_interval(secs => (s.seconds * (p.bound_blocks - d.blocks) / d.blocks)::double precision) END AS eta,
       coalesce(sh.batch_rows, p.batch_rows) AS batch_rows, coalesce(sh.batch_ms, p.batch_ms) AS batch_ms,
       lo.n AS leftovers,
       CASE WHEN m.mine THEN j.waiting_for WHEN j.waiting_for IS NOT NULL THEN m.hidden END AS waiting_for,
       CASE WHEN m.mine THEN j.error WHEN j.error IS NOT NULL THEN m.hidden END AS error, j.driver_reason,
       (SELECT count(*)::int FROM mig.workers w WHERE w.migration_id = m.id) AS workers
FROM mig.mapping p
JOIN mig.visible m ON m.id = p.migration
LEFT JOIN mig.shares sh ON sh.mapping = p.id
CROSS JOIN LATERAL (SELECT p.next_block + coalesce(sh.blocks_done, 0) AS blocks, p.rows_done + coalesce(sh.rows_done, 0) AS rows) d
LEFT JOIN pg_catalog.pg_class c ON c.oid = p.source
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - p.copy_started_at)::numeric AS seconds) s
CROSS JOIN LATERAL (SELECT count(*) AS n FROM mig.leftover l WHERE l.mapping = p.id) lo
-- Which of a check's tables this is; how far it is in it, its process tells in pg_stat_activity.
LEFT JOIN LATERAL (
  SELECT t.n - 1 AS place, (j.details->>'done')::int AS done
  FROM pg_catalog.jsonb_array_elements_text(j.details->'tables') WITH ORDINALITY t(mapping, n) WHERE t.mapping::int = p.id) look ON true
UNION ALL
SELECT m.name, c.relation, c.relation, j.id,
       CASE WHEN c.filled AND m.phase <> 'dual_write' THEN 'done' WHEN c.filled THEN 'filled'
            WHEN c.bound_blocks IS NULL THEN 'waiting' ELSE 'filling' END,
       r.pid, j.driver, c.rows_done, CASE WHEN c.filled THEN c.rows_done ELSE greatest(coalesce(c.rows_total, k.reltuples::bigint), c.rows_done) END,
       CASE WHEN c.filled THEN 100.0 WHEN c.bound_blocks > 0 THEN pg_catalog.round(100.0 * c.next_block / c.bound_blocks, 1) ELSE 0.0 END,
       CASE WHEN NOT c.filled AND s.seconds > 0 THEN pg_catalog.round(c.rows_done / s.seconds) END,
       CASE WHEN NOT c.filled AND c.next_block > 0
            THEN pg_catalog.make_interval(secs => (s.seconds * (c.bound_blocks - c.next_block) / c.next_block)::double precision) END,
       c.batch_rows, c.batch_ms, pg_catalog.cardinality(c.busy)::bigint,
       CASE WHEN m.mine THEN j.waiting_for WHEN j.waiting_for IS NOT NULL THEN m.hidden END,
       CASE WHEN m.mine THEN j.error WHEN j.error IS NOT NULL THEN m.hidden END, j.driver_reason,
       (SELECT count(*)::int FROM mig.workers w WHERE w.migration_id = m.id)
FROM mig.new_column c
JOIN mig.visible m ON m.id = c.migration
LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - c.started_at)::numeric AS seconds) s
WHERE c.id = c.leader;
COMMENT ON VIEW mig.progress IS 'How far each table''s backfill is; columns as in pg_stat_progress_*.';

CREATE VIEW mig.status WITH (security_barrier) AS
SELECT m.name AS migration, m.phase,
       CASE WHEN dead.is OR lost.is OR drift.what IS NOT NULL THEN 'failed' ELSE m.state END AS state,
       t.tables::int AS tables, t.rows_done, t.rows_total,
       CASE WHEN m.phase IN ('backfilled', 'switched', 'stopped', 'archived') AND m.state <> 'running' THEN 100.0
            WHEN t.blocks > 0 THEN pg_catalog.round(100.0 * t.blocks_done / t.blocks, 1) ELSE 0.0 END AS pct,
       (SELECT pg_catalog.format('%s %s, %s ago', c.mode,
                 CASE WHEN c.ok THEN 'clean' WHEN c.ok IS NULL THEN 'pending' ELSE 'FAILED' END,
                 pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - c.finished_at))
        FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1) AS last_check,
       CASE WHEN dead.is THEN pg_catalog.format('process %s of job %s is gone (last seen %s)', j.pid, j.id, j.heartbeat_at)
            WHEN unstarted.is THEN 'no worker runs the job: it could not start, the server''s log says why'
            WHEN unheard.is THEN 'pg_cron does not run the job: see cron.job_run_details'
            WHEN lost.is THEN 'no job runs here: the one that was at work when this database was dumped did not come along'
            WHEN drift.what IS NOT NULL THEN pg_catalog.concat_ws('; ', m.problem, drift.what)
            WHEN m.problem IS NOT NULL THEN m.problem
            -- A pause that was asked for is no problem.
            WHEN j.state = 'running' AND j.waiting_for NOT LIKE 'delay_ms:%' THEN 'waiting for ' || CASE WHEN m.mine THEN j.waiting_for ELSE 'something ' || m.hidden END || coalesce(
              (SELECT ', held up by process ' || pg_catalog.string_agg(b.pid::text, ', ' ORDER BY b.pid) FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(r.pid)) b(pid)), '')
            WHEN j.state = 'running' AND j.driver_reason IS NOT NULL THEN pg_catalog.format('driver %s: %s', j.driver, j.driver_reason)
            WHEN t.stuck IS NOT NULL AND m.phase IN ('created', 'dual_write', 'backfilled')
              THEN pg_catalog.format('no way back for %s: mig_switch will refuse, mig_preflight says why', t.stuck)
            WHEN changes.what IS NOT NULL THEN changes.what
       END AS problem,
       CASE WHEN t.tables = 0 THEN pg_catalog.format('SELECT mig_add_table(%L, ''old_table'', ''new_table'');', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'paused' THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'running' AND (j.driver = 'manual' OR dead.is OR unstarted.is OR unheard.is) THEN pg_catalog.format('CALL mig_run(%L);', m.name)
            WHEN j.task IN ('check', 'repair') AND j.state = 'running' THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN 'gone' = ANY (drift.kinds) AND m.phase IN ('switched', 'stopped') THEN pg_catalog.format('SELECT * FROM mig_drop(%L, force => true);', m.name)
            WHEN drift.kinds IS NOT NULL AND m.phase = 'switched' THEN pg_catalog.format('SELECT * FROM mig_switch(%L);', m.name)
            WHEN drift.kinds = '{mirror}' AND m.phase = 'stopped' THEN pg_catalog.format('SELECT * FROM mig_stop(%L);', m.name)
            -- What made somebody pull the emergency brake may be there still.
            WHEN drift.kinds = '{mirror}' AND m.problem ~ '^detached by mig_detach' THEN pg_catalog.format('SELECT * FROM mig_rollback(%L);', m.name)
            WHEN drift.kinds = '{mirror}' THEN pg_catalog.format('SELECT * FROM mig_dual_write(%L);', m.name)
            WHEN drift.kinds IS NOT NULL THEN pg_catalog.format('SELECT * FROM mig_rollback(%L, ''defined'');', m.name)
            WHEN j.task = 'repair' AND j.state = 'failed' AND m.phase IN ('backfilled', 'switched') THEN pg_catalog.format('SELECT * FROM mig_repair(%L, dry_run => false);', m.name)
            WHEN m.phase = 'defined' THEN pg_catalog.format('SELECT * FROM mig_create(%L);', m.name)
            WHEN m.phase = 'created' THEN pg_catalog.format('SELECT * FROM mig_dual_write(%L);', m.name)
            WHEN m.phase = 'dual_write' AND m.state = 'paused' AND NOT lost.is THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN m.phase = 'dual_write' AND (j.driver = 'manual' AND j.state = 'running' OR unstarted.is OR unheard.is) THEN pg_catalog.format('CALL mig_run(%L);', m.name)
            WHEN m.phase = 'dual_write' AND m.state = 'running' AND NOT dead.is AND NOT lost.is THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN m.phase = 'dual_write' THEN pg_catalog.format('SELECT mig_backfill(%L);', m.name)
            WHEN m.phase IN ('backfilled', 'switched') AND NOT (SELECT c.ok FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1)
              THEN pg_catalog.format('SELECT * FROM mig_check(%L) WHERE ok IS NOT TRUE;', m.name)
            WHEN m.phase = 'backfilled' THEN pg_catalog.format('SELECT * FROM mig_switch(%L);', m.name)
            WHEN m.phase = 'stopped' AND m.state = 'paused' AND NOT lost.is THEN pg_catalog.format('SELECT mig_resume(%L);', m.name)
            WHEN m.phase = 'stopped' AND m.state = 'running' AND NOT dead.is AND NOT unstarted.is AND NOT lost.is THEN pg_catalog.format('SELECT mig_wait(%L);', m.name)
            WHEN m.phase = 'stopped' AND lost.is THEN pg_catalog.format('SELECT * FROM mig_rollback(%L);', m.name)
            WHEN m.phase = 'stopped' AND j.goal IS NOT NULL AND j.state <> 'done' THEN pg_catalog.format('SELECT * FROM mig_rollback(%L, %L);', m.name, j.goal)
            WHEN m.phase = 'stopped' THEN pg_catalog.format('SELECT * FROM mig_archive(%L);', m.name)
            WHEN m.phase = 'archived' THEN pg_catalog.format('SELECT * FROM mig_drop(%L, archives => true);', m.name)
            WHEN m.phase = 'switched' THEN pg_catalog.format('SELECT * FROM mig_stop(%L);', m.name) END AS next_step
FROM mig.visible m
CROSS JOIN LATERAL (
  SELECT count(DISTINCT c.relation) AS tables, coalesce(sum(c.rows_done), 0)::bigint AS rows_done,
         coalesce(sum(CASE WHEN c.filled THEN c.rows_done ELSE greatest(coalesce(c.rows_total, k.reltuples::bigint), c.rows_done) END), 0)::bigint AS rows_total,
         coalesce(sum(b.blocks), 0) AS blocks, coalesce(sum(CASE WHEN c.filled THEN b.blocks ELSE c.next_block END), 0) AS blocks_done
  FROM mig.new_column c
  LEFT JOIN pg_catalog.pg_class k ON k.oid = c.relation
  CROSS JOIN LATERAL (SELECT greatest(1, coalesce(c.bound_blocks,
    pg_catalog.pg_relation_size(k.oid) / pg_catalog.current_setting('block_size')::bigint, 1)) AS blocks) b
  WHERE c.migration = m.id AND c.id = c.leader) columns
CROSS JOIN LATERAL (
  SELECT count(*) + columns.tables AS tables, coalesce(sum(d.rows), 0)::bigint + columns.rows_done AS rows_done,
         coalesce(sum(CASE WHEN p.copied THEN d.rows ELSE greatest(coalesce(p.rows_total, c.reltuples::bigint), d.rows) END), 0)::bigint + columns.rows_total AS rows_total,
         pg_catalog.string_agg(CASE WHEN p.layout->'back' = 'null' THEN p.source::text END, ', ' ORDER BY p.ordinal) AS stuck,
         coalesce(sum(b.blocks), 0) + columns.blocks AS blocks,
         coalesce(sum(CASE WHEN p.copied THEN b.blocks ELSE d.blocks END), 0) + columns.blocks_done AS blocks_done
  FROM mig.mapping p
  LEFT JOIN mig.shares sh ON sh.mapping = p.id
  CROSS JOIN LATERAL (SELECT p.next_block + coalesce(sh.blocks_done, 0) AS blocks, p.rows_done + coalesce(sh.rows_done, 0) AS rows) d
  LEFT JOIN pg_catalog.pg_class c ON c.oid = p.source
  -- Before its turn a table counts with the size it has now; an empty one still counts as a block.
  CROSS JOIN LATERAL (SELECT greatest(1, coalesce(p.bound_blocks,
    pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, 1)) AS blocks) b
  WHERE p.migration = m.id) t
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'worker' AND j.pid IS NOT NULL AND r.pid IS NULL AS is) dead
-- Jobs are not dumped.
CROSS JOIN LATERAL (SELECT m.state IN ('running', 'paused') AND j.id IS NULL AS is) lost
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'worker' AND j.pid IS NULL AND r.pid IS NULL
                      AND j.driven_since < pg_catalog.clock_timestamp() - interval '10 seconds' AS is) unstarted
-- Twice as long as it takes pg_cron to come back.
CROSS JOIN LATERAL (SELECT j.state = 'running' AND j.driver = 'pg_cron' AND r.pid IS NULL
                      AND greatest(j.heartbeat_at, j.driven_since) < pg_catalog.clock_timestamp() - interval '2 minutes' AS is) unheard
-- Looked up once for all of them: what is estimated for each of many migrations would have the server compile the query (JIT), for seconds.
LEFT JOIN (
  SELECT d.migration_id, pg_catalog.string_agg(d.what, '; ' ORDER BY d.what COLLATE "C") AS what, pg_catalog.array_agg(DISTINCT d.kind) AS kinds
  FROM mig.drift d GROUP BY d.migration_id) drift ON drift.migration_id = m.id AND m.phase <> 'defined'
LEFT JOIN (
  SELECT c.migration_id, pg_catalog.string_agg(c.what, '; ' ORDER BY c.what COLLATE "C") AS what
  FROM mig.changes c GROUP BY c.migration_id) changes ON changes.migration_id = m.id;
COMMENT ON VIEW mig.status IS 'One line for each migration: where it stands, what is wrong, and the SQL to type next.';

-- The worker of such a job holds a lock on the low half of its id; it goes with its process.
CREATE VIEW mig.jobs WITH (security_barrier) AS
SELECT j.id, j.relation, j.change->>'kind' AS kind, coalesce(j.change->>'name', j.change->>'column') AS name, j.role,
       CASE WHEN j.ended_at IS NULL AND j.pid IS NOT NULL AND l.pid IS NULL THEN 'interrupted' ELSE j.state END AS state,
       l.pid IS NOT NULL AS at_work, l.pid,
       CASE WHEN j.ended_at IS NULL THEN coalesce(b.phase, j.step) END AS step,
       b.blocks_done, b.blocks_total, b.tuples_done, b.tuples_total,
       CASE WHEN j.state = 'done' THEN 100.0
            WHEN b.blocks_total > 0 THEN pg_catalog.round(100.0 * b.blocks_done / b.blocks_total, 1)
            WHEN b.tuples_total > 0 THEN pg_catalog.round(100.0 * b.tuples_done / b.tuples_total, 1) END AS pct,
       coalesce(CASE WHEN reads.is THEN j.waiting_for WHEN j.waiting_for IS NOT NULL THEN reads.hidden END, (SELECT 'process ' || pg_catalog.string_agg(p.pid::text, ', ' ORDER BY p.pid)
         FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) p(pid))) AS waiting_for,
       CASE WHEN reads.is THEN j.error WHEN j.error IS NOT NULL THEN reads.hidden END AS error, j.started_at, j.ended_at,
       CASE WHEN j.ended_at IS NULL AND j.pid IS NOT NULL AND l.pid IS NULL
            THEN pg_catalog.format('SELECT mig_cancel(%s); or call the function that began it again: it goes on', j.id)
            WHEN j.ended_at IS NULL THEN pg_catalog.format('SELECT mig_wait(%s);', j.id) END AS next_step
FROM mig.change j
LEFT JOIN pg_catalog.pg_class c ON c.oid = j.relation
CROSS JOIN LATERAL (
  SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid) AS is,
         pg_catalog.format('for those to read who may read %s', j.relation) AS hidden) reads
LEFT JOIN LATERAL (
  SELECT l.pid FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
  WHERE l.locktype = 'object' AND l.classid = 'mig.migration'::regclass AND l.objid = (j.id & 4294967295)::oid AND l.objsubid = 3 AND l.granted) l
  ON j.ended_at IS NULL
LEFT JOIN pg_catalog.pg_stat_progress_create_index b ON b.pid = l.pid
WHERE pg_catalog.pg_has_role(j.role::oid, 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
   OR pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE');
COMMENT ON VIEW mig.jobs IS 'Constraints and indexes that workers make or have made, how far they are, and what they wait for.';

-- pg_blocking_pids() knows which locks conflict and who stands before whom in a queue; pg_locks joined to itself does not.
CREATE VIEW mig.blockers WITH (security_barrier) AS
WITH ours AS (
  SELECT w.pid, m.name FROM mig.workers w JOIN mig.visible m ON m.id = w.migration_id
  UNION ALL
  SELECT j.pid, pg_catalog.format('job %s', j.id) FROM mig.jobs j WHERE j.at_work)
SELECT coalesce(ow.name, ob.name) AS migration,
       CASE WHEN ow.pid IS NOT NULL THEN 'we wait for them' WHEN ob.pid IS NOT NULL THEN 'they wait for us' ELSE 'others' END AS direction,
       coalesce(ow.pid, ob.pid) AS our_pid, t.pid AS their_pid, t.usename AS their_role, t.state AS their_state, t.xact_start AS since, t.query,
       w.pid AS waiting_pid, w.usename AS waiting_role, w.query AS waiting_query, l.waitstart AS waiting_since,
       CASE WHEN l.relation IS NOT NULL THEN l.relation::regclass END AS relation, l.mode AS lock_mode,
       p.pid AS blocking_pid, b.usename AS blocking_role, b.state AS blocking_state, b.query AS blocking_query, b.xact_start AS blocking_since
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity w ON w.pid = l.pid AND w.datname = pg_catalog.current_database()
CROSS JOIN LATERAL (SELECT DISTINCT u.pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) u(pid)) p
LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = p.pid
LEFT JOIN ours ow ON ow.pid = w.pid
LEFT JOIN ours ob ON ob.pid = p.pid
-- Other sessions only; of two others the one that blocks.
LEFT JOIN pg_catalog.pg_stat_activity t ON t.pid = CASE WHEN ow.pid IS NULL AND ob.pid IS NOT NULL THEN w.pid ELSE p.pid END
WHERE NOT l.granted
UNION ALL
-- The wait for old snapshots (foreign keys) shows the holders of the listed virtual transactions.
SELECT m.name, 'we wait for their snapshot', r.pid, l.pid, a.usename, a.state, a.xact_start, a.query,
       r.pid, NULL, NULL, NULL, NULL, NULL, l.pid, a.usename, a.state, a.query, a.xact_start
FROM mig.visible m
LEFT JOIN mig.runners r ON r.migration_id = m.id
CROSS JOIN LATERAL pg_catalog.unnest(m.drain) d(vxid)
JOIN pg_catalog.pg_locks l ON l.locktype = 'virtualxid' AND l.virtualxid = d.vxid AND l.granted
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid;
COMMENT ON VIEW mig.blockers IS 'Who waits for whom in this database, since when, and what they run: our jobs, and others.';

CREATE VIEW mig.activity WITH (security_barrier) AS
WITH held AS (
  SELECT 'session' AS what, a.pid, a.usename AS role, a.application_name, a.state, a.xact_start AS since,
         CASE WHEN a.state = 'active' THEN a.query_start END AS statement_since, a.backend_xmin AS xmin, a.query
  FROM pg_catalog.pg_stat_activity a
  WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL
  UNION ALL
  SELECT 'prepared transaction', NULL, x.owner, x.gid, 'prepared', x.prepared, NULL, x.transaction, NULL
  FROM pg_catalog.pg_prepared_xacts x WHERE x.database = pg_catalog.current_database()
  UNION ALL
  SELECT 'replication slot', s.active_pid, NULL, s.slot_name, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL, NULL, s.xmin, NULL
  FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL
  UNION ALL
  SELECT 'standby', r.pid, r.usename, r.application_name, r.state, NULL, NULL, r.backend_xmin, NULL
  FROM pg_catalog.pg_stat_replication r WHERE r.backend_xmin IS NOT NULL)
SELECT h.what, h.pid, h.role, h.application_name, h.state, h.since, pg_catalog.clock_timestamp() - h.since AS age,
       h.statement_since, pg_catalog.clock_timestamp() - h.statement_since AS statement_age,
       pg_catalog.age(h.xmin) AS snapshot_age,
       h.xmin IS NOT NULL AND pg_catalog.age(h.xmin) = max(pg_catalog.age(h.xmin)) OVER () AS oldest_snapshot, h.query
FROM held h
ORDER BY h.since NULLS LAST;
COMMENT ON VIEW mig.activity IS 'Open transactions, longest first: since when, what they run, and who holds the oldest snapshot, which keeps dead rows from being cleaned away.';

-- For a scraper of metrics: numbers only, gauges all of them.
CREATE VIEW mig.metrics WITH (security_barrier) AS
SELECT 'phase' AS metric, m.name AS migration, NULL::regclass AS relation,
       (pg_catalog.array_position('{defined,created,dual_write,backfilled,switched,stopped,archived}', m.phase) - 1)::numeric AS value
FROM mig.visible m
UNION ALL
SELECT x.metric, s.migration, NULL, x.value
FROM mig.status s
CROSS JOIN LATERAL (VALUES
  ('failed', CASE WHEN s.state = 'failed' THEN 1 ELSE 0 END::numeric),
  ('tables', s.tables), ('rows_done', s.rows_done), ('rows_total', s.rows_total), ('pct', s.pct)) x(metric, value)
UNION ALL
SELECT x.metric, m.name, NULL, x.value
FROM mig.visible m
LEFT JOIN LATERAL (SELECT * FROM mig.job j WHERE j.migration = m.id ORDER BY j.id DESC LIMIT 1) j ON true
LEFT JOIN LATERAL (SELECT * FROM mig.check_result c WHERE c.migration = m.id ORDER BY c.id DESC LIMIT 1) c ON true
CROSS JOIN LATERAL (VALUES
  ('workers', (SELECT count(*) FROM mig.workers w WHERE w.migration_id = m.id)::numeric),
  ('job_waits', CASE WHEN j.state = 'running' AND j.waiting_for IS NOT NULL THEN 1 ELSE 0 END),
  ('heartbeat_age_seconds', CASE WHEN j.state = 'running' THEN extract(epoch FROM pg_catalog.clock_timestamp() - j.heartbeat_at) END),
  ('check_differences', c.differences),
  ('check_age_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - c.finished_at))) x(metric, value)
UNION ALL
SELECT x.metric, m.name, p.source, x.value
FROM mig.mapping p
JOIN mig.visible m ON m.id = p.migration
LEFT JOIN mig.shares sh ON sh.mapping = p.id
CROSS JOIN LATERAL (VALUES
  ('rows_copied', (p.rows_done + coalesce(sh.rows_done, 0))::numeric),
  ('batch_rows', coalesce(sh.batch_rows, p.batch_rows)), ('batch_ms', coalesce(sh.batch_ms, p.batch_ms)),
  ('leftovers', (SELECT count(*) FROM mig.leftover l WHERE l.mapping = p.id)),
  ('errors', (SELECT count(*) FROM mig.row_error e WHERE e.mapping = p.id))) x(metric, value);
COMMENT ON VIEW mig.metrics IS 'What a monitoring system stores: metric, migration, table (null for the migration as a whole), value.';
