-- The relations that the shell's \d lists: those that hold spans, and not those that describe relations.
SELECT table_schema AS "Schema", table_name AS "Name", replace(lower(replace(table_type, 'BASE ', '')), 'view', 'table') AS "Type"
FROM information_schema.tables
WHERE table_schema NOT IN ('information_schema', 'pg_catalog')
ORDER BY 1, 2
