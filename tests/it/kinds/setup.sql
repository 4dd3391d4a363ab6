CREATE EXTENSION pg_mig;
CREATE ACCESS METHOD xheap TYPE TABLE HANDLER heap_tableam_handler;
CREATE FOREIGN DATA WRAPPER far;
CREATE SERVER far FOREIGN DATA WRAPPER far;
CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
-- As an extension does that writes a table elsewhere: PostgreSQL's own triggers of this sort are those of keys.
CREATE PROCEDURE manage(relation regclass) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER managed AFTER TRUNCATE ON %s EXECUTE FUNCTION elsewhere()', relation);
  SET LOCAL allow_system_table_mods = on;
  UPDATE pg_trigger SET tgisinternal = true WHERE tgrelid = relation AND tgname = 'managed';
END
$$;
CREATE PROCEDURE release(relation regclass) LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL allow_system_table_mods = on;
  UPDATE pg_trigger SET tgisinternal = false WHERE tgrelid = relation AND tgname = 'managed';
  EXECUTE format('DROP TRIGGER managed ON %s', relation);
END
$$;
