-- $1 version: sessions of this database that may still have a library that is older, and those of them of which that is known. Whose
-- sessions one may not see, one cannot know.
SELECT count(*) AS maybe, count(a.backend_start) AS known
FROM pg_catalog.pg_stat_activity a
JOIN mig.updated u ON u.version = $1
WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND (a.backend_start IS NULL OR a.backend_start < u.at)
