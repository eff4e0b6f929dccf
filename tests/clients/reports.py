"""What reports leave in SQL, read by real clients: the table that a report records, its runs and its alerts.

Usage: reports.py PORT. The server's report `answer` has run twice: it found 0.25 errors and fired, and then 0.01 and resolved; each time it
recorded its row in reports.answers. Prints one line a check; ends with an error at the first that does not hold.
"""

import asyncio
import datetime as dt
import sys

import asyncpg
import psycopg
import sqlalchemy

PORT = int(sys.argv[1])
TIME = dt.datetime(2026, 3, 29, 5, tzinfo=dt.timezone.utc)
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROWS = "SELECT time, service_name, error_rate FROM reports.answers WHERE service_name = {} ORDER BY error_rate DESC"
RECORDED = [(TIME, "cart", 0.25), (TIME, "cart", 0.01)]
P95 = "SELECT sketch_quantile(sketch_merge(sketch), 0.95) FROM reports.answers"


def check(name, got, expected):
    assert got == expected, f"{name}: got {got!r}, expected {expected!r}"
    print(f"ok {name}")


def psycopg_checks():
    with psycopg.connect(f"host=127.0.0.1 port={PORT} user=ada dbname=traces", autocommit=True) as connection:
        for binary in (False, True):
            kind = "binary" if binary else "text"
            with connection.cursor(binary=binary) as cursor:
                check(f"psycopg {kind} rows", cursor.execute(ROWS.format("%s"), ("cart",)).fetchall(), RECORDED)
                # Of 1 to 100 twice it is 95, within a sketch's bound.
                check(f"psycopg {kind} sketches", abs(cursor.execute(P95).fetchone()[0] - 95) <= 95 / 128, True)
                runs(cursor, kind)
                alerts(cursor, kind)
        with connection.cursor() as cursor, cursor.copy("COPY (SELECT state FROM system.alerts ORDER BY changed_at) TO STDOUT") as copy:
            check("psycopg copy", b"".join(copy), b"firing\nresolved\n")
        for statement in ("DROP TABLE reports.answers", "DELETE FROM reports.answers", "DELETE FROM system.report_runs"):
            try:
                connection.execute(statement)
                raise AssertionError(f"{statement} was taken")
            except psycopg.Error as error:
                print(f"ok psycopg {statement}: {error.sqlstate}")
        check("psycopg all is left", len(connection.execute(ROWS.format("'cart'")).fetchall()), 2)


def runs(cursor, kind):
    cursor.execute(
        "SELECT id, cause, status, rows, window_from, error, parameters, deliveries, due_at, started_at, ended_at, duration_ms "
        "FROM system.report_runs WHERE report = %s ORDER BY started_at",
        ("answer",),
    )
    told = cursor.fetchall()
    check(f"psycopg {kind} runs", [run[1:6] for run in told], [("manual", "succeeded", 1, None, None)] * 2)
    for run in told:
        delivery = run[7][0]
        assert run[6] == {} and delivery["status"] == "delivered" and delivery["key"] == f"{run[0]}/directory", run
        due, started, ended = run[8:11]
        assert due.tzinfo and due <= started <= ended and run[11] == (ended - started) / dt.timedelta(milliseconds=1), run


def alerts(cursor, kind):
    cursor.execute(
        "SELECT state, was, rule, severity, labels, value, exemplars, silenced_by, told, is_current, run, since FROM system.alerts ORDER BY changed_at"
    )
    told = cursor.fetchall()
    check(f"psycopg {kind} labels", [alert[4] for alert in told], [{"service_name": "cart"}] * 2)
    common = ("errors", "page")
    expected = [("firing", "ok", *common, 0.25, [TRACE], None, True, False), ("resolved", "firing", *common, 0.01, [TRACE], None, True, True)]
    check(f"psycopg {kind} alerts", [alert[:4] + alert[5:10] for alert in told], expected)
    joined = "SELECT count(*) FROM system.alerts AS a JOIN system.report_runs AS r ON r.id = a.run AND r.started_at <= a.since"
    check(f"psycopg {kind} join", cursor.execute(joined).fetchone(), (2,))


def sqlalchemy_checks():
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://ada@127.0.0.1:{PORT}/spanhouse")
    inspector = sqlalchemy.inspect(engine)
    check("sqlalchemy schemas", {"reports", "system"} <= set(inspector.get_schema_names()), True)
    check("sqlalchemy tables", inspector.get_table_names(schema="reports"), ["answers"])
    types = {column["name"]: str(column["type"]) for column in inspector.get_columns("answers", schema="reports")}
    expected = {"time": "TIMESTAMP", "service_name": "TEXT", "error_rate": "DOUBLE PRECISION", "trace_id": "TEXT", "sketch": "BYTEA"}
    check("sqlalchemy columns", types, expected)
    answers = sqlalchemy.Table("answers", sqlalchemy.MetaData(), schema="reports", autoload_with=engine)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(answers.c.error_rate).order_by(answers.c.error_rate)).scalars().all()
        check("sqlalchemy query", found, [0.01, 0.25])


async def asyncpg_checks():
    connection = await asyncpg.connect(host="127.0.0.1", port=PORT, user="ada", database="traces")
    rows = await connection.fetch(ROWS.format("$1"), "cart")
    check("asyncpg rows", [tuple(row) for row in rows], RECORDED)
    exemplars = await connection.fetchval("SELECT exemplars FROM system.alerts WHERE state = $1", "resolved")
    check("asyncpg exemplars", exemplars, [TRACE])
    check("asyncpg runs", await connection.fetchval("SELECT sum(rows) FROM system.report_runs WHERE status = $1", "succeeded"), 2)
    await connection.close()


psycopg_checks()
sqlalchemy_checks()
asyncio.run(asyncpg_checks())
