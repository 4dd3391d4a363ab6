-- $1 regclass: whether the current role sees all rows of it.
SELECT pg_catalog.has_table_privilege($1::oid, 'SELECT') AND NOT (c.relrowsecurity AND pg_catalog.row_security_active($1::oid))
FROM pg_catalog.pg_class c WHERE c.oid = $1
