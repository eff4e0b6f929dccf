-- When the first and the last of the spans in :relation began of which :condition is true, and how many there are.
SELECT min("timestamp"), max("timestamp"), count(*)
FROM :relation
WHERE :condition
