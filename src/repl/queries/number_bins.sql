-- How many numbers :value there are in each bin; :bin is the number of the bin of x.
SELECT bin, count(*)
FROM (SELECT CAST(:bin AS BIGINT) AS bin FROM (SELECT try_cast(:value AS DOUBLE) AS x FROM :relation WHERE :condition) WHERE x IS NOT NULL)
GROUP BY bin
ORDER BY bin
