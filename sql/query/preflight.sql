-- $1 oid[] sources, $2 text[] schemas of the targets, $3 text[] targets as quoted names, $4 oid scope table or null.
-- One row for each finding. 'error' stops the migration, 'warning' is to be read, 'info' is good to know.
WITH src AS (
  SELECT c.oid, c.relname, n.nspname, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relpersistence,
         u.schema AS target_schema, u.target
  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u(oid, schema, target)
  JOIN pg_catalog.pg_class c ON c.oid = u.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
)
SELECT 'error' AS severity, 'target schema' AS check_name, s.oid::bigint AS relation,
       pg_catalog.format('Schema %I of the target does not exist.', s.target_schema) AS detail,
       pg_catalog.format('CREATE SCHEMA %I;', s.target_schema) AS hint
FROM src s WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = s.target_schema)
UNION ALL
SELECT 'error', 'create privilege', s.oid::bigint,
       pg_catalog.format('Role %s may not create tables in schema %I.', who, s.target_schema),
       pg_catalog.format('GRANT CREATE ON SCHEMA %I TO %I;', s.target_schema, who)
FROM src s JOIN pg_catalog.pg_namespace n ON n.nspname = s.target_schema,
     LATERAL (VALUES (current_user::text), (pg_catalog.pg_get_userbyid(s.relowner)::text)) w(who)
WHERE NOT pg_catalog.has_schema_privilege(w.who::name, n.oid, 'CREATE')
  AND pg_catalog.to_regclass(s.target) IS NULL
UNION ALL
SELECT DISTINCT 'error', 'references privilege', r.ref::bigint,
       pg_catalog.format('Role %s may not make foreign keys to this table.', who),
       pg_catalog.format('GRANT REFERENCES ON %s TO %I;', r.ref::regclass, who)
FROM (SELECT $4::oid UNION SELECT co.confrelid FROM src s JOIN pg_catalog.pg_constraint co ON co.conrelid = s.oid AND co.contype = 'f'
      WHERE co.confrelid <> ALL ($1)) r(ref),
     LATERAL (VALUES (current_user::text)) w(who)
WHERE r.ref IS NOT NULL AND NOT pg_catalog.has_table_privilege(r.ref, 'REFERENCES')
UNION ALL
SELECT 'error', 'row-level security', s.oid::bigint,
       'FORCE ROW LEVEL SECURITY is on and the owner does not bypass it.',
       pg_catalog.format('ALTER ROLE %I BYPASSRLS; or ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY;', r.rolname, s.nspname, s.relname)
FROM src s JOIN pg_catalog.pg_roles r ON r.oid = s.relowner
WHERE s.relforcerowsecurity AND NOT r.rolbypassrls AND NOT r.rolsuper
UNION ALL
SELECT 'error', 'rules', s.oid::bigint,
       pg_catalog.format('Rule %I rewrites statements on this table.', r.rulename),
       pg_catalog.format('DROP RULE %I ON %I.%I;', r.rulename, s.nspname, s.relname)
FROM src s JOIN pg_catalog.pg_rewrite r ON r.ev_class = s.oid
UNION ALL
SELECT 'error', 'deferrable key', s.oid::bigint,
       pg_catalog.format('Primary key %I is deferrable, so rows may swap their keys; their values of unique index %s would collide in the target on the way.',
         co.conname, i.indexrelid::regclass),
       pg_catalog.format('Make the primary key not deferrable, or %s deferrable.', i.indexrelid::regclass)
FROM src s
JOIN pg_catalog.pg_constraint co ON co.conrelid = s.oid AND co.contype = 'p' AND co.condeferrable
JOIN pg_catalog.pg_index i ON i.indrelid = s.oid AND i.indisunique AND i.indimmediate AND NOT i.indisprimary
UNION ALL
SELECT 'warning', 'invalid index', s.oid::bigint,
       pg_catalog.format('Index %s is not valid, and is not carried over: an interrupted build has left it.', i.indexrelid::regclass),
       pg_catalog.format('REINDEX INDEX CONCURRENTLY %s; or DROP INDEX CONCURRENTLY %1$s;', i.indexrelid::regclass)
FROM src s JOIN pg_catalog.pg_index i ON i.indrelid = s.oid AND NOT i.indisvalid
UNION ALL
SELECT 'warning', 'inbound foreign key', s.oid::bigint,
       pg_catalog.format('Foreign key %I of %s refers to this table and does not move.', co.conname, co.conrelid::regclass),
       'Add that table to the migration, or point the key to the target before the archive.'
FROM src s JOIN pg_catalog.pg_constraint co ON co.confrelid = s.oid AND co.contype = 'f' AND co.conparentid = 0
WHERE co.conrelid <> ALL ($1)
UNION ALL
SELECT DISTINCT 'warning', 'dependent view', s.oid::bigint,
       pg_catalog.format('View %s reads this table and will go on reading it.', v.oid::regclass),
       'Rewrite the view for the target when reads move.'
FROM src s
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm') AND v.relnamespace <> 'mig'::regnamespace
UNION ALL
-- Both sides are equal until mig_stop; then the old one stands still.
SELECT DISTINCT 'warning', 'policy', s.oid::bigint,
       pg_catalog.format('Policy %I reads %s, which moves, and so will the target''s policy of that name.', l.polname, d.refobjid::regclass),
       pg_catalog.format('After mig_switch: ALTER POLICY %I ON %s ...; so that it reads the new table.', l.polname, s.target)
FROM src s
JOIN pg_catalog.pg_policy l ON l.polrelid = s.oid
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = l.oid
  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY ($1)
WHERE d.refobjid <> s.oid
UNION ALL
SELECT 'warning', 'unlogged', s.oid::bigint, 'The table is unlogged; the target is logged.', NULL
FROM src s WHERE s.relpersistence = 'u'
UNION ALL
SELECT 'warning', 'check not valid', s.oid::bigint,
       pg_catalog.format('Check %I is NOT VALID: a row that violates it cannot be copied.', co.conname),
       pg_catalog.format('Correct the rows: ALTER TABLE %I.%I VALIDATE CONSTRAINT %I; names the first.', s.nspname, s.relname, co.conname)
FROM src s JOIN pg_catalog.pg_constraint co ON co.conrelid = s.oid AND co.contype = 'c' AND NOT co.convalidated
UNION ALL
SELECT 'warning', 'tablespace', s.oid::bigint,
       pg_catalog.format('%s lies in tablespace %I; the target goes to the default one.', c.oid::regclass, t.spcname),
       CASE WHEN c.oid = s.oid THEN pg_catalog.format('After mig_create: ALTER TABLE %s SET TABLESPACE %I; (small now, and a rewrite later)', s.target, t.spcname)
         ELSE pg_catalog.format('After the backfill: ALTER INDEX ... SET TABLESPACE %I; with the index of %s.', t.spcname, s.target) END
FROM src s JOIN pg_catalog.pg_class c ON c.oid = s.oid OR c.oid IN (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = s.oid)
JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
UNION ALL
SELECT 'warning', 'replica identity', s.oid::bigint,
       pg_catalog.format('Rows are identified to replicas by index %s; the target''s by its primary key.', i.indexrelid::regclass),
       'After the backfill: ALTER TABLE ... REPLICA IDENTITY USING INDEX ...; with the target''s index.'
FROM src s JOIN pg_catalog.pg_index i ON i.indrelid = s.oid AND i.indisreplident AND NOT i.indisprimary
UNION ALL
SELECT 'warning', 'clustered', s.oid::bigint,
       pg_catalog.format('The table is marked for CLUSTER by index %s; the target is not.', i.indexrelid::regclass),
       'After the backfill: ALTER TABLE ... CLUSTER ON ...;'
FROM src s JOIN pg_catalog.pg_index i ON i.indrelid = s.oid AND i.indisclustered
UNION ALL
SELECT 'warning', 'statistics', s.oid::bigint,
       pg_catalog.format('Statistics %I over expressions are not carried over.', st.stxname),
       pg_catalog.regexp_replace(pg_catalog.pg_get_statisticsobjdef(st.oid), '^CREATE STATISTICS \S+( .*) FROM .*$', 'After mig_create: CREATE STATISTICS ...\1 FROM ') || s.target || ';'
FROM src s JOIN pg_catalog.pg_statistic_ext st ON st.stxrelid = s.oid AND 'e' = ANY (st.stxkind)
UNION ALL
SELECT 'warning', 'security label', s.oid::bigint,
       pg_catalog.format('Security label of provider %s is not carried over.', l.provider),
       pg_catalog.format('After mig_create: SECURITY LABEL FOR %I ON TABLE %s IS %L;', l.provider, s.target, l.label)
FROM src s JOIN pg_catalog.pg_seclabel l ON l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = s.oid AND l.objsubid = 0
UNION ALL
SELECT 'warning', 'publication', s.oid::bigint,
       pg_catalog.format('Publication %I publishes all tables of schema %I; the target is in schema %I.', p.pubname, s.nspname, s.target_schema),
       pg_catalog.format('After mig_create: ALTER PUBLICATION %I ADD TABLE %s;', p.pubname, s.target)
FROM src s JOIN pg_catalog.pg_publication_tables v ON v.schemaname = s.nspname AND v.tablename = s.relname
JOIN pg_catalog.pg_publication p ON p.pubname = v.pubname AND NOT p.puballtables
WHERE s.target_schema <> s.nspname AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel pr WHERE pr.prpubid = p.oid AND pr.prrelid = s.oid)
UNION ALL
SELECT 'warning', 'publication', NULL,
       pg_catalog.format('Publication %I is FOR ALL TABLES: it publishes the targets too.', p.pubname), NULL
FROM pg_catalog.pg_publication p WHERE p.puballtables
UNION ALL
SELECT 'warning', 'replica role', NULL,
       'session_replication_role is replica in this session.', 'RESET session_replication_role;'
WHERE pg_catalog.current_setting('session_replication_role') = 'replica'
UNION ALL
SELECT 'warning', 'prepared transaction', NULL,
       pg_catalog.format('Prepared transaction %s is open since %s and may hold locks.', p.gid, p.prepared),
       pg_catalog.format('COMMIT PREPARED %L; or ROLLBACK PREPARED %L;', p.gid, p.gid)
FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()
UNION ALL
SELECT 'warning', 'long transaction', NULL,
       pg_catalog.format('Process %s (%s) is in a transaction since %s.', a.pid, a.state, a.xact_start),
       'Locks and foreign keys wait for it.'
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.now() - interval '5 minutes' AND a.backend_type = 'client backend'
UNION ALL
SELECT 'warning', 'login', NULL,
       pg_catalog.format('Role %I cannot log in, so no worker can run for it.', current_user),
       'Use SELECT mig_step(); or CALL mig_run(); or call mig_backfill as a role with LOGIN.'
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user AND NOT r.rolcanlogin
UNION ALL
SELECT 'info', 'disk', s.oid::bigint,
       pg_catalog.format('The target and its indexes will take about %s.', pg_catalog.pg_size_pretty(pg_catalog.pg_total_relation_size(s.oid))), NULL
FROM src s
