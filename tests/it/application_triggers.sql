CREATE TABLE audit(tbl text, what text);
-- What fired, and for which row.
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE fired text := concat_ws(' ', TG_OP, TG_WHEN, TG_LEVEL, TG_NAME);
BEGIN
  IF TG_LEVEL = 'ROW' THEN
    fired := concat_ws(' ', fired, CASE WHEN TG_OP <> 'INSERT' THEN OLD.id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.id END);
  END IF;
  INSERT INTO public.audit VALUES (TG_TABLE_NAME, fired);
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION note_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.audit SELECT TG_TABLE_NAME, concat_ws(' ', TG_OP, TG_NAME, string_agg(id::text, ',' ORDER BY id)) FROM rows;
  RETURN NULL;
END $$;
CREATE TABLE p(id int PRIMARY KEY, t text, children int NOT NULL DEFAULT 0, version int NOT NULL DEFAULT 0, updated_at timestamptz);
CREATE TABLE c(id int PRIMARY KEY, p_id int NOT NULL REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, t text, version int NOT NULL DEFAULT 0, updated_at timestamptz);
CREATE TABLE g(id int PRIMARY KEY, c_id int NOT NULL REFERENCES c ON DELETE CASCADE, t text, version int NOT NULL DEFAULT 0, updated_at timestamptz);
CREATE TABLE s(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL ON UPDATE CASCADE, t text, version int NOT NULL DEFAULT 0, updated_at timestamptz);
CREATE TABLE kept(id int PRIMARY KEY, t text, version int NOT NULL DEFAULT 0, updated_at timestamptz);
CREATE TABLE aside(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
-- Changes the row: a version that counts how often it fired, and a time that is never the same.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.version := NEW.version + 1; NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
-- Skips a row, and changes the key of another.
CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.t = 'veto' THEN RETURN NULL; END IF;
  IF NEW.t = 'shift' THEN NEW.id := NEW.id + 500; END IF;
  RETURN NEW;
END $$;
-- Writes another table of the migration, by its name.
CREATE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE public.p SET children = children + 1 WHERE id = NEW.p_id; RETURN NULL; END $$;
-- Writes its own table again, whichever it is.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.t LIKE '%+' THEN
    EXECUTE format('UPDATE %I.%I SET t = t || ''!'' WHERE id = $1', TG_TABLE_SCHEMA, TG_TABLE_NAME) USING NEW.id;
  END IF;
  PERFORM pg_notify('written', NEW.id::text);
  RETURN NULL;
END $$;
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['p', 'c', 'g', 's', 'kept'] LOOP
    EXECUTE format('CREATE TRIGGER a_row BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE TRIGGER b_row AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE TRIGGER a_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE TRIGGER z_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE TRIGGER rows_in AFTER INSERT ON %I REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION note_rows()', t);
    EXECUTE format('CREATE TRIGGER rows_changed AFTER UPDATE ON %I REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION note_rows()', t);
    EXECUTE format('CREATE TRIGGER rows_out AFTER DELETE ON %I REFERENCING OLD TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION note_rows()', t);
    EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE CONSTRAINT TRIGGER soon AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION note()', t);
    EXECUTE format('CREATE TRIGGER touch BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION touch()', t);
  END LOOP;
END $$;
CREATE TRIGGER "ändern" BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION veto();
CREATE TRIGGER " first" AFTER UPDATE ON p FOR EACH ROW WHEN (OLD.t IS DISTINCT FROM NEW.t) EXECUTE FUNCTION again();
CREATE TRIGGER again AFTER UPDATE OF t ON c FOR EACH ROW EXECUTE FUNCTION again();
CREATE TRIGGER count_children AFTER INSERT ON c FOR EACH ROW EXECUTE FUNCTION count_children();

-- A view of the table, written through INSTEAD OF triggers.
CREATE FUNCTION through() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.audit VALUES (TG_TABLE_NAME, concat_ws(' ', TG_OP, TG_WHEN, TG_NAME));
  IF TG_OP = 'INSERT' THEN EXECUTE format('INSERT INTO public.%I(id, t) VALUES ($1, $2)', TG_ARGV[0]) USING NEW.id, NEW.t; RETURN NEW; END IF;
  IF TG_OP = 'UPDATE' THEN EXECUTE format('UPDATE public.%I SET t = $2 WHERE id = $1', TG_ARGV[0]) USING OLD.id, NEW.t; RETURN NEW; END IF;
  EXECUTE format('DELETE FROM public.%I WHERE id = $1', TG_ARGV[0]) USING OLD.id;
  RETURN OLD;
END $$;
CREATE VIEW seen AS SELECT id, t FROM kept;
CREATE TRIGGER through INSTEAD OF INSERT OR UPDATE OR DELETE ON seen FOR EACH ROW EXECUTE FUNCTION through('kept');
