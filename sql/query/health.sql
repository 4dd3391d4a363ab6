-- The server beside a migration: items of mig_checklist that no table of it answers. $1 oid[]: its tables.
SELECT 'statements that run for more than 5 minutes' AS item, count(a.pid) = 0 AS ok,
  coalesce(string_agg(format('process %s for %s', a.pid, date_trunc('second', clock_timestamp() - a.query_start)), '; ' ORDER BY a.query_start), 'none') AS detail
FROM pg_catalog.pg_stat_activity a
WHERE a.state = 'active' AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND a.query_start < clock_timestamp() - interval '5 minutes'
UNION ALL
SELECT 'transactions open for more than 5 minutes', count(a.pid) = 0,
  coalesce(string_agg(format('process %s (%s) for %s', a.pid, a.state, date_trunc('second', clock_timestamp() - a.xact_start)), '; ' ORDER BY a.xact_start), 'none')
FROM pg_catalog.pg_stat_activity a
WHERE a.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - interval '5 minutes' AND a.backend_type = 'client backend'
UNION ALL
SELECT 'prepared transactions', count(x.gid) = 0,
  coalesce(string_agg(format('%s for %s', quote_literal(x.gid), date_trunc('second', clock_timestamp() - x.prepared)), '; ' ORDER BY x.prepared), 'none')
FROM pg_catalog.pg_prepared_xacts x WHERE x.database = current_database()
UNION ALL
SELECT 'sessions that wait for another', count(a.pid) = 0,
  coalesce(string_agg(format('process %s waits for %s', a.pid, array_to_string(pg_catalog.pg_blocking_pids(a.pid), ', ')), '; ' ORDER BY a.pid), 'none')
FROM pg_catalog.pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND cardinality(pg_catalog.pg_blocking_pids(a.pid)) > 0
UNION ALL
SELECT 'connections in use, 80 % at most', count(*) <= 0.8 * current_setting('max_connections')::int,
  format('%s of %s, %s of them active', count(*), current_setting('max_connections'), count(*) FILTER (WHERE a.state = 'active'))
FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend'
UNION ALL
SELECT 'constraints that are not validated', count(co.oid) = 0,
  coalesce(string_agg(format('%s of %s', co.conname, co.conrelid::regclass), '; ' ORDER BY co.conrelid, co.conname), 'none')
FROM pg_catalog.pg_constraint co WHERE co.conrelid = ANY ($1) AND NOT co.convalidated
UNION ALL
SELECT 'indexes that are not valid', count(i.indexrelid) = 0,
  coalesce(string_agg(format('%s of %s', i.indexrelid::regclass, i.indrelid::regclass), '; ' ORDER BY i.indrelid, i.indexrelid), 'none')
FROM pg_catalog.pg_index i WHERE i.indrelid = ANY ($1) AND NOT i.indisvalid
UNION ALL
SELECT format('size of %s with its indexes', c.oid::regclass), NULL, pg_size_pretty(pg_catalog.pg_total_relation_size(c.oid))
FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)
