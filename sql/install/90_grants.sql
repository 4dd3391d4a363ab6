-- Default privileges of the installing role may have granted anything to anybody: take all of it back first.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT m.object, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig'
    CROSS JOIN LATERAL (
      SELECT pg_catalog.format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS object,
             p.proowner AS owner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl
      FROM pg_catalog.pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
      UNION ALL
      SELECT pg_catalog.format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass), c.relowner, c.relacl
      FROM pg_catalog.pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'v', 'S')
      UNION ALL
      SELECT pg_catalog.format('SCHEMA %I', n.nspname), n.nspowner, n.nspacl
      FROM pg_catalog.pg_namespace n WHERE d.classid = 'pg_namespace'::regclass AND n.oid = d.objid) m
    CROSS JOIN LATERAL (SELECT DISTINCT a.grantee FROM pg_catalog.aclexplode(m.acl) a WHERE a.grantee <> m.owner) x
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', item.object, item.grantee);
  END LOOP;
END
$$;

-- Every role may read the views: each shows a role its own migrations.
GRANT USAGE ON SCHEMA mig TO PUBLIC;
GRANT SELECT ON mig.tables, mig.runners, mig.checks, mig.history, mig.progress, mig.status, mig.standing, mig.drift, mig.objects, mig.changes, mig.workers, mig.shares,
  mig.metrics, mig.jobs, mig.columns, mig.errors, mig.blockers, mig.activity TO PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.mig_status(text), @extschema@.mig_reads(text), @extschema@.mig_map(text, regclass, text),
  @extschema@.mig_version(), mig.only(text), @extschema@.mig_config(text), @extschema@.mig_wait(text, interval),
  @extschema@.mig_lint(text), @extschema@.mig_wait(bigint, interval) TO PUBLIC;

-- The owner of the extension calls every function, and lets others call them (mig_allow). Nobody writes the tables: native code does,
-- after it has asked who calls.
DO $$
DECLARE
  f record;
BEGIN
  FOR f IN
    SELECT pg_catalog.format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS name,
           p.prorettype = 'trigger'::regtype AS is_trigger
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
      AND d.refclassid = 'pg_extension'::regclass
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig'
    ORDER BY 1
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO @extowner@ %s', f.name, CASE WHEN f.is_trigger THEN '' ELSE 'WITH GRANT OPTION' END);
  END LOOP;
END
$$;
GRANT USAGE ON SCHEMA mig TO @extowner@ WITH GRANT OPTION;

-- pg_dump, by the owner of the extension, reads what pg_extension_config_dump() names, sequences too. pg_restore, by the role that owns
-- the restored extension, puts it in (see mig.keep_state), and makes the views and triggers that the dump has.
GRANT CREATE ON SCHEMA mig TO @extowner@;
GRANT SELECT, INSERT ON mig.migration, mig.mapping, mig.new_column, mig.step_log TO @extowner@;
GRANT SELECT, UPDATE ON SEQUENCE mig.migration_id_seq, mig.mapping_id_seq, mig.new_column_id_seq, mig.step_log_id_seq TO @extowner@;
