"""psqlODBC, through pyodbc: statements, parameters, types, metadata, and fetching in parts.

Usage: odbc.py PORT DRIVER (the driver's library)
"""

import datetime as dt
import decimal
import sys

import pyodbc
from checks import DATABASE, HOST, NAMES, PORT, USER, check, finish, refused

for declares in (0, 1):
    how = "with cursors on the server" if declares else "at once"
    connection = pyodbc.connect(
        f"DRIVER={sys.argv[2]};SERVER={HOST};PORT={PORT};DATABASE={DATABASE};UID={USER};SSLmode=disable;UseDeclareFetch={declares};Fetch=2", autocommit=not declares
    )
    cursor = connection.cursor()
    check(f"{how}: names", [row[0] for row in cursor.execute("SELECT span_name FROM spans ORDER BY timestamp")], NAMES)
    cursor.execute("SELECT count(*) FROM spans WHERE service_name = ? AND duration_ns > ?", "frontend", 10_000_000)
    check(f"{how}: parameters", cursor.fetchone()[0], 1)
    cursor.execute("SELECT count(*) FROM spans WHERE timestamp >= ?", dt.datetime(2023, 11, 14, 22, 13, 21))
    check(f"{how}: time", cursor.fetchone()[0], 2)
    row = cursor.execute(
        "SELECT 7::int, 9223372036854775807, 1.5::float8, 12.50::numeric(10,2), 'é', '\\x00ff'::bytea, date '2024-02-29', timestamp '2024-02-29 01:02:03.5', NULL::text"
    ).fetchone()
    expected = [7, 9223372036854775807, 1.5, decimal.Decimal("12.50"), "é", b"\x00\xff", dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3, 500000), None]
    check(f"{how}: types", list(row), expected)
    check(f"{how}: tables", {"spans", "traces"} <= {row.table_name for row in cursor.tables(schema="traces")}, True)
    columns = {row.column_name: row.type_name for row in cursor.columns(table="spans", schema="traces")}
    check(f"{how}: columns", [columns.get(name) for name in ("timestamp", "trace_id", "duration_ns", "duration_ms")], ["timestamptz", "text", "int8", "float8"])
    check(f"{how}: keys", list(cursor.primaryKeys("spans", schema="traces")), [])
    check(f"{how}: indexes", [row for row in cursor.statistics("spans", schema="traces") if row.index_name], [])
    check(f"{how}: types of the server", len(cursor.getTypeInfo().fetchall()) > 5, True)
    refused(f"{how}: mistake", pyodbc.Error, lambda: cursor.execute("SELECT nothing FROM spans"))
    connection.rollback()
    check(f"{how}: goes on", cursor.execute("SELECT 3::int").fetchone()[0], 3)
    connection.close()
finish("psqlODBC")
