-- All functions of the extension, each with a call of it: arguments of their types.
SELECT p.proname, format('%s %s.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.pronamespace::regnamespace, p.proname, (
    SELECT string_agg(CASE
        WHEN a.name = 'mode' THEN '''quick'''
        WHEN a.name = 'driver' THEN '''manual'''
        WHEN a.name = 'to_phase' THEN '''defined'''
        WHEN a.type = 'text'::regtype THEN '''shop'''
        WHEN a.type = 'regclass'::regtype THEN '''pg_class'''
        WHEN a.type = 'jsonb'::regtype THEN '''{"delay_ms": 1}'''
        WHEN a.type = 'regrole'::regtype THEN '''stranger'''
        WHEN a.type = 'boolean'::regtype THEN 'true'
        WHEN a.type = 'interval'::regtype THEN '''1 s'''
        WHEN a.type = 'name'::regtype THEN '''c'''
        WHEN a.type = 'name[]'::regtype THEN '''{c}'''
        ELSE '1' END || '::' || a.type::regtype, ', ' ORDER BY a.n)
    FROM (SELECT t.n, t.t AS type, p.proargnames[t.n] AS name FROM unnest(p.proargtypes[0:pronargs - 1]) WITH ORDINALITY t(t, n)) a))
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_mig'
WHERE p.prorettype <> 'trigger'::regtype
ORDER BY 1
