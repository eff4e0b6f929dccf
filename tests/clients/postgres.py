"""Real Python clients against a server with the spans of tests/fixtures/pg.otlp.json.

Usage: postgres.py PORT. Prints one line a check; ends with an error at the first that does not hold.
"""

import asyncio
import datetime as dt
import decimal
import json
import sys

import asyncpg
import psycopg
import sqlalchemy
from psycopg.rows import dict_row

PORT = int(sys.argv[1])
UTC = dt.timezone.utc
FIRST = dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
ROUTES = {"http.route": "/cart", "http.response.status_code": "500", "retry": "true", "load": "0.25"}


def check(name, got, expected):
    assert got == expected, f"{name}: got {got!r}, expected {expected!r}"
    print(f"ok {name}")


def psycopg_checks():
    connection = psycopg.connect(f"host=127.0.0.1 port={PORT} user=ada dbname=traces")
    check("psycopg server version", connection.info.server_version // 10000, 16)
    for binary in (False, True):
        kind = "binary" if binary else "text"
        with connection.cursor(binary=binary) as cursor:
            cursor.execute(
                "SELECT timestamp, attributes, duration_ns, duration_ms, span_name FROM spans "
                "WHERE service_name = %s AND duration_ns > %s ORDER BY timestamp LIMIT 1",
                ("frontend", 10_000_000),
            )
            check(f"psycopg {kind} row", cursor.fetchone(), (FIRST, ROUTES, 100_000_000, 100.0, "GET /cart"))
            values = (True, 7, 2**40, 1.5, "héllo", b"\x00\xff", dt.date(2024, 2, 29), None)
            cursor.execute("SELECT %s, %s, %s, %s, %s::text, %s, %s, %s::text", values)
            check(f"psycopg {kind} parameters", cursor.fetchone(), values)
            cursor.execute("SELECT count(*) FROM spans WHERE span_name = ANY(%s)", (["GET /", "render"],))
            check(f"psycopg {kind} list", cursor.fetchone(), (2,))
            cursor.execute("SELECT count(*) FROM spans WHERE timestamp >= %s", (FIRST + dt.timedelta(seconds=1),))
            check(f"psycopg {kind} time", cursor.fetchone(), (2,))
            cursor.execute("SELECT 12.50::numeric(10,2), array['a','b,c',NULL], interval '1 hour', array[1.5::float]")
            check(
                f"psycopg {kind} types",
                cursor.fetchone(),
                (decimal.Decimal("12.50"), ["a", "b,c", None], dt.timedelta(hours=1), [1.5]),
            )
            cursor.execute("SELECT events FROM spans WHERE service_name = 'cart'")
            event = cursor.fetchone()[0][0]
            check(f"psycopg {kind} events", event["attributes"]["exception.type"], "IOError")
    # psycopg leaves the type of a text open, as most drivers do of everything.
    for bound, count in [("60", 2), ("500", 1), ("501", 0)]:
        ordered = "SELECT count(*) FROM spans WHERE attributes['http.response.status_code'] >= %s"
        check(f"psycopg attribute beside {bound}", connection.execute(ordered, (bound,)).fetchone(), (count,))
    with connection.cursor("named", row_factory=dict_row) as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT span_id FROM spans ORDER BY span_id")
        check("psycopg server cursor", len([row["span_id"] for row in cursor]), 4)
    connection.commit()
    try:
        connection.execute("SELECT nothing FROM spans")
        raise AssertionError("an unknown column was taken")
    except psycopg.errors.UndefinedColumn:
        print("ok psycopg undefined column")
    connection.rollback()
    for low, high in [("2023-11-14 22:13", "2023-11-14T22:13:21Z"), ("epoch", "2023-11-14 22:13:21"), ("20231114", "2023-11-14 23:13:21+01")]:
        count = connection.execute("SELECT count(*) FROM spans WHERE timestamp BETWEEN %s AND %s", (low, high)).fetchone()
        check(f"psycopg times as text from {low}", count, (2,))
    check("psycopg one parameter twice", connection.execute("SELECT %(a)s + %(a)s, %(b)s", {"a": 1, "b": "x"}).fetchone(), (2, "x"))
    for where, names in [("true", ["GET /", "GET /cart", "SELECT cart", "render"]), ("false", [])]:
        with connection.cursor() as cursor:
            query = f"COPY (SELECT span_name, duration_ns FROM spans WHERE {where} ORDER BY 1) TO STDOUT (FORMAT binary)"
            with cursor.copy(query) as copy:
                copy.set_types(["text", "int8"])
                check(f"psycopg binary copy of {where}", [name for name, _ in copy.rows()], names)
    with connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT span_name FROM spans ORDER BY 1) TO STDOUT") as copy:
            check("psycopg copy", b"".join(copy), b"GET /\nGET /cart\nSELECT cart\nrender\n")
    connection.close()


async def asyncpg_pool_checks():
    async with asyncpg.create_pool(host="127.0.0.1", port=PORT, user="ada", database="traces", min_size=1, max_size=2) as pool:
        check("asyncpg pool", [await pool.fetchval("SELECT 1"), await pool.fetchval("SELECT 2")], [1, 2])


async def asyncpg_checks():
    connection = await asyncpg.connect(host="127.0.0.1", port=PORT, user="ada", database="traces")
    row = await connection.fetchrow(
        "SELECT timestamp, attributes, duration_ns FROM spans WHERE service_name = $1 AND duration_ns > $2 ORDER BY 1",
        "frontend",
        10_000_000,
    )
    check("asyncpg row", (row[0], json.loads(row[1]), row[2]), (FIRST, ROUTES, 100_000_000))
    check("asyncpg time", await connection.fetchval("SELECT count(*) FROM spans WHERE timestamp > $1", FIRST), 4)
    check("asyncpg cast", await connection.fetchval("SELECT $1::bigint + 1", 41), 42)
    check("asyncpg arrays", await connection.fetchval("SELECT array['x', NULL]"), ["x", None])
    for type_name, values in [
        ("int", [1, None]),
        ("bigint", [2**40]),
        ("float8", [1.5, None]),
        ("text", ["a", None]),
        ("timestamptz", [FIRST]),
        ("bool", [True]),
    ]:
        check(f"asyncpg {type_name}[]", await connection.fetchval(f"SELECT $1::{type_name}[]", values), values)
    check("asyncpg any", await connection.fetchval("SELECT count(*) FROM spans WHERE flags = ANY($1::int[]) OR true", [0, 1]), 4)
    median = await connection.fetchval("SELECT quantiles(0.5)(duration_ms) FROM spans")
    check("asyncpg quantiles", len(median), 1)
    share = await connection.fetchval("SELECT percentile_cont($1) WITHIN GROUP (ORDER BY duration_ns) FROM spans", 0.0)
    check("asyncpg percentile", share, await connection.fetchval("SELECT min(duration_ns) FROM spans"))
    check("asyncpg oid", await connection.fetchval("SELECT $1::oid[]", [23]), [23])
    relation = await connection.fetchrow("SELECT oid, relname FROM pg_class WHERE oid = 'spans'::regclass")
    check("asyncpg class", relation["relname"], "spans")
    async with connection.transaction():
        found = [record[0] async for record in connection.cursor("SELECT value FROM generate_series(1, 250)", prefetch=100)]
    check("asyncpg cursor", found, list(range(1, 251)))
    try:
        await connection.fetch("SELECT * FROM nowhere")
        raise AssertionError("an unknown table was taken")
    except asyncpg.UndefinedTableError:
        print("ok asyncpg undefined table")
    try:
        await connection.fetch("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b", timeout=0.5)
        raise AssertionError("the statement ended")
    except (asyncio.TimeoutError, asyncpg.QueryCanceledError):
        print("ok asyncpg timeout")
    check("asyncpg goes on", await connection.fetchval("SELECT 1"), 1)
    await connection.close()


def sqlalchemy_checks():
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://ada@127.0.0.1:{PORT}/spanhouse")
    inspector = sqlalchemy.inspect(engine)
    check("sqlalchemy schemas", "traces" in inspector.get_schema_names(), True)
    check("sqlalchemy tables", "spans" in inspector.get_table_names(schema="traces"), True)
    types = {column["name"]: str(column["type"]) for column in inspector.get_columns("spans")}
    check(
        "sqlalchemy columns",
        [types[name] for name in ("timestamp", "trace_id", "duration_ns", "duration_ms", "attributes")],
        ["TIMESTAMP", "TEXT", "BIGINT", "DOUBLE PRECISION", "JSONB"],
    )
    check("sqlalchemy keys", inspector.get_pk_constraint("spans")["constrained_columns"], [])
    check("sqlalchemy foreign keys", inspector.get_foreign_keys("spans"), [])
    check("sqlalchemy indexes", inspector.get_indexes("spans"), [])
    check("sqlalchemy constraints", inspector.get_unique_constraints("spans") + inspector.get_check_constraints("spans"), [])
    check("sqlalchemy default schema", inspector.get_table_names(), ["events", "links", "service_edges", "service_nodes", "span_metrics", "span_tree", "spans", "traces"])
    spans = sqlalchemy.Table("spans", sqlalchemy.MetaData(), autoload_with=engine)
    check("sqlalchemy table", [column.name for column in spans.columns][:3], ["timestamp", "end_timestamp", "trace_id"])
    with engine.connect() as connection:
        count = connection.execute(sqlalchemy.text("SELECT count(*) FROM spans")).scalar()
        check("sqlalchemy query", count, 4)


psycopg_checks()
sqlalchemy_checks()
asyncio.run(asyncpg_pool_checks())
asyncio.run(asyncpg_checks())
