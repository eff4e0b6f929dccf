-- system.engine: a row is a figure of what statements take of the process that answers, and of what became of those before.
SELECT name, value, description FROM internal.engine
