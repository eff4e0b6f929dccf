-- Keys of attributes by how many of the sampled spans have them. Parameters: none.
SELECT key
FROM (
    SELECT unnest(map_keys(attributes)) AS key FROM (SELECT attributes FROM spans LIMIT 20000)
    UNION ALL
    SELECT unnest(map_keys(resource_attributes)) FROM (SELECT resource_attributes FROM spans LIMIT 2000)
)
GROUP BY key
ORDER BY count(*) DESC, key
LIMIT 1000
