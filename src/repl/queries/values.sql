-- Values that completion offers: those of :value, an attribute or a column, that are LIKE $1.
SELECT DISTINCT value
FROM (SELECT :value AS value FROM spans)
WHERE value LIKE $1
LIMIT 200
