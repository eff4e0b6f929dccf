"""postgres_fdw of a real PostgreSQL: its foreign tables are the server's relations, imported by their names.

Usage: postgres_fdw.py PORT PREFIX (where PostgreSQL's files lie: PREFIX/usr/lib/postgresql/…/bin)
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from checks import DATABASE, HOST, NAMES, PORT, USER, check, finish

# PostgreSQL refuses to run as root.
AS_OTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def ask(local):
    local.execute("CREATE EXTENSION postgres_fdw")
    local.execute(f"CREATE SERVER house FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{HOST}', port '{PORT}', dbname '{DATABASE}')")
    local.execute(f"CREATE USER MAPPING FOR CURRENT_USER SERVER house OPTIONS (user '{USER}', password_required 'false')")
    local.execute("CREATE SCHEMA house")
    local.execute("IMPORT FOREIGN SCHEMA traces LIMIT TO (spans, events, links, traces) FROM SERVER house INTO house")
    ordered = "SELECT span_name FROM house.spans ORDER BY timestamp"
    check("ordered", [row[0] for row in local.execute(ordered)], NAMES)
    check("condition", local.execute("SELECT span_name FROM house.spans WHERE service_name = 'cart'").fetchall(), [("SELECT cart",)])
    check("parameter", local.execute("SELECT count(*) FROM house.spans WHERE duration_ns > %s", (10_000_000,)).fetchone(), (2,))
    check("aggregate", local.execute("SELECT service_name, count(*) FROM house.spans GROUP BY 1 ORDER BY 1").fetchall(), [("cart", 1), ("frontend", 3)])
    joined = "SELECT c.span_name, p.span_name FROM house.spans c JOIN house.spans p ON p.span_id = c.parent_span_id ORDER BY 1"
    check("join", local.execute(joined).fetchall(), [("SELECT cart", "GET /cart"), ("render", "GET /")])
    local.execute("CREATE TEMP TABLE known (service text); INSERT INTO known VALUES ('cart')")
    beside = "SELECT s.span_name FROM house.spans s JOIN known k ON k.service = s.service_name"
    check("join with a local table", local.execute(beside).fetchall(), [("SELECT cart",)])
    attribute = "SELECT attributes->>'http.route' FROM house.spans WHERE span_name = 'GET /'"
    check("attribute", local.execute(attribute).fetchone(), ("/",))
    plan = "\n".join(row[0] for row in local.execute("EXPLAIN VERBOSE SELECT count(*) FROM house.spans WHERE service_name = 'cart'"))
    check("the server counts", "count(*)" in plan.split("Remote SQL:")[-1] and "service_name" in plan.split("Remote SQL:")[-1], True)
    local.execute("ALTER SERVER house OPTIONS (ADD fetch_size '1')")
    check("row by row", len(local.execute(ordered).fetchall()), 4)
    try:
        local.execute("INSERT INTO house.spans (span_name) VALUES ('x')")
        check("a write", "was taken", "is refused")
    except psycopg.Error as refused:
        check("a write", refused.sqlstate, "42501")


folder = Path(tempfile.mkdtemp())
server = None
try:
    prefix = Path(sys.argv[2])
    if AS_OTHER:
        # It may not enter root's folders.
        prefix = Path(shutil.copytree(prefix, folder / "installed", symlinks=True))
        os.chown(folder, 65534, 65534)
    programs = next((prefix / "usr/lib/postgresql").glob("*/bin"))
    port = free_port()
    data = folder / "data"
    subprocess.run(AS_OTHER + [programs / "initdb", "-D", data, "-U", "local", "-A", "trust", "--no-sync", "-L", prefix / "usr/share/postgresql" / programs.parent.name], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    server = subprocess.Popen(AS_OTHER + [programs / "postgres", "-D", data, "-k", "", "-h", HOST, "-p", str(port), "-F"], stderr=(folder / "log").open("w"), cwd=folder)
    for _ in range(600):
        try:
            local = psycopg.connect(host=HOST, port=port, user="local", dbname="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
    with local:
        check("version", local.info.server_version // 10000 >= 13, True)
        ask(local)
finally:
    if server:
        server.terminate()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)
finish("postgres_fdw")
