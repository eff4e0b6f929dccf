-- Error propagation
--
-- Where errors began, how far up they went and what they took along: by the service, operation and error that they began with.
--
-- param from timestamp '1970-01-01' errors that began at this time or later
-- param to timestamp '2100-01-01' errors that began before this time
-- param limit integer 100 how many beginnings
SELECT *
FROM error_propagation(true, :from, :to)
ORDER BY traces DESC, origin_service, origin_name, error
LIMIT :limit
