-- system.store: a row is a figure. Counters since the start are there only when the server itself is asked.
SELECT name, value, description FROM internal.figures
