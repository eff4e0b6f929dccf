-- The bytes of all data files.
(SELECT coalesce(sum(bytes), 0)::bigint FROM system.files)
