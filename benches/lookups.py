#!/usr/bin/env python3
"""Measures a trace by its id, without a time range, in tables of different sizes: a server for each, asked in turn over the Postgres wire.

usage: benches/lookups.py [--binary target/release/spanhouse] [--folder /tmp] [--lookups 300] [--keep] SPANS [SPANS …]

Each size is a multiple of 10 million spans, ten to a trace, made here and imported: some 24 bytes of the folder for each span, and 75 more for 10
million of them at a time. A larger table begins as a copy of the next smaller one. Prints, for each question and table: the least, the median and the
90th percentile of the times in milliseconds, and the size of the table. Needs Linux, numpy and psycopg.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import psycopg

from ingest import addresses, parser_of

SPANS_OF_TRACE = 10
TRACES_OF_REQUEST = 100
TRACES_OF_IMPORT = 1_000_000
START_NS = 1_767_603_600_000_000_000
QUESTIONS = {
    "all columns": "SELECT * FROM spans WHERE trace_id = '{}'",
    "what a waterfall shows": "SELECT span_id, parent_span_id, service_name, span_name, timestamp, duration_ms FROM spans WHERE trace_id = '{}'",
    "the trace's row": "SELECT * FROM traces WHERE trace_id = '{}'",
}


def main():
    options = arguments()
    folder = tempfile.mkdtemp(prefix="spanhouse-lookups-", dir=options.folder)
    try:
        tables = build(options.binary, folder, sorted(options.spans))
        servers = [Server(options.binary, path, spans) for spans, path in tables]
        try:
            measure(servers, options.lookups)
        finally:
            for server in servers:
                server.stop()
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def tables_parser(text):
    """The parser of a script that makes tables in a folder, whose documentation is `text`."""
    parser = parser_of(text)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    return parser


def arguments():
    parser = tables_parser(__doc__)
    parser.add_argument("--lookups", type=int, default=300)
    parser.add_argument("--keep", action="store_true", help="leave the tables where they are")
    parser.add_argument("spans", type=int, nargs="+")
    options = parser.parse_args()
    for spans in options.spans:
        if spans <= 0 or spans % (SPANS_OF_TRACE * TRACES_OF_IMPORT):
            parser.error(f"{spans} is no multiple of {SPANS_OF_TRACE * TRACES_OF_IMPORT}")
    return options


def build(binary, folder, sizes):
    tables, imported, before = [], 0, None
    for spans in sizes:
        path = os.path.join(folder, str(spans))
        if before:
            shutil.copytree(before, path)
        while imported * SPANS_OF_TRACE < spans:
            file = os.path.join(folder, "part.otlp")
            write_part(file, imported)
            subprocess.run([binary, "import", "--data-dir", path, file], check=True, stdout=subprocess.DEVNULL)
            os.remove(file)
            imported += TRACES_OF_IMPORT
        tables.append((spans, path))
        before = path
    return tables


class Server:
    def __init__(self, binary, path, spans):
        self.spans = spans
        self.bytes = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(os.path.join(path, "table")) for name in names)
        self.files = sum(name.endswith(".parquet") for _, _, names in os.walk(path) for name in names)
        self.log = open(path + ".log", "w+")
        listen = ["--otlp-grpc", "off", "--otlp-http", "off", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        self.process = subprocess.Popen([binary, "serve", "--data-dir", path, *listen], stdout=self.log, stderr=self.log)
        host, port = addresses(self.process, path)["postgres"].rsplit(":", 1)
        self.cursor = psycopg.connect(host=host, port=port, user="spanhouse", autocommit=True).cursor()

    def ask(self, sql):
        begun = time.perf_counter()
        self.cursor.execute(sql, prepare=False)
        rows = len(self.cursor.fetchall())
        return (time.perf_counter() - begun) * 1000, rows

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(servers, lookups):
    print(f"{'question':24} {'spans':>12} {'files':>6} {'bytes/span':>10} {'least':>8} {'median':>8} {'p90':>8}")
    chance = random.Random(1)
    for name, sql in QUESTIONS.items():
        times = {server: [] for server in servers}
        # The first rounds meet files whose footers have not been read.
        for number in range(-lookups, lookups):
            for server in servers:
                trace = chance.randrange(server.spans // SPANS_OF_TRACE)
                took_ms, rows = server.ask(sql.format(bytes(trace_ids(numpy.array([trace], "u8"))[0]).hex()))
                if rows != (1 if "traces" in sql else SPANS_OF_TRACE):
                    sys.exit(f"trace {trace} has {rows} rows in {server.spans} spans")
                if number >= 0:
                    times[server].append(took_ms)
        for server, took in times.items():
            shown = f"{min(took):8.2f} {statistics.median(took):8.2f} {statistics.quantiles(took, n=10)[8]:8.2f}"
            print(f"{name:24} {server.spans:12} {server.files:6} {server.bytes / server.spans:10.1f} {shown}")


def mixed(numbers):
    """splitmix64: as good as random, and the same on every run."""
    with numpy.errstate(over="ignore"):
        x = numbers.astype("u8") + numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return x ^ (x >> numpy.uint64(31))


def trace_ids(traces):
    halves = numpy.stack([mixed(traces * numpy.uint64(2)), mixed(traces * numpy.uint64(2) + numpy.uint64(1))], axis=1)
    return halves.astype(">u8").view("u1").reshape(len(traces), 16)


def write_part(path, first):
    """Spans of a million traces as length-delimited OTLP: every request has the same layout, so that numpy can fill it."""
    requests = TRACES_OF_IMPORT // TRACES_OF_REQUEST
    layout, fixed = request_layout()
    for group in range(0, requests, 1000):
        count = min(1000, requests - group)
        data = numpy.zeros(count, layout)
        for field, value in fixed.items():
            data[field] = numpy.frombuffer(value, "u1")
        traces = first + group * TRACES_OF_REQUEST + numpy.arange(count * TRACES_OF_REQUEST, dtype="u8")
        data["service"] = digits((traces[::TRACES_OF_REQUEST] // TRACES_OF_REQUEST) % numpy.uint64(20))
        rows = numpy.zeros(len(traces), layout["traces"].subdtype[0])
        fill(rows, traces)
        data["traces"] = rows.reshape(count, TRACES_OF_REQUEST)
        with open(path, "ab" if group else "wb") as file:
            data.tofile(file)


def fill(rows, traces):
    ids, begin = trace_ids(traces), START_NS + traces * numpy.uint64(1_000_000)
    for index in range(SPANS_OF_TRACE):
        span = rows[f"span{index}"]
        for field, value in span_fixed(index).items():
            span[field] = numpy.frombuffer(value, "u1")
        chance = mixed(traces * numpy.uint64(SPANS_OF_TRACE) + numpy.uint64(index + (1 << 60)))
        span["trace"], span["id"] = ids, chance.astype(">u8").view("u1").reshape(-1, 8)
        if index:
            span["parent"] = rows["span0" if index < 4 else f"span{index - 3}"]["id"]
        span["name"] = digits(chance % numpy.uint64(50))
        span["start"] = begin + numpy.uint64(index * 1_000_000) + chance % numpy.uint64(900_000)
        span["end"] = span["start"] + numpy.uint64(10_000) + (chance >> numpy.uint64(20)) % numpy.uint64(40_000_000)


def digits(numbers):
    """Numbers below 100 as two ASCII digits."""
    return numpy.stack([48 + numbers // numpy.uint64(10), 48 + numbers % numpy.uint64(10)], axis=1).astype("u1")


def span_fixed(index):
    parent = {"parent_tag": b"\x22\x08"} if index else {}
    length = numpy.dtype(span_layout(index)).itemsize - 2
    return {
        "head": bytes([0x12, length, 0x0A, 16]),
        "id_tag": b"\x12\x08",
        **parent,
        "name_tag": b"\x2a\x0coperation ",
        "kind": bytes([0x30, 1 + index % 5]),
        "start_tag": b"\x39",
        "end_tag": b"\x41",
    }


def span_layout(index):
    parent = [("parent_tag", "u1", 2), ("parent", "u1", 8)] if index else []
    return [
        ("head", "u1", 4), ("trace", "u1", 16), ("id_tag", "u1", 2), ("id", "u1", 8), *parent, ("name_tag", "u1", 12), ("name", "u1", 2),
        ("kind", "u1", 2), ("start_tag", "u1", 1), ("start", "<u8"), ("end_tag", "u1", 1), ("end", "<u8"),
    ]  # fmt: skip


def request_layout():
    trace = numpy.dtype([(f"span{index}", span_layout(index)) for index in range(SPANS_OF_TRACE)])
    spans_bytes = trace.itemsize * TRACES_OF_REQUEST
    # The resource ends in two digits, which the layout has apart.
    value = b"\x0a\x0aservice-"
    attribute = b"\x0a\x0cservice.name\x12" + bytes([len(value) + 2]) + value
    resource = b"\x0a" + bytes([len(attribute) + 4]) + b"\x0a" + bytes([len(attribute) + 2]) + attribute
    scope_spans = b"\x12" + varint(spans_bytes)
    resource_spans = b"\x0a" + varint(len(resource) + 2 + len(scope_spans) + spans_bytes)
    head = varint(len(resource_spans) + len(resource) + 2 + len(scope_spans) + spans_bytes) + resource_spans + resource
    layout = [("head", "u1", len(head)), ("service", "u1", 2), ("scope", "u1", len(scope_spans)), ("traces", trace, TRACES_OF_REQUEST)]
    return numpy.dtype(layout), {"head": head, "scope": scope_spans}


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


if __name__ == "__main__":
    main()
