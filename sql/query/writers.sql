-- $1 oid: roles that may write a table, and how. Only those that its owner may become: what the table's triggers do is done
-- with that role's rights.
SELECT r.oid::bigint AS role, r.rolname AS name,
  bool_or(e.privilege_type = 'INSERT') AS may_insert,
  bool_or(e.privilege_type = 'UPDATE') AS may_update,
  bool_or(e.privilege_type = 'DELETE') AS may_delete
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) e
JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
WHERE c.oid = $1 AND e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE') AND pg_catalog.pg_has_role(c.relowner, r.oid, 'USAGE')
GROUP BY r.oid, r.rolname
ORDER BY r.rolname
