#!/usr/bin/env python3
"""Measures the whole ingest path: a server process takes a file of real traces over OTLP/gRPC, every request acknowledged after its fsync.

usage: benches/ingest.py [--binary target/release/spanhouse] [--runs 3] FILE.otlp.zst

Prints, per run and for the median: spans a second by the clock until the last acknowledgement, spans a second per core that the server used
(spans divided by the CPU seconds, user and system, of its whole life, with the start and with sealing everything at the stop), CPU seconds per
million spans, and its peak resident memory. Needs Linux and nothing but Python's standard library. The sender is `spanhouse import`, another process, whose CPU does not count.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def main():
    options = arguments()
    results = [run(options.binary, options.file) for _ in range(options.runs)]
    row("run", "spans", "seconds", "spans/s", "spans/s per core", "CPU s per M spans", "peak MiB")
    for number, result in enumerate(results, 1):
        row(number, *shown(result))
    median = {key: statistics.median(result[key] for result in results) for key in results[0]}
    row("median", *shown(median))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--binary", default=os.path.join(target, "release", "spanhouse"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("file")
    return parser.parse_args()


def run(binary, file):
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-") as folder:
        listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0"]
        log = open(os.path.join(folder, "server.log"), "w")
        server = subprocess.Popen([binary, "serve", "--data-dir", os.path.join(folder, "data"), *listen], stdout=log, stderr=log)
        try:
            endpoint = "http://" + addresses(server, os.path.join(folder, "data"))["otlp_grpc"]
            started = time.monotonic()
            sent = subprocess.run([binary, "import", "--to", endpoint, file], capture_output=True, text=True)
            seconds = time.monotonic() - started
            if sent.returncode != 0:
                sys.exit(f"import failed:\n{sent.stdout}{sent.stderr}")
            spans = int(re.search(r"([\d,]+) spans", sent.stdout + sent.stderr).group(1).replace(",", ""))
        finally:
            server.send_signal(signal.SIGTERM)
            _, status, usage = os.wait4(server.pid, 0)
        if status != 0:
            sys.exit(f"the server ended with status {status}")
    # The whole life of the process counts: its start, and sealing what was still fresh when it was asked to stop.
    return {"spans": spans, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}


def addresses(server, folder):
    """Waits until the server says where it listens."""
    for _ in range(600):
        if server.poll() is not None:
            sys.exit("the server ended at its start")
        try:
            with open(os.path.join(folder, "server.json")) as file:
                return json.load(file)
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.05)
    sys.exit("the server did not start within 30 s")


def shown(result):
    spans, seconds, cpu = result["spans"], result["seconds"], result["cpu"]
    return (
        f"{spans:,.0f}",
        f"{seconds:.1f}",
        f"{spans / seconds:,.0f}",
        f"{spans / cpu:,.0f}",
        f"{cpu / spans * 1e6:.2f}",
        f"{result['memory'] / 2**20:,.0f}",
    )


def row(*cells):
    print(" | ".join(str(cell).rjust(18) for cell in cells), flush=True)


if __name__ == "__main__":
    main()
