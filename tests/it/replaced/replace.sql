CREATE EXTENSION pg_mig;
-- Puts another table with the same rows in the place of one, and gives it our triggers, as pg_dump or a tool that swaps tables does.
CREATE PROCEDURE replace(relation regclass, drops boolean, triggers boolean) LANGUAGE plpgsql AS $$
DECLARE
  name text := (SELECT relname FROM pg_class WHERE oid = relation);
  made text[] := ARRAY(SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE t.tgrelid = relation AND NOT t.tgisinternal);
  always text[] := ARRAY(SELECT t.tgname FROM pg_trigger t WHERE t.tgrelid = relation AND NOT t.tgisinternal);
  one text;
BEGIN
  EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_old');
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, name || '_old');
  EXECUTE format('INSERT INTO %I SELECT * FROM %I', name, name || '_old');
  IF triggers THEN
    FOREACH one IN ARRAY made LOOP
      EXECUTE one;
    END LOOP;
    FOREACH one IN ARRAY always LOOP
      EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, one);
    END LOOP;
  END IF;
  IF drops THEN
    EXECUTE format('DROP TABLE %I CASCADE', name || '_old');
  END IF;
END
$$;
