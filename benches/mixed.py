#!/usr/bin/env python3
"""Measures what ingest and queries take from each other: queries alone, ingest alone at a steady rate, and both at once.

usage: benches/mixed.py [--binary target/release/spanhouse] [--rate 200000] [--seconds 30] FILE.otlp.zst

The file is imported, sealed and compacted first, and queries alone are asked when nothing is left to seal or to merge. Queries are the questions of `peers/questions` that have no parameters, asked one after the other on one
connection, again and again; one that fails is told and left out. Prints the median time of each question alone (before and after,
since the table grows meanwhile) and under ingest, with the ratio to the geometric mean of the former, and the acknowledgement (median, p99)
and CPU seconds per million spans without and with queries. Needs Linux, `zstd` and psycopg.
"""

import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

from ingest import addresses, parser_of

HERE = Path(__file__).resolve().parent
# Fresh spans wait a minute until they are sealed.
SETTLE_SECONDS = 300


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-") as folder:
        data = os.path.join(folder, "data")
        subprocess.run([options.binary, "import", "--data-dir", data, options.file], check=True, capture_output=True)
        subprocess.run([options.binary, "compact", "--data-dir", data], check=True, capture_output=True)
        listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        log = open(os.path.join(folder, "server.log"), "w")
        server = subprocess.Popen([options.binary, "serve", "--data-dir", data, *listen], stdout=log, stderr=log)
        try:
            measure(options, server.pid, addresses(server, data))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def arguments():
    parser = parser_of(__doc__)
    parser.add_argument("--rate", type=float, default=200_000, help="spans a second")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("file")
    return parser.parse_args()


def measure(options, pid, server):
    host, port = server["postgres"].rsplit(":", 1)
    asked = questions()
    with psycopg.connect(host=host, port=port, user="bench", dbname="spanhouse", autocommit=True) as connection:
        ask(connection, asked, 0)
        alone = ask(connection, asked, options.seconds)
        sending = Sending(options, server, pid)
        beside = ask(connection, asked, options.seconds, sending)
        loaded = sending.result()
        # The table has grown meanwhile: alone is what is measured before and after.
        settle(connection)
        grown = ask(connection, asked, options.seconds)
    quiet = Sending(options, server, pid).result()
    report(alone, beside, grown, quiet, loaded)


def settle(connection):
    """Waits until all spans are in files and no merge is due."""
    deadline = time.monotonic() + SETTLE_SECONDS
    left = "SELECT sum(value) FROM system.store WHERE name IN ('fresh_rows', 'backlog_files')"
    while connection.execute(left).fetchone()[0] > 0:
        if time.monotonic() > deadline:
            raise SystemExit(f"the server still seals or compacts after {SETTLE_SECONDS} s")
        time.sleep(1)


class Sending:
    """`sender.py` at work, and the server's CPU meanwhile."""

    def __init__(self, options, server, pid):
        command = [sys.executable, str(HERE / "sender.py"), "--endpoint", f"http://{server['otlp_http']}/v1/traces"]
        command += ["--rate", str(options.rate), "--seconds", str(options.seconds), options.file]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pid, self.before, self.answer = pid, cpu_seconds(pid), None
        self.thread = threading.Thread(target=self._wait)
        self.thread.start()

    def _wait(self):
        self.answer = json.loads(self.process.communicate()[0])
        self.answer["cpu"] = cpu_seconds(self.pid) - self.before

    def is_running(self):
        return self.thread.is_alive()

    def result(self):
        self.thread.join()
        return self.answer


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def questions():
    """The SQL of every question without parameters, by name."""
    found = {}
    for file in sorted((HERE / "peers" / "questions").glob("*.sql")):
        sql = re.search(r"^-- engine: spanhouse\n(.*?)(?=^-- engine: |\Z)", file.read_text(), re.MULTILINE | re.DOTALL)[1]
        if "{" not in sql:
            found[file.stem] = sql.strip()
    return found


def ask(connection, asked, seconds, sending=None):
    """Milliseconds of each question, as often as it was asked: at least once, and for as long as `seconds` and the sending last."""
    times, begun = {name: [] for name in asked}, time.monotonic()
    while True:
        for name, sql in asked.items():
            started = time.monotonic()
            try:
                connection.execute(sql).fetchall()
                times[name].append((time.monotonic() - started) * 1000)
            except psycopg.Error as error:
                print(f"{name} failed: {error.diag.message_primary}", file=sys.stderr)
        if not (sending.is_running() if sending else time.monotonic() - begun < seconds):
            return times


def report(alone, beside, grown, quiet, loaded):
    ratios = []
    print("| question | ms alone, before and after | ms under ingest | ratio |\n|---|---|---|---|")
    for name in (name for name in alone if alone[name] and beside[name] and grown[name]):
        before, under, after = (statistics.median(times[name]) for times in (alone, beside, grown))
        ratios.append(under / math.sqrt(before * after))
        print(f"| {name} | {before:.1f}, {after:.1f} | {under:.1f} | {ratios[-1]:.2f} |")
    print(f"| geometric mean | | | {math.exp(statistics.fmean(map(math.log, ratios))):.2f} |\n")
    print("| ingest | spans/s | ack median, ms | ack p99, ms | server CPU s per M spans | refused |\n|---|---|---|---|---|---|")
    for name, result in (("alone", quiet), ("with queries", loaded)):
        per_million = result["cpu"] / result["spans"] * 1e6
        ack = result["ack_ms"]
        print(f"| {name} | {result['spans_per_s']:,} | {ack['p50']} | {ack['p99']} | {per_million:.2f} | {result['refused']} |")


if __name__ == "__main__":
    main()
