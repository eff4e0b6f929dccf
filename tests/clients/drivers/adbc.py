"""ADBC's PostgreSQL driver: results as Arrow, by binary COPY and without, and metadata.

Usage: adbc.py PORT
"""

import adbc_driver_postgresql.dbapi as adbc
import pyarrow
from checks import DATABASE, HOST, NAMES, PORT, USER, check, finish

EVERY_TYPE = """SELECT true AS a, 1::smallint AS b, 2::int AS c, 3::bigint AS d, 0.5::real AS e, 1.5::float8 AS f, 12.50::numeric(10,2) AS g,
    'text' AS h, '\\x00ff'::bytea AS i, date '2024-02-29' AS j, time '01:02:03' AS k, timestamp '2024-02-29 01:02:03' AS l,
    timestamptz '2024-02-29 01:02:03Z' AS m, interval '1 month 2 days 3 seconds' AS n, array[1, NULL] AS o, array['a', NULL] AS p, '{"x": 1}'::jsonb AS q"""

with adbc.connect(f"postgresql://{USER}@{HOST}:{PORT}/{DATABASE}", autocommit=True) as connection:
    for copies in (True, False):
        with connection.cursor(adbc_stmt_kwargs={"adbc.postgresql.use_copy": copies}) as cursor:
            how = "by COPY" if copies else "by rows"
            cursor.execute("SELECT span_name, timestamp, duration_ns, duration_ms, attributes, parent_span_id FROM spans ORDER BY timestamp")
            table = cursor.fetch_arrow_table()
            check(f"{how} names", table["span_name"].to_pylist(), NAMES)
            check(f"{how} durations", table["duration_ns"].to_pylist()[0], 100_000_000)
            check(f"{how} time", pyarrow.types.is_timestamp(table.schema.field("timestamp").type), True)
            check(f"{how} nulls", table["parent_span_id"].null_count, 2)
            cursor.execute(EVERY_TYPE)
            row = cursor.fetch_arrow_table()
            check(f"{how} numbers", [row[name][0].as_py() for name in "abcdef"], [True, 1, 2, 3, 0.5, 1.5])
            check(f"{how} texts", [row[name][0].as_py() for name in "hi"], ["text", b"\x00\xff"])
            check(f"{how} lists", [row[name][0].as_py() for name in "op"], [[1, None], ["a", None]])
            interval = row["n"][0].as_py()
            check(f"{how} interval", (interval.months, interval.days, interval.nanoseconds), (1, 2, 3_000_000_000))
            check(f"{how} numeric", str(row["g"][0].as_py()), "12.50")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM spans WHERE service_name = $1 AND duration_ns > $2", parameters=("frontend", 10_000_000))
        check("parameters", cursor.fetchone()[0], 1)
    schema = connection.adbc_get_table_schema("spans", db_schema_filter="traces")
    check("schema of a table", schema.names[:3], ["timestamp", "end_timestamp", "trace_id"])
    objects = connection.adbc_get_objects(depth="tables", db_schema_filter="traces").read_all().to_pylist()
    tables = {table["table_name"] for catalog in objects for schema in catalog["catalog_db_schemas"] or [] for table in schema["db_schema_tables"] or []}
    check("objects", {"spans", "events", "traces"} <= tables, True)
    check("kinds of tables", len(connection.adbc_get_table_types()) > 0, True)
    check("who it is", connection.adbc_get_info()["vendor_name"], "PostgreSQL")
finish("ADBC")
