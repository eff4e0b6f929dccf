"""Every column that the catalogue lists, and what functions give, has a type that PostgreSQL's drivers know.

Usage: oids.py PORT
"""

import psycopg
from checks import DATABASE, HOST, PORT, USER, check, finish

connection = psycopg.connect(host=HOST, port=PORT, user=USER, dbname=DATABASE, autocommit=True)
listed = {row[0] for row in connection.execute("SELECT oid FROM pg_type")}
relations = connection.execute(
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') ORDER BY 1, 2"
).fetchall()
seen, unknown, differing = 0, [], []
for schema, name in relations:
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        cursor.execute(f'SELECT * FROM "{schema}"."{name}" LIMIT 1')
        cursor.fetchall()
        for column in cursor.description:
            seen += 1
            if column.type_code not in listed or psycopg.postgres.types.get(column.type_code) is None:
                unknown.append((schema, name, column.name, column.type_code))
    described = {column.name: column.type_code for column in cursor.description}
    catalogued = connection.execute(
        "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = to_regclass(%s)::oid AND attnum > 0", (f'"{schema}"."{name}"',)
    ).fetchall()
    for column, of_type in catalogued:
        if described.get(column) != of_type:
            differing.append((schema, name, column, of_type, described.get(column)))
assert seen > 500, seen
check("types that are not known", unknown, [])
check("types that the catalogue has otherwise", [entry for entry in differing if entry[0] == "traces"], [])
finish(f"columns of {len(relations)} relations")
