-- How often each value :value came, the most frequent first: what the shell's \hist draws of values that are few or no numbers.
SELECT value, count(*)
FROM (SELECT CAST(:value AS TEXT) AS value FROM :relation WHERE :condition)
WHERE value IS NOT NULL
GROUP BY value
ORDER BY 2 DESC, 1
LIMIT 25
