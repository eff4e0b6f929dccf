"""SQLAlchemy and pandas: reflection, types and frames, with psycopg, psycopg2 and asyncpg below.

Usage: pandas_frames.py PORT
"""

import asyncio

import pandas
import sqlalchemy
from checks import DATABASE, FIRST, HOST, NAMES, PORT, USER, check, finish
from sqlalchemy.ext.asyncio import create_async_engine


def address(driver):
    return f"postgresql+{driver}://{USER}@{HOST}:{PORT}/{DATABASE}"


def frames(driver):
    engine = sqlalchemy.create_engine(address(driver))
    frame = pandas.read_sql("SELECT timestamp, span_name, duration_ns, duration_ms, parent_span_id FROM spans ORDER BY timestamp", engine)
    check(f"{driver} names", list(frame["span_name"]), NAMES)
    check(f"{driver} kinds", [frame[column].dtype.kind for column in ("timestamp", "duration_ns", "duration_ms")], ["M", "i", "f"])
    check(f"{driver} first", frame["timestamp"][0].to_pydatetime().replace(microsecond=FIRST.microsecond), FIRST)
    check(f"{driver} nulls", list(frame["parent_span_id"].isna()), [True, False, True, False])
    bound = sqlalchemy.text("SELECT count(*) AS spans FROM spans WHERE service_name = :service AND duration_ms > :above")
    check(f"{driver} parameters", pandas.read_sql(bound, engine, params={"service": "frontend", "above": 1.4})["spans"][0], 2)
    chunks = list(pandas.read_sql("SELECT span_id FROM spans", engine.connect().execution_options(stream_results=True), chunksize=3))
    check(f"{driver} chunks", [len(chunk) for chunk in chunks], [3, 1])
    whole = pandas.read_sql_table("spans", engine, schema="traces", columns=["span_name", "service_name"])
    check(f"{driver} table", sorted(whole["service_name"]), ["cart", "frontend", "frontend", "frontend"])
    inspector = sqlalchemy.inspect(engine)
    check(f"{driver} has table", [inspector.has_table("spans"), inspector.has_table("nowhere")], [True, False])
    check(f"{driver} views", inspector.get_view_names(schema="traces") + inspector.get_materialized_view_names(schema="traces"), [])
    check(f"{driver} comment of a table", bool(inspector.get_table_comment("spans", schema="traces")["text"]), True)
    everything = sqlalchemy.MetaData()
    everything.reflect(engine, schema="traces")
    check(f"{driver} reflects", "traces.service_edges" in everything.tables, True)
    everything.reflect(engine, schema="system")
    spans = everything.tables["traces.spans"]
    statement = (
        sqlalchemy.select(spans.c.service_name, sqlalchemy.func.count().label("n"))
        .where(spans.c.timestamp >= FIRST, spans.c.span_kind.in_(["SERVER", "CLIENT"]))
        .group_by(spans.c.service_name)
        .order_by(sqlalchemy.desc("n"))
    )
    with engine.connect() as connection:
        check(f"{driver} built statement", [tuple(row) for row in connection.execute(statement)], [("frontend", 2), ("cart", 1)])
        route = sqlalchemy.select(spans.c.attributes["http.route"].astext).where(spans.c.span_name == "GET /cart")
        check(f"{driver} attribute", connection.execute(route).scalar(), "/cart")
    engine.dispose()


async def asynchronous():
    engine = create_async_engine(address("asyncpg"))
    async with engine.connect() as connection:
        found = await connection.execute(sqlalchemy.text("SELECT span_name FROM spans WHERE service_name = :service"), {"service": "cart"})
        check("asyncpg below SQLAlchemy", found.scalar(), "SELECT cart")
        names = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names(schema="traces"))
        check("asyncpg reflection", "spans" in names, True)
    await engine.dispose()


for driver in ("psycopg", "psycopg2"):
    frames(driver)
asyncio.run(asynchronous())
finish("pandas and SQLAlchemy")
