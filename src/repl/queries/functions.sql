-- The functions whose names are LIKE $1: what the shell's \df lists and completion offers. Those of type table stand in FROM.
SELECT DISTINCT routine_name AS "Name", lower(function_type) AS "Type", description AS "What it does"
FROM information_schema.routines
WHERE routine_name LIKE $1
UNION ALL
SELECT proname, 'table', obj_description(oid, 'pg_proc') || ' Takes ' || coalesce(nullif(pg_get_function_arguments(oid), ''), 'nothing') || '.'
FROM pg_catalog.pg_proc
WHERE proname LIKE $1 AND obj_description(oid, 'pg_proc') IS NOT NULL
ORDER BY 1, 2, 3
