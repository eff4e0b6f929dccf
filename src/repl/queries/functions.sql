-- The functions whose names are LIKE $1: what the shell's \df lists and completion offers.
SELECT DISTINCT routine_name AS "Name", lower(function_type) AS "Type", description AS "What it does"
FROM information_schema.routines
WHERE routine_name LIKE $1
ORDER BY 1, 2, 3
