-- pg_mig 0.3.0 to 0.4.0: rows written below SQL, throttles. A migration may be under way.
ALTER FUNCTION mig.mirror() RESET search_path;

COMMENT ON FUNCTION mig_configure(text, jsonb) IS 'Changes options; a running job reads them before its next batch, null resets one. batch_rows (rows, start 1000), batch_target_ms (100), delay_ms (0), max_replication_lag (a duration, "10 s"), max_wal_rate (a size for each second, "64 MB"), throttle_query (a query that returns true to wait), lock_timeout_ms (500), defer_indexes (true), max_workers (1), archive_after_days (30), drop_after_days (90). Errors: 22023 with the nearest name. Returns the merged options.';

CREATE TABLE mig.updated (
  version text PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE mig.updated IS 'When ALTER EXTENSION UPDATE brought which version: a session keeps the library that it has loaded until it ends.';
-- Default privileges of the role that updates may have granted it to anybody.
DO $$
DECLARE
  grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) x
    WHERE c.oid = 'mig.updated'::regclass AND x.grantee <> c.relowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON mig.updated FROM %s', grantee);
  END LOOP;
END
$$;
GRANT SELECT ON mig.updated TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mig.updated TO @extowner@ WITH GRANT OPTION;
-- Whoever may run migrations has what he has on the other tables.
DO $$
DECLARE
  allowed text;
BEGIN
  FOR allowed IN
    SELECT DISTINCT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee))
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) x
    WHERE p.oid = '@extschema@.mig_step(text, int)'::regprocedure AND x.grantee NOT IN (0, p.proowner)
      AND pg_catalog.pg_get_userbyid(x.grantee) <> (SELECT pg_catalog.pg_get_userbyid(e.extowner) FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_mig')
  LOOP
    EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON mig.updated TO %s', allowed);
  END LOOP;
END
$$;

-- From here on a batch may leave rows unlocked, as soon as no session is older than this.
INSERT INTO mig.updated (version) VALUES ('0.4.0');
