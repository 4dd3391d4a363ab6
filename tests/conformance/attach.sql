-- What the specs of PostgreSQL's isolation suite are run with: a migration of every table that one makes, in the phase that is asked for.
CREATE EXTENSION pg_mig;
CREATE SCHEMA IF NOT EXISTS conformance;

-- Rows that differ, and tables that stayed without mirrors and why.
CREATE TABLE conformance.note (spec text, relation text, differences bigint, why text);

-- Tables that the test does not make.
CREATE TABLE conformance.base AS SELECT oid AS relation FROM pg_class;

-- Begins a migration of the tables in public. A table that cannot be moved stays as it is.
CREATE FUNCTION conformance.begin(spec text) RETURNS void LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
  t record;
BEGIN
  CREATE SCHEMA new;
  GRANT USAGE ON SCHEMA new TO public;
  PERFORM public.mig_define('conformance');
  FOR t IN SELECT c.oid, c.relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
             AND oid NOT IN (SELECT relation FROM conformance.base) ORDER BY oid LOOP
    BEGIN
      PERFORM public.mig_add_table('conformance', t.oid::regclass, format('new.%I', t.relname));
    EXCEPTION WHEN OTHERS THEN
      INSERT INTO conformance.note VALUES (spec, t.relname, NULL, SQLERRM);
    END;
  END LOOP;
  BEGIN
    IF EXISTS (SELECT FROM mig.mapping) THEN
      PERFORM public.mig_create('conformance');
      PERFORM public.mig_dual_write('conformance');
      RETURN;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO conformance.note VALUES (spec, NULL, NULL, SQLERRM);
  END;
  PERFORM conformance.forget();
END
$$;

-- Its progress is not the test's.
CREATE PROCEDURE conformance.copy() LANGUAGE plpgsql AS $$
DECLARE
  level text := current_setting('client_min_messages');
BEGIN
  PERFORM set_config('client_min_messages', 'error', false);
  IF EXISTS (SELECT FROM mig.mapping) THEN
    CALL public.mig_run('conformance');
  END IF;
  PERFORM set_config('client_min_messages', level, false);
END
$$;

-- A migration without a way back stays as it is.
CREATE FUNCTION conformance.switch() RETURNS void LANGUAGE plpgsql SET client_min_messages = error AS $$
BEGIN
  IF EXISTS (SELECT FROM mig.mapping) THEN
    PERFORM public.mig_switch('conformance');
  END IF;
EXCEPTION WHEN OTHERS THEN
  INSERT INTO conformance.note VALUES ('(switch)', NULL, NULL, SQLERRM);
END
$$;

CREATE FUNCTION conformance.forget() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM mig.migration) THEN
    BEGIN
      PERFORM public.mig_rollback('conformance', 'defined');
      PERFORM public.mig_drop('conformance');
    EXCEPTION WHEN OTHERS THEN
      -- The test has changed or dropped a table of the migration, or tables of its own refer to the new ones.
      PERFORM public.mig_detach('conformance');
      DROP SCHEMA new CASCADE;
      PERFORM public.mig_rollback('conformance', 'defined');
      PERFORM public.mig_drop('conformance', force => true);
    END;
  END IF;
  DROP SCHEMA IF EXISTS new CASCADE;
END
$$;

-- Compares both sides, and removes the migration. The columns that both have are compared, as text.
CREATE FUNCTION conformance.finish(spec text) RETURNS void LANGUAGE plpgsql SET client_min_messages = error SET lock_timeout = '10s' SET search_path = pg_catalog AS $$
DECLARE
  t record;
  n bigint;
  copied boolean := EXISTS (SELECT FROM mig.job WHERE state = 'done');
BEGIN
  FOR t IN SELECT s.relname, format('%I.%I', 'public', s.relname) AS old, format('new.%I', s.relname) AS new,
             (SELECT string_agg(format('%I::text', attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = s.oid AND attnum > 0 AND NOT attisdropped) AS columns
           FROM pg_class s JOIN pg_class d ON d.relname = s.relname AND d.relnamespace = to_regnamespace('new')
           WHERE s.relnamespace = 'public'::regnamespace AND s.relkind IN ('r', 'p') AND s.oid NOT IN (SELECT relation FROM conformance.base) LOOP
    BEGIN
      EXECUTE format('SELECT count(*) FROM ((SELECT %1$s FROM %3$s EXCEPT ALL SELECT %1$s FROM %2$s) %4$s) q', t.columns, t.old, t.new,
        CASE WHEN copied THEN format('UNION ALL (SELECT %1$s FROM %2$s EXCEPT ALL SELECT %1$s FROM %3$s)', t.columns, t.old, t.new) ELSE '' END) INTO n;
      INSERT INTO conformance.note VALUES (spec, t.relname, n, NULL);
    EXCEPTION WHEN OTHERS THEN
      INSERT INTO conformance.note VALUES (spec, t.relname, NULL, SQLERRM);
    END;
  END LOOP;
  PERFORM conformance.forget();
END
$$;
