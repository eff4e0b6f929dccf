-- The functions that stand in FROM, with their parameters and how many of these a call has to give: what the shell's completion knows of them.
SELECT proname, pg_get_function_identity_arguments(oid), pronargs - pronargdefaults
FROM pg_catalog.pg_proc
WHERE proretset AND obj_description(oid, 'pg_proc') IS NOT NULL
ORDER BY proname, oid
