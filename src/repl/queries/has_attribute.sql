-- Whether any span has the attribute :attribute.
SELECT 1
FROM spans
WHERE :attribute IS NOT NULL
LIMIT 1
