-- $1 version: whether a session of this database may still have a library that is older. Whose sessions one may not see, one
-- cannot know.
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_stat_activity a
  WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    AND a.pid <> pg_catalog.pg_backend_pid()
    AND (a.backend_start IS NULL OR a.backend_start < (SELECT max(u.at) FROM mig.updated u WHERE u.version = $1)))
  AND EXISTS (SELECT FROM mig.updated u WHERE u.version = $1)
