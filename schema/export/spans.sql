-- What `spanhouse export` writes when the order of spans does not matter.
SELECT * FROM traces.spans
WHERE
:predicate
