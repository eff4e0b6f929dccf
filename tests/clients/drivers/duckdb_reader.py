"""DuckDB attaches the server as a PostgreSQL database. Says so and ends with 0 when its extension cannot be had.

Usage: duckdb_reader.py PORT
"""

import duckdb
from checks import DATABASE, HOST, PORT, USER, check, finish

connection = duckdb.connect()
try:
    connection.execute("INSTALL postgres; LOAD postgres")
except (duckdb.IOException, duckdb.HTTPException) as error:
    print(f"NOT TESTED: DuckDB's extension is not to be had: {str(error).splitlines()[0]}")
    raise SystemExit(0) from error
connection.execute(f"ATTACH 'host={HOST} port={PORT} user={USER} dbname={DATABASE}' AS house (TYPE postgres, READ_ONLY)")
check("count", connection.execute("SELECT count(*) FROM house.traces.spans").fetchone()[0], 4)
check("filter", connection.execute("SELECT span_name FROM house.traces.spans WHERE service_name = 'cart'").fetchall(), [("SELECT cart",)])
check("query", connection.execute("SELECT * FROM postgres_query('house', 'SELECT max(duration_ns) FROM spans')").fetchone()[0], 100_000_000)
finish("DuckDB")
