"""psycopg 3 in all its modes: text and binary values, cursors on the server, pipelines, prepared statements, asyncio.

Usage: psycopg_modes.py PORT
"""

import asyncio
import datetime as dt
import decimal

import psycopg
from checks import DATABASE, FIRST, HOST, NAMES, PORT, USER, UTC, check, finish, refused
from psycopg.types.json import Jsonb

WHERE = f"host={HOST} port={PORT} user={USER} dbname={DATABASE}"
ORDERED = "SELECT span_name FROM spans ORDER BY timestamp"

# What each expression is in Python, whichever way it was sent.
VALUES = [
    ("true", True),
    ("1::smallint", 1),
    ("-2147483648", -2147483648),
    ("9223372036854775807", 9223372036854775807),
    ("0.1::real", 0.1),
    ("1e300::float8", 1e300),
    ("'Infinity'::float8", float("inf")),
    ("12.50::numeric(10,2)", decimal.Decimal("12.50")),
    ("0.0001::numeric(10,4)", decimal.Decimal("0.0001")),
    ("-12345678901234567890.5::numeric(30,1)", decimal.Decimal("-12345678901234567890.5")),
    ("'a\u00e9\U0001f600'::text", "a\u00e9\U0001f600"),
    ("''::text", ""),
    ("'\\x00ff7f'::bytea", b"\x00\xff\x7f"),
    ("date '2024-02-29'", dt.date(2024, 2, 29)),
    ("time '01:02:03.000004'", dt.time(1, 2, 3, 4)),
    ("timestamp '2024-02-29 01:02:03.000004'", dt.datetime(2024, 2, 29, 1, 2, 3, 4)),
    ("timestamptz '2024-02-29 01:02:03.000004+02'", dt.datetime(2024, 2, 28, 23, 2, 3, 4, tzinfo=UTC)),
    ("timestamptz '1969-12-31 23:59:59.5Z'", dt.datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC)),
    ("interval '1 day 02:03:04.5'", dt.timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
    ("interval '-1 hour'", dt.timedelta(hours=-1)),
    ("'{\"a\": [1, null]}'::jsonb", {"a": [1, None]}),
    ("'[true]'::json", [True]),
    ("array[1, NULL, 3]", [1, None, 3]),
    ("array['a', 'b,c', NULL, 'say \"x\"', '']", ["a", "b,c", None, 'say "x"', ""]),
    ("array[1.5::float8, NULL]", [1.5, None]),
    ("array[true, false]", [True, False]),
    ("array[date '2024-02-29']", [dt.date(2024, 2, 29)]),
    ("array[timestamptz '2024-02-29 00:00Z']", [dt.datetime(2024, 2, 29, tzinfo=UTC)]),
    ("array[12.5::numeric(5,1)]", [decimal.Decimal("12.5")]),
    ("array['\\x00ff'::bytea]", [b"\x00\xff"]),
    # Lists of intervals, times and JSON are JSON.
    ("array[interval '1 hour']", ["01:00:00"]),
    ("array[array[1, 2], array[3, 4]]", [[1, 2], [3, 4]]),
    ("array[]::text[]", []),
    ("NULL::timestamptz", None),
]

PARAMETERS = [
    (True, "bool"),
    (7, "int4"),
    (-(2**40), "int8"),
    (1.5, "float8"),
    (decimal.Decimal("12.50"), "numeric(10,2)"),
    ("h\u00e9llo", "text"),
    (b"\x00\xff", "bytea"),
    (dt.date(2024, 2, 29), "date"),
    (dt.time(1, 2, 3), "time"),
    (dt.datetime(2024, 2, 29, 1, 2, 3), "timestamp"),
    (FIRST, "timestamptz"),
    (dt.timedelta(days=2, seconds=3, microseconds=4), "interval"),
    ([1, None, 3], "int8[]"),
    (["a", None, "b,c"], "text[]"),
    ([FIRST], "timestamptz[]"),
    (Jsonb({"a": 1}), "jsonb"),
    (None, "text"),
]


def values(connection):
    for binary in (False, True):
        form = "binary" if binary else "text"
        with connection.cursor(binary=binary) as cursor:
            for expression, expected in VALUES:
                got = cursor.execute(f"SELECT {expression}").fetchone()[0]
                if expression.endswith("::real") and binary:
                    got = round(got, 6)
                check(f"{form} {expression}", got, expected)
            for value, of_type in PARAMETERS:
                for placeholder in ("%s", "%b"):
                    got = cursor.execute(f"SELECT {placeholder}::{of_type}", (value,)).fetchone()[0]
                    check(f"{form} {placeholder} {of_type}", got, value.obj if isinstance(value, Jsonb) else value)
    connection.rollback()


def cursors(connection):
    for binary in (False, True):
        with connection.cursor("some", binary=binary) as cursor:
            cursor.itersize = 2
            cursor.execute(ORDERED)
            check("server cursor", [row[0] for row in cursor], NAMES)
        with connection.cursor("parts", binary=binary) as cursor:
            cursor.execute(ORDERED)
            check("server cursor, one", cursor.fetchone(), (NAMES[0],))
            check("server cursor, two", cursor.fetchmany(2), [(name,) for name in NAMES[1:3]])
            check("server cursor, rest", cursor.fetchall(), [(NAMES[3],)])
    connection.commit()
    refused("a cursor that goes back", psycopg.errors.FeatureNotSupported, lambda: connection.cursor("back", scrollable=True).execute(ORDERED))
    connection.rollback()
    with connection.cursor("held", withhold=True) as cursor:
        cursor.execute(ORDERED)
        connection.commit()
        check("held cursor", len(cursor.fetchall()), 4)
    connection.commit()


def pipelines(connection):
    with connection.pipeline():
        counts = [connection.execute("SELECT count(*) FROM spans WHERE duration_ns > %s", (limit,)) for limit in (0, 10_000_000)]
        names = connection.execute(ORDERED)
    check("pipeline", [count.fetchone()[0] for count in counts] + [row[0] for row in names], [4, 2] + NAMES)

    def fails():
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("SELECT no_such_column FROM spans")
            connection.execute("SELECT 2")

    refused("pipeline with a mistake", psycopg.errors.UndefinedColumn, fails)
    connection.rollback()
    check("after the pipeline", connection.execute("SELECT 3").fetchone(), (3,))
    with connection.pipeline(), connection.cursor() as cursor:
        cursor.executemany("SELECT %s::int + 1", [(1,), (2,), (3,)], returning=True)
        found = []
        while True:
            found.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
    check("executemany", found, [2, 3, 4])
    connection.commit()


def statements(connection):
    for round_number in range(7):
        row = connection.execute("SELECT count(*) FROM spans WHERE service_name = %s", ("frontend",), prepare=True).fetchone()
        check(f"prepared, round {round_number}", row, (3,))
    client = psycopg.ClientCursor(connection)
    check("client-side binding", client.execute("SELECT %s, %s", ("it's", FIRST)).fetchone(), ("it's", FIRST))
    raw = psycopg.RawCursor(connection)
    check("numbered placeholders", raw.execute("SELECT $1::int + $1::int", (2,)).fetchone(), (4,))
    check("stream", [row[0] for row in connection.cursor().stream(ORDERED)], NAMES)
    with connection.transaction(), connection.transaction():
        check("savepoint", connection.execute("SELECT 1").fetchone(), (1,))
    connection.commit()
    # Copies as text have all nine decimals, and psycopg reads six.
    times = {"text": "date_trunc('microseconds', timestamp)", "csv": "timestamp", "binary": "timestamp"}
    for form in times:
        with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT span_name, {times[form]} AS timestamp FROM spans ORDER BY timestamp) TO STDOUT (FORMAT {form})") as copy:
            if form == "csv":
                check("copy as csv", b"".join(copy).decode().splitlines()[0], "GET /cart,2023-11-14 22:13:20.123456789+00")
                continue
            copy.set_types(["text", "timestamptz"])
            rows = list(copy.rows())
            check(f"copy as {form}", [row[0] for row in rows], NAMES)
            check(f"time in a copy as {form}", rows[0][1], FIRST)
    connection.commit()
    refused("a write", psycopg.errors.InsufficientPrivilege, lambda: connection.execute("INSERT INTO spans (span_name) VALUES ('x')"))
    connection.rollback()


async def asynchronous():
    connection = await psycopg.AsyncConnection.connect(WHERE)
    async with connection:
        cursor = await connection.execute(ORDERED)
        check("async", [row[0] async for row in cursor], NAMES)
        async with connection.cursor("async_named") as named:
            await named.execute(ORDERED)
            check("async server cursor", [row[0] async for row in named], NAMES)
        async with connection.pipeline():
            first, second = await connection.execute("SELECT 1"), await connection.execute("SELECT 2")
        check("async pipeline", [(await first.fetchone())[0], (await second.fetchone())[0]], [1, 2])
        slow = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"))
        await asyncio.sleep(0.3)
        await connection.cancel_safe()
        try:
            await slow
            raise AssertionError("the statement ended")
        except psycopg.errors.QueryCanceled:
            print("ok async cancel")
        await connection.rollback()


with psycopg.connect(WHERE) as connection:
    values(connection)
    cursors(connection)
    pipelines(connection)
    statements(connection)
asyncio.run(asynchronous())
finish("all of psycopg's modes")
