SELECT map, key, string_agg(type, ', ' ORDER BY type) AS types
FROM system.promoted_attributes
GROUP BY map, key
ORDER BY map, key
