-- pg_mig 0.6.0 to 0.7.0: several old tables become one. A migration may be under way.
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE mig.mapping DROP CONSTRAINT mapping_migration_target_schema_target_name_key;

DROP FUNCTION @extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text);
CREATE FUNCTION @extschema@.mig_add_table(migration text, source regclass, target text, unique_keys jsonb DEFAULT NULL,
                              columns jsonb DEFAULT NULL, refs jsonb DEFAULT NULL, target_key jsonb DEFAULT NULL,
                              id_mode text DEFAULT 'preserve', filter text DEFAULT NULL, combine text DEFAULT NULL) RETURNS void
  LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mig_add_table_wrapper';
COMMENT ON FUNCTION @extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text) IS 'Adds a table to a migration in phase defined. target: table or schema.table (unqualified: in the source''s schema); unique_keys: [["a","b"]], the scope is put in front; columns: {"target_column": "SQL expression" | {"up": ..., "down": ...} | null}; refs: {"column": "source_table"}; target_key: columns of the primary key; filter: condition over the source row; combine: union or merge, for a target that another source was given already (union: rows stay apart, told by a column that is constant in each source; merge: rows of one key become one row; default: merge where the key refers to the other''s key, else union). Expressions see pg_catalog: name other functions with their schema. Errors: 42501 not the owner, 42809 no ordinary table, 55000 no primary key or wrong phase, 42710 mapped already, 22023 bad expression, or sources that do not fit into one target. Locks: AccessShare on the source for the call.';

-- Default privileges of the role that updates may have granted it to anybody.
DO $$
DECLARE
  grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
    WHERE p.oid = '@extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text)'::regprocedure AND x.grantee <> p.proowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION @extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text) FROM %s', grantee);
  END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION @extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text) TO @extowner@ WITH GRANT OPTION;
-- Roles that may run migrations may do this, too.
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
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION @extschema@.mig_add_table(text, regclass, text, jsonb, jsonb, jsonb, jsonb, text, text, text) TO %s', allowed);
  END LOOP;
END
$$;

INSERT INTO mig.updated (version) VALUES ('0.7.0');
