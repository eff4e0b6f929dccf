-- The bytes of all data files.
(SELECT stored_bytes FROM internal.sizes)
