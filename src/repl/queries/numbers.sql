-- What the shell's \hist has to know of :value before it draws it: how many there are, how many are numbers and how many differ, and where the numbers lie.
SELECT
    count(value),
    count(number),
    count(DISTINCT value),
    min(number),
    max(number),
    quantile(number, 0.5)
FROM (SELECT :value AS value, try_cast(:value AS DOUBLE) AS number FROM :relation WHERE :condition)
