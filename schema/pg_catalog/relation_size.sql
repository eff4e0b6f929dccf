-- The bytes of the relation $1, by its name or OID: the data files are those of the spans, and what follows from them has none.
CASE
  WHEN regclassin($1) = regclassin('traces.spans') THEN (SELECT stored_bytes FROM internal.sizes)
  WHEN regclassin($1) IS NOT NULL THEN 0
END
