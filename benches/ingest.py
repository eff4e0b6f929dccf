#!/usr/bin/env python3
"""Measures the whole ingest path: a server process takes a file of real traces over OTLP/gRPC, every request acknowledged after its fsync.

usage: benches/ingest.py [--binary target/release/spanhouse] [--runs 3] [--paced 200000] FILE.otlp.zst

Prints, per run and for the median: spans and MB a second by the clock until the last acknowledgement, spans a second per core that the server used
(spans divided by the CPU seconds, user and system, of its whole life, with the start and with sealing everything at the stop), CPU seconds per
million spans, and its peak resident memory. The sender is `spanhouse import`, another process, whose CPU does not count.

Then the time to the acknowledgement (median and p99), by `sender.py` over OTLP/HTTP at the steady rate `--paced`; and, as a baseline, the same path's first
step by the reference: what the OpenTelemetry Python packages' protobuf classes take to decode the requests, where they are installed.

Needs Linux, `zstd`, and nothing but Python's standard library.
"""

import argparse
import functools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time


PACED_SECONDS = 20


def main():
    options = arguments()
    results = [run(options.binary, lambda server: imported(options, server)) for _ in range(options.runs)]
    row("run", "spans", "seconds", "spans/s", "MB/s", "spans/s per core", "CPU s per M spans", "peak MiB")
    for number, result in enumerate(results, 1):
        row(number, *shown(result))
    row("median", *shown({key: statistics.median(result[key] for result in results) for key in results[0]}))
    paced = run(options.binary, lambda server: sent(options, server))
    print(
        f"at {paced['spans_per_s']:,} spans/s: acknowledged after {paced['ack_ms']['p50']} ms (median), {paced['ack_ms']['p99']} ms (p99), "
        f"{paced['ack_ms']['max']} ms (longest); {paced['refused']} refused; CPU s per M spans: {paced['cpu'] / paced['spans'] * 1e6:.2f}"
    )
    print(reference(options.file))


def parser_of(text):
    """The parser of a script that runs a binary, whose documentation is `text`."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--binary", default=os.path.join(target, "release", "spanhouse"))
    return parser


def arguments():
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--paced", type=float, default=200_000, help="spans a second, for the time to the acknowledgement")
    parser.add_argument("file")
    return parser.parse_args()


def run(binary, feed):
    """The life of a server that `feed` sends to: what `feed` gives, with the process's CPU seconds and peak memory."""
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-") as folder:
        listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        log = open(os.path.join(folder, "server.log"), "w")
        server = subprocess.Popen([binary, "serve", "--data-dir", os.path.join(folder, "data"), *listen], stdout=log, stderr=log)
        try:
            result = feed(addresses(server, os.path.join(folder, "data")))
        finally:
            server.send_signal(signal.SIGTERM)
            _, status, usage = os.wait4(server.pid, 0)
        if status != 0:
            sys.exit(f"the server ended with status {status}")
    # The whole life of the process counts: its start, and sealing what was still fresh when it was asked to stop.
    return result | {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}


def imported(options, server):
    started = time.monotonic()
    command = [options.binary, "import", "--to", "http://" + server["otlp_grpc"], options.file]
    sent = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if sent.returncode != 0:
        sys.exit(f"import failed:\n{sent.stdout}{sent.stderr}")
    spans = int(re.search(r"([\d,]+) spans", sent.stdout + sent.stderr).group(1).replace(",", ""))
    return {"spans": spans, "seconds": seconds, "bytes": plain_bytes(options.file)}


def sent(options, server):
    endpoint = f"http://{server['otlp_http']}/v1/traces"
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sender.py")
    command = [sys.executable, script, "--endpoint", endpoint, "--rate", str(options.paced), "--seconds", str(PACED_SECONDS), options.file]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@functools.cache
def plain_bytes(file):
    """The bytes of the requests as they are sent."""
    with subprocess.Popen(["zstd", "-dc", file], stdout=subprocess.PIPE) as unpacked:
        return sum(len(block) for block in iter(lambda: unpacked.stdout.read(1 << 20), b""))


def reference(file):
    """The time that the reference's protobuf classes take to decode the requests, and nothing else."""
    try:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError:
        return "reference: opentelemetry-proto is not installed"
    import sender

    requests = sender.prepared(file, 500_000)
    spans, begun = sum(count for count, _ in requests), time.process_time()
    for _, request in requests:
        ExportTraceServiceRequest.FromString(request)
    seconds = time.process_time() - begun
    return f"reference: opentelemetry-proto (Python, upb) only decodes {spans / seconds:,.0f} spans/s per core, {seconds / spans * 1e6:.2f} CPU s per M spans"


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
        f"{result['bytes'] / seconds / 1e6:,.0f}",
        f"{spans / cpu:,.0f}",
        f"{cpu / spans * 1e6:.2f}",
        f"{result['memory'] / 2**20:,.0f}",
    )


def row(*cells):
    print(" | ".join(str(cell).rjust(18) for cell in cells), flush=True)


if __name__ == "__main__":
    main()
