-- pg_mig 0.2.0 to 0.3.0: new ids. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE mig.mapping ADD COLUMN settled boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN mig.mapping.settled IS 'All old rows have their ids: a mirror that meets a row without one gives it one, and leaves nothing to the backfill.';

ALTER TABLE mig.leftover ADD COLUMN noted_by int NOT NULL DEFAULT pg_catalog.pg_backend_pid();
ALTER TABLE mig.leftover DROP CONSTRAINT leftover_mapping_key_key, ADD UNIQUE (mapping, key, noted_by);
COMMENT ON COLUMN mig.leftover.noted_by IS 'The process that noted it: a batch must not wait for an application that is about to note the same row.';

CREATE OR REPLACE VIEW mig.tables AS
SELECT m.name AS migration, p.ordinal, p.source,
       coalesce(p.target::text, pg_catalog.quote_ident(p.target_schema) || '.' || pg_catalog.quote_ident(p.target_name)) AS target,
       p.target AS target_relation, p.adopted, p.id_mode,
       p.copied, p.rows_done, p.rows_total, p.next_block, p.bound_blocks,
       CASE WHEN p.layout IS NOT NULL THEN 'mig.m' || p.id || '_forward' END AS mapping_view,
       CASE WHEN p.layout->'drawn' <> 'null' THEN 'mig.m' || p.id || '_map' END AS id_map
FROM mig.mapping p JOIN mig.migration m ON m.id = p.migration;

CREATE FUNCTION @extschema@.mig_map(migration text, source regclass, old_key text) RETURNS text
  LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_map_wrapper';
COMMENT ON FUNCTION @extschema@.mig_map(text, regclass, text) IS 'The new id of the row that had old_key in source (of a key of several columns the one that is drawn anew), the same where keys are kept; null where the target has no such row. Needs SELECT on the map and the target. Errors: 22023 no table of the migration, 55000 before mig_create. Locks: none.';

-- Default privileges of the role that updates may have granted it to anybody.
DO $$
DECLARE
  grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
    WHERE p.oid = '@extschema@.mig_map(text, regclass, text)'::regprocedure AND x.grantee <> p.proowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION @extschema@.mig_map(text, regclass, text) FROM %s', grantee);
  END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION @extschema@.mig_map(text, regclass, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.mig_map(text, regclass, text) TO @extowner@ WITH GRANT OPTION;
-- Roles that may run migrations may look ids up.
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
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION @extschema@.mig_map(text, regclass, text) TO %s', allowed);
  END LOOP;
END
$$;
