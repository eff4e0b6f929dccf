#!/usr/bin/env python3
"""Measures what scheduled reports take from ingest that has no core to spare: a sender as fast as it can be, alone and beside reports.

usage: benches/reports.py [--binary target/release/spanhouse] [--seconds 20] [--runs 2] FILE.otlp.zst

The file is imported first, and is what the reports read: every ten seconds the service map and the p99 of all operations over all that is there. Then
`spanhouse import` sends made-up spans, which were written to a file before, to a new server for some seconds, in turn without reports and with them.
Prints what `system.ingest` says was taken, the runs of the reports with their times, and the ratio of the medians. Needs Linux, `zstd` and psycopg.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

from ingest import addresses, parser_of

REPORTS = {
    "service_map": "SELECT * FROM service_map(:from, :to)",
    "operations": "SELECT service_name, span_name, count(*), quantile(0.99)(duration_ms) FROM spans "
    "WHERE timestamp >= :from AND timestamp < :to GROUP BY 1, 2",
}
HEADER = '-- title = "{name}"\n-- schedule = {{ every = "10s" }}\n-- window = "3650d"\n'
# More than any build took in the seconds that are sent.
SPANS_A_SECOND = 500_000
TAKEN = "SELECT coalesce(sum(count), 0)::bigint FROM system.ingest WHERE what = 'spans' AND outcome = 'accepted'"
RUNS = "SELECT count(*), count(*) FILTER (WHERE status = 'succeeded'), coalesce(max(duration_ms), 0) FROM system.report_runs"


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-") as folder:
        requests = os.path.join(folder, "requests.otlp.zst")
        spans = str(int(options.seconds * SPANS_A_SECOND))
        subprocess.run([options.binary, "generate", "--spans", spans, "--out", requests], check=True, capture_output=True)
        folders = {"without": os.path.join(folder, "none"), "with": os.path.join(folder, "reports")}
        for path in folders.values():
            os.mkdir(path)
        for name, sql in REPORTS.items():
            with open(os.path.join(folders["with"], f"{name}.sql"), "w") as report:
                report.write(HEADER.format(name=name) + sql + "\n")
        taken = {name: [] for name in folders}
        for run in range(options.runs):
            for name, path in folders.items():
                spans, runs = sent(options, os.path.join(folder, f"{name}-{run}"), path, requests)
                taken[name].append(spans)
                print(f"{name} reports: {spans:,} spans in {options.seconds:.0f} s; runs, succeeded, longest in ms: {runs}", flush=True)
    medians = {name: statistics.median(spans) for name, spans in taken.items()}
    print(f"taken with reports: {medians['with'] / medians['without']:.2f} of what was taken without")


def arguments():
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("file")
    return parser.parse_args()


def sent(options, data, reports, requests):
    """The life of a server: how many spans it took in the seconds, and the runs of reports."""
    subprocess.run([options.binary, "import", "--data-dir", data, options.file], check=True, capture_output=True)
    listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "off", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
    with open(data + ".log", "w") as log:
        command = [options.binary, "serve", "--data-dir", data, "--reports-dir", reports, *listen]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        at = addresses(server, data)
        sender = subprocess.Popen([options.binary, "import", "--to", "http://" + at["otlp_grpc"], requests], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(options.seconds)
        if sender.poll() is not None:
            sys.exit("the sender ended before its time")
        sender.send_signal(signal.SIGKILL)
        sender.wait()
        host, port = at["postgres"].rsplit(":", 1)
        with psycopg.connect(host=host, port=port, user="bench", dbname="spanhouse", autocommit=True) as connection:
            return connection.execute(TAKEN).fetchone()[0], connection.execute(RUNS).fetchone()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    main()
