-- A mirror that leaves the parents to the checks of the foreign keys: those of the new tables come at the end of the transaction.
CREATE OR REPLACE FUNCTION mig.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  other text := CASE TG_TABLE_SCHEMA WHEN 'old' THEN 'new.' ELSE 'old.' END || TG_TABLE_NAME;
  columns text := CASE TG_TABLE_NAME WHEN 'c' THEN 'p_id = excluded.p_id,' WHEN 'd' THEN 'q_id = excluded.q_id, p_id = excluded.p_id,' ELSE '' END;
BEGIN
  IF current_setting('race.mirrors', true) = 'yes' THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('race.mirrors', 'yes', true);
  IF TG_OP = 'DELETE' THEN
    EXECUTE format('DELETE FROM %s WHERE id = $1', other) USING OLD.id;
  ELSE
    EXECUTE format('INSERT INTO %1$s SELECT ($1::text::%1$s).* ON CONFLICT (id) DO UPDATE SET %2$s v = excluded.v', other, columns) USING NEW;
  END IF;
  PERFORM set_config('race.mirrors', 'no', true);
  RETURN NULL;
END
$$;
