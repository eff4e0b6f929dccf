-- The keys of attributes that completion offers, with the map that they lie in. Files tell them by their footers and dictionaries.
-- Parameters: none.
SELECT DISTINCT map, key
FROM (
    SELECT map, key FROM system.promoted_attributes
    UNION ALL
    SELECT 'attributes', key FROM (SELECT DISTINCT unnest(map_keys(attributes)) AS key FROM spans)
    UNION ALL
    SELECT 'resource_attributes', key FROM (SELECT DISTINCT unnest(map_keys(resource_attributes)) AS key FROM spans)
    UNION ALL
    SELECT 'scope_attributes', key FROM (SELECT DISTINCT unnest(map_keys(scope_attributes)) AS key FROM spans)
)
ORDER BY map, key
LIMIT 10000
