-- The standbys that replay our WAL, and how far each is. A role without the right sees rows without a state.
SELECT application_name AS name, state IS NULL AS hidden, pg_catalog.pg_wal_lsn_diff(replay_lsn, '0/0')::bigint AS replayed
FROM pg_catalog.pg_stat_replication
WHERE state IS NULL OR state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL
