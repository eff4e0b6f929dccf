"""Logs in over TLS as drivers do: psycopg bound to the connection, asyncpg, and SQLAlchemy through its pool.

usage: postgres_login.py PORT USER PASSWORD AUTHORITY
"""

import asyncio
import ssl
import sys

import asyncpg
import psycopg
import sqlalchemy

port, user, password, authority = sys.argv[1:]
where = {"host": "localhost", "port": port, "user": user, "dbname": "spanhouse"}
tls = {"sslmode": "verify-full", "sslrootcert": authority}

with psycopg.connect(**where, **tls, password=password, channel_binding="require") as connection:
    assert connection.execute("SELECT current_user").fetchone() == (user,)

for wrong in [password + "x", "", None]:
    try:
        psycopg.connect(**where, **tls, password=wrong)
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error) or "no password supplied" in str(error), error
    else:
        raise AssertionError(f"{wrong!r} lets in")


async def with_asyncpg():
    context = ssl.create_default_context(cafile=authority)
    connection = await asyncpg.connect(
        host="localhost", port=int(port), user=user, password=password, database="spanhouse", ssl=context
    )
    assert await connection.fetchval("SELECT 40 + 2") == 42
    await connection.close()


asyncio.run(with_asyncpg())

url = sqlalchemy.URL.create("postgresql+psycopg", user, password, "localhost", int(port), "spanhouse", query=tls)
with sqlalchemy.create_engine(url).connect() as connection:
    assert connection.execute(sqlalchemy.text("SELECT count(*) FROM spans")).scalar() == 0
print("let in")
