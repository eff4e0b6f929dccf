-- system.ingest: a row counts requests or spans that the listeners took, or refused for one reason, since the start of the server. There are
-- rows only when the server itself is asked.
SELECT what, outcome, reason, count FROM internal.ingest
