-- $1 text: a type. Index access methods of several columns, besides btree, whose default operator class for it has pg_catalog's "=".
SELECT DISTINCT to_jsonb(am.amname)
FROM (SELECT ty.typtype, coalesce(nullif(ty.typbasetype, 0), ty.oid) AS base FROM pg_catalog.pg_type ty WHERE ty.oid = $1::regtype) t
JOIN pg_catalog.pg_opclass oc ON oc.opcdefault AND (oc.opcintype = t.base OR t.typtype = 'e' AND oc.opcintype = 'anyenum'::regtype
  OR EXISTS (SELECT FROM pg_catalog.pg_cast ca WHERE ca.castsource = t.base
       AND ca.casttarget = oc.opcintype AND ca.castmethod = 'b' AND ca.castcontext = 'i'))
JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname <> 'btree'
  AND pg_catalog.pg_indexam_has_property(am.oid, 'can_multi_col') AND pg_catalog.pg_indexam_has_property(am.oid, 'can_exclude')
JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype AND ao.amoppurpose = 's'
JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr AND op.oprname = '=' AND op.oprnamespace = 'pg_catalog'::regnamespace
