-- Five wide rows fill a block, so a slice of one block is rows 10 to 50, and the next one 60 to 90.
ALTER TABLE src ALTER filler SET STORAGE PLAIN;

-- The row filter of the migration stops a batch before its n-th visit of a row: in sessions that set race.stop_at,
-- for as long as somebody holds advisory lock 42. Other sessions pass.
CREATE FUNCTION gate(id int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET lock_timeout = 0 AS $$
DECLARE
  stop text := current_setting('race.stop_at', true);
  visit int;
BEGIN
  IF stop IS NULL OR stop = '' THEN
    RETURN true;
  END IF;
  visit := coalesce(nullif(current_setting('race.visits', true), ''), '0')::int + 1;
  PERFORM set_config('race.visits', visit::text, false);
  IF visit = stop::int THEN
    PERFORM pg_advisory_lock_shared(42);
    PERFORM pg_advisory_unlock_shared(42);
  END IF;
  RETURN true;
END
$$;

SELECT mig_define('race', options => '{"batch_rows": 1, "lock_timeout_ms": 50}');

-- Back to a mirrored source of nine rows with nothing copied.
CREATE PROCEDURE race_reset() LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT phase FROM mig.status) <> 'created' THEN
    PERFORM mig_rollback('race', 'created');
  END IF;
  PERFORM race_fill();
  PERFORM mig_dual_write();
END
$$;

CREATE PROCEDURE race_rest() LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1..100 LOOP
    PERFORM mig_step();
    COMMIT;
    EXIT WHEN (SELECT phase FROM mig.status) = 'backfilled';
  END LOOP;
  IF (SELECT phase FROM mig.status) <> 'backfilled' THEN
    RAISE 'the backfill does not end: %', (SELECT problem FROM mig.status);
  END IF;
END
$$;
