-- The schemas that the shell's \dn lists.
SELECT DISTINCT table_schema AS "Name"
FROM information_schema.tables
ORDER BY 1
