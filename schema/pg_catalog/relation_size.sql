-- The bytes of the relation $1, by its name or OID: the data files are those of the spans, and what follows from them has none.
CASE
  WHEN regclassin($1) = regclassin('traces.spans') THEN (SELECT coalesce(sum(bytes), 0)::bigint FROM system.files)
  WHEN regclassin($1) IS NOT NULL THEN 0
END
