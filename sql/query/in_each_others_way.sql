-- $1 oid[] tables that we have locked, $2 oid[] tables that we want: whether somebody waits for one of the former and holds
-- one of the latter, so that neither session would go on.
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks w
  JOIN pg_catalog.pg_locks h ON h.pid = w.pid AND h.granted AND h.locktype = 'relation' AND h.database = w.database AND h.relation = ANY ($2)
  WHERE NOT w.granted AND w.locktype = 'relation' AND w.relation = ANY ($1)
    AND w.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
