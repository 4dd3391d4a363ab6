-- $1 schema, $2 table, $3 text[] lock modes: who holds one of them, prepared transactions included (they have no pid).
SELECT CASE WHEN l.pid IS NULL
         THEN pg_catalog.format('prepared transaction %s', coalesce((SELECT pg_catalog.string_agg(p.gid, ', ' ORDER BY p.gid) FROM pg_catalog.pg_prepared_xacts p), '(unknown)'))
         ELSE pg_catalog.format('process %s (%s, %s, since %s)', l.pid, coalesce(a.usename, 'unknown role'),
                coalesce(a.state, 'state not visible'), coalesce(pg_catalog.to_char(a.xact_start, 'HH24:MI:SS'), 'unknown')) END AS who
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE n.nspname = $1 AND c.relname = $2 AND l.locktype = 'relation' AND l.granted
  AND l.mode = ANY ($3) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
