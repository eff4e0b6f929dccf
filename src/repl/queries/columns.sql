-- Every column of every relation: the names that the shell's completion offers.
SELECT table_schema, table_name, column_name
FROM information_schema.columns
ORDER BY table_schema, table_name, ordinal_position
