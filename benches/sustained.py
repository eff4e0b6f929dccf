#!/usr/bin/env python3
"""Measures whether compaction keeps up with ingest that does not pause: a server takes spans at a steady rate for minutes, and is asked meanwhile.

usage: benches/sustained.py [--binary target/release/spanhouse] [--rate 200000] [--minutes 10] [--every 10] [--expire-after SECONDS] FILE.otlp.zst

The file is imported and compacted first. Then its requests are sent again and again with other trace ids and as spans of now, so that all of them end in the files of
a day or two, and every few seconds a row is printed: what was acknowledged, after which time, how many files there are, what waits for compaction, how
much the log and the process's memory hold. Each time some questions are asked about an hour of the spans that were there before, which are the
same however much has come since: their median times alone (before, and when all is merged) and meanwhile, with the ratio. At the end stands how long
it took to seal and merge what was left.

A soak is `--minutes 60 --expire-after 300`: the spans are sent as if they were older, so that the server's retention takes them away five minutes later, and what is
asked meanwhile are the questions of `peers/questions` that have no parameters, of everything. Memory, open files, threads, the log and what waits are
told for each quarter of the time: what leaks grows from one to the next.
"""

import contextlib
import math
import multiprocessing
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy
import psycopg

import sender
from ingest import addresses, parser_of
from mixed import SETTLE_SECONDS, cpu_seconds
from mixed import questions as questions_of_everything

# Requests of a file follow each other in windows of so long: those of one are sent as if they were of the same moment.
WINDOW_NS = 5_000_000_000
ROUNDS_ALONE = 15
# The least that a server keeps spans for.
RETENTION_SECONDS = 3600
HOUR = "timestamp >= '{hour_from}' AND timestamp < '{hour_to}'"
QUESTIONS = {
    "requests, errors and p95 by service": "SELECT service_name, count(*), count(*) FILTER (WHERE status_code = 'ERROR'), quantile(0.95)(duration_ms) "
    f"FROM spans WHERE {HOUR} GROUP BY 1 ORDER BY 1",
    "spans a minute": f"SELECT date_trunc('minute', timestamp), count(*) FROM spans WHERE {HOUR} GROUP BY 1 ORDER BY 1",
    "slowest 20 client spans": f"SELECT trace_id, duration_ms FROM spans WHERE {HOUR} AND span_kind = 'CLIENT' ORDER BY duration_ns DESC LIMIT 20",
    "a trace by its id": "SELECT * FROM spans WHERE trace_id = '{trace_id}'",
}
# Of what comes meanwhile: there is nothing to compare it with.
LATEST = "SELECT service_name, count(*) FROM spans WHERE timestamp >= now() - INTERVAL '1 minute' GROUP BY 1 ORDER BY 1"
FIGURES = ("fresh_rows", "table_files", "backlog_files", "backlog_rows", "waiting_files", "removed_files", "log_bytes")
SAMPLED = ("log, MiB", "memory, MiB", "open files", "threads", "fresh spans", "files", "backlog, files")


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-", dir=options.folder) as folder:
        data = os.path.join(folder, "data")
        if not options.expire_after:
            subprocess.run([options.binary, "import", "--data-dir", data, options.file], check=True, capture_output=True)
            subprocess.run([options.binary, "compact", "--data-dir", data], check=True, capture_output=True)
        listen = ["--otlp-grpc", "off", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        if options.expire_after:
            listen += ["--retention", f"{RETENTION_SECONDS}s"]
        with open(os.path.join(folder, "server.log"), "w") as log:
            server = subprocess.Popen([options.binary, "serve", "--data-dir", data, *listen], stdout=log, stderr=log)
        try:
            (soak if options.expire_after else measure)(options, server.pid, addresses(server, data))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def arguments():
    parser = parser_of(__doc__)
    parser.add_argument("--rate", type=float, default=200_000, help="spans a second")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=10, help="seconds between two rows")
    parser.add_argument("--expire-after", type=int, default=0, metavar="SECONDS", help="soak: spans expire so long after they were sent")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the table is made: some 25 bytes for each span, and the log")
    parser.add_argument("file")
    return parser.parse_args()


def measure(options, pid, server):
    with sending(options, server) as (client, told, may_begin), connected(server) as connection:
        questions = {name: sql.format(**topics(connection)) for name, sql in QUESTIONS.items()}
        before = alone(connection, questions)
        cpu, begun = cpu_seconds(pid), time.monotonic()
        may_begin.set()
        beside, latest, total, _ = watch(pid, lambda: hear(client, told), connection, questions)
        took = time.monotonic() - begun, cpu_seconds(pid) - cpu
        waited = settle(connection)
        after = alone(connection, questions)
    report(before, beside, after, latest)
    tell(total, took, pid)
    print(f"sealed and merged {waited:.0f} s after the last one")


def soak(options, pid, server):
    with sending(options, server) as (client, told, may_begin), connected(server) as connection:
        cpu, begun = cpu_seconds(pid), time.monotonic()
        may_begin.set()
        times, latest, total, samples = watch(pid, lambda: hear(client, told), connection, questions_of_everything())
        took = time.monotonic() - begun, cpu_seconds(pid) - cpu
    report_soak(times, samples)
    tell(total, took, pid)


@contextlib.contextmanager
def sending(options, server):
    """The process that sends, ready to begin."""
    ways = multiprocessing.get_context("spawn")
    told, may_begin = ways.Queue(), ways.Event()
    client = ways.Process(target=keep_sending, args=(f"http://{server['otlp_http']}/v1/traces", options, told, may_begin), daemon=True)
    client.start()
    hear(client, told)
    yield client, told, may_begin
    client.join()


def connected(server):
    host, port = server["postgres"].rsplit(":", 1)
    return psycopg.connect(host=host, port=port, user="bench", dbname="spanhouse", autocommit=True)


def tell(total, took, pid):
    (seconds, cpu), ack = took, total["ack_ms"]
    print(
        f"\n{total['spans']:,} spans in {seconds:.0f} s, {total['spans'] / seconds:,.0f} a second; acknowledged after {ack['p50']} ms (median), "
        f"{ack['p99']} ms (p99), {ack['max']} ms (longest); {total['refused']} requests refused; {cpu / total['spans'] * 1e6:.2f} CPU s per M spans, questions "
        f"included; {peak_mib(pid):,.0f} MiB at the peak"
    )


def hear(client, told):
    while True:
        try:
            return told.get(timeout=1)
        except queue.Empty:
            if not client.is_alive():
                sys.exit("the sender ended")


def keep_sending(endpoint, options, told, may_begin):
    """A process of its own: tells, every few seconds and at the end, how long acknowledgements took."""
    # Spans that expire soon are as old as the server lets them become, but for a little.
    feed = Feed(options.file, (RETENTION_SECONDS - options.expire_after) * 10**9 if options.expire_after else 0)
    told.put("ready")
    may_begin.wait()
    sending = sender.Sending(endpoint, feed.requests(options.rate * options.minutes * 60), options.rate)
    working = threading.Thread(target=sending.run)
    working.start()
    seen = 0
    while working.is_alive():
        working.join(options.every)
        until = len(sending.latencies)
        part = {"spans": sending.spans, "refused": len(sending.refused), "ack_ms": sender.in_ms(sending.latencies[seen:until])}
        told.put(part | {"is_last": False})
        seen = until
    told.put(part | {"ack_ms": sender.in_ms(sending.latencies), "is_last": True})


class Feed:
    """The requests of a file, as often as they are wanted: each time of other traces, and of `age_ns` ago."""

    def __init__(self, file, age_ns):
        self.age_ns = age_ns
        self.data = numpy.frombuffer(bytearray(subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout), "u1")
        data, self.windows, last = memoryview(self.data), [], None
        for request in sender.messages(data):
            places = [sender.places(data, span) for span in sender.spans_of(data, request)]
            if not places:
                continue
            start = min(sender.FIXED64.unpack_from(data, start)[0] for _, start, _ in places)
            if start // WINDOW_NS != last:
                last = start // WINDOW_NS
                self.windows.append(Window(last * WINDOW_NS))
            self.windows[-1].add(request, places)
        for window in self.windows:
            window.places = [numpy.array(places, "i8") for places in window.places]

    def requests(self, spans):
        """Requests with at least `spans` spans, each with its count of spans; made as they are taken."""
        sent, other_trace = 0, time.time_ns()
        while True:
            for window in self.windows:
                trace_ids, starts, ends = window.places
                now_ns = time.time_ns() - WINDOW_NS - self.age_ns
                self.add(trace_ids, other_trace)
                self.add(starts, now_ns - window.start_ns)
                self.add(ends, now_ns - window.start_ns)
                window.start_ns = now_ns
                for (first, end), count in window.requests:
                    yield count, self.data[first:end].tobytes()
                    sent += count
                    if sent >= spans:
                        return

    def add(self, places, more):
        """Adds to the 64-bit numbers at these places."""
        at = places[:, None] + numpy.arange(8)
        numbers = self.data[at].view("<u8") + numpy.uint64(more % 2**64)
        self.data[at] = numbers.view("u1")


class Window:
    def __init__(self, start_ns):
        self.start_ns, self.requests, self.places = start_ns, [], ([], [], [])

    def add(self, request, places):
        self.requests.append((request, len(places)))
        for kind, place in zip(self.places, zip(*places)):
            kind.extend(place)


def topics(connection):
    """The hour in the middle of what is there, and a trace of it."""
    rows = connection.execute("SELECT count(*) FROM spans").fetchone()[0]
    hour_from, hour_to, trace_id = connection.execute(
        "SELECT timestamp - INTERVAL '30 minutes', timestamp + INTERVAL '30 minutes', trace_id FROM spans "
        f"ORDER BY timestamp LIMIT 1 OFFSET {rows // 2}"
    ).fetchone()
    return {"hour_from": hour_from, "hour_to": hour_to, "trace_id": trace_id}


def alone(connection, questions):
    """Milliseconds of each question when nothing else is asked, and they were asked before."""
    times = {name: [] for name in questions}
    for number in range(-2, ROUNDS_ALONE):
        for name, sql in questions.items():
            took_ms = ask(connection, sql)
            if number >= 0:
                times[name].append(took_ms)
    return times


def ask(connection, sql):
    begun = time.perf_counter()
    connection.execute(sql).fetchall()
    return (time.perf_counter() - begun) * 1000


def watch(pid, heard, connection, questions):
    row("s", "M spans", "spans/s", "ack p50, ms", "p99", "fresh", "files", "backlog files", "rows", "waiting", "gone", "log, MiB", "memory, MiB", "open files", "threads")
    samples, times, latest, begun, before, at_before = [], {name: [] for name in questions}, [], time.monotonic(), 0, 0
    while not (part := heard())["is_last"]:
        at = time.monotonic() - begun
        if at - at_before < 1:
            # What was left when the last full interval ended.
            continue
        figures = dict(connection.execute("SELECT name, value FROM system.store").fetchall())
        spans, ack = part["spans"], part["ack_ms"]
        rate = (spans - before) / (at - at_before)
        numbers = [figures[name] for name in FIGURES[:-1]]
        memory = [figures["log_bytes"] / 2**20, memory_mib(pid, "VmRSS")]
        held = [count(f"/proc/{pid}/fd"), count(f"/proc/{pid}/task")]
        samples.append(dict(zip(SAMPLED, [*memory, *held, figures["fresh_rows"], figures["table_files"], figures["backlog_files"]])))
        row(f"{at:.0f}", f"{spans / 1e6:.1f}", f"{rate:,.0f}", ack["p50"], ack["p99"], *(f"{number:,}" for number in numbers), *(f"{mib:,.0f}" for mib in memory), *held)
        before, at_before = spans, at
        for name, sql in questions.items():
            times[name].append(ask(connection, sql))
        latest.append(ask(connection, LATEST))
    return times, latest, part, samples


def count(folder):
    return len(os.listdir(folder))


def row(*cells):
    print(" | ".join(str(cell).rjust(11) for cell in cells), flush=True)


def memory_mib(pid, what):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what + ":")) / 1024


def peak_mib(pid):
    return memory_mib(pid, "VmHWM")


def settle(connection):
    """Waits until all spans are in files and no merge is due; gives the seconds that it took."""
    begun = time.monotonic()
    left = "SELECT sum(value) FROM system.store WHERE name IN ('fresh_rows', 'backlog_files')"
    while connection.execute(left).fetchone()[0] > 0:
        if time.monotonic() - begun > SETTLE_SECONDS:
            sys.exit(f"the server still seals or compacts after {SETTLE_SECONDS} s")
        time.sleep(1)
    return time.monotonic() - begun


def report_soak(times, samples):
    quarters = [samples[len(samples) * number // 4 : len(samples) * (number + 1) // 4] for number in range(4)]
    print("\n| median, most of a quarter of the time | first | second | third | last |\n|---|---|---|---|---|")
    for name in SAMPLED:
        cells = [[sample[name] for sample in quarter] or [0] for quarter in quarters]
        print(f"| {name} | " + " | ".join(f"{statistics.median(cell):,.0f}, {max(cell):,.0f}" for cell in cells) + " |")
    print("\n| question | asked | ms, median | longest |\n|---|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {len(taken)} | {statistics.median(taken):.1f} | {max(taken):.1f} |")


def report(before, beside, after, latest):
    ratios = []
    print("\n| question about an hour before | ms alone, before and after | ms meanwhile | ratio |\n|---|---|---|---|")
    for name in before:
        first, under, last = (statistics.median(times[name]) for times in (before, beside, after))
        ratios.append(under / math.sqrt(first * last))
        print(f"| {name} | {first:.1f}, {last:.1f} | {under:.1f} | {ratios[-1]:.2f} |")
    print(f"| geometric mean | | | {math.exp(statistics.fmean(map(math.log, ratios))):.2f} |")
    print(f"| of the last minute, by service | | {statistics.median(latest):.1f} | |")


if __name__ == "__main__":
    main()
