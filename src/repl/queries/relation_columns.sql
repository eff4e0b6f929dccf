-- The columns of the relation $1, which is in :schema, as a server's catalogue has them.
SELECT column_name AS "Column", data_type AS "Type", CASE is_nullable WHEN 'NO' THEN 'not null' ELSE '' END AS "Nullable"
FROM information_schema.columns
WHERE table_name = $1 AND table_schema = :schema
ORDER BY ordinal_position
