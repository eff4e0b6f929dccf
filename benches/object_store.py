#!/usr/bin/env python3
"""Measures questions on a table in an S3 server on this machine: cold, from the cache on disk, and warm.

usage: benches/object_store.py [--binary target/release/spanhouse] [--moto moto_server] [--delay-ms 20] FILE.otlp.zst

The file is imported into a table in the bucket and compacted there. Then each question is asked by a server of its own: with an empty data directory (cold),
again by another server on the same directory, which reads what the first one cached (from disk), and several times more by that one (warm, the median). The
servers reach the bucket through a proxy that lets each request wait `--delay-ms` (a bucket in the same region takes 15 to 30 ms for the first byte), and
counts the requests and bytes of the question: a server is asked when it has read what it reads by itself. Questions are those of `peers/questions` without parameters, and a trace by its id. `moto_server` is that of
`tests/clients/object_stores/requirements.txt`. Needs Linux, `zstd` and psycopg.
"""

import contextlib
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

from ingest import addresses, parser_of
from mixed import questions

BUCKET = "traces"
URL = f"s3://{BUCKET}/table"
WARM_ROUNDS = 7
START_SECONDS = 60
# How long nothing may be on the way before a server that was just started counts as started: it reads indexes in the background.
QUIET_SECONDS = 0.5


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="spanhouse-bench-") as folder, S3(options.moto) as s3:
        for command in (["import", "--data-dir", f"{folder}/made", options.file], ["compact", "--data-dir", f"{folder}/made"]):
            environment = os.environ | s3.environment(s3.port) | {"SPANHOUSE_TABLE_URL": URL}
            subprocess.run([options.binary, *command], check=True, capture_output=True, env=environment)
        proxy = Proxy(s3.port, options.delay_ms / 1000)
        environment = os.environ | s3.environment(proxy.port) | {"SPANHOUSE_TABLE_URL": URL}
        measure(options.binary, f"{folder}/data", environment, proxy)


def arguments():
    parser = parser_of(__doc__)
    parser.add_argument("--moto", default="moto_server", help="the program that speaks like S3")
    parser.add_argument("--delay-ms", type=float, default=0, help="what each request waits")
    parser.add_argument("file")
    return parser.parse_args()


def measure(binary, data, environment, proxy):
    asked = questions()
    with Server(binary, data, environment, proxy) as server:
        trace_id = server.ask("SELECT trace_id FROM spans ORDER BY duration_ns DESC, trace_id LIMIT 1")[1][0][0]
        asked["trace_by_id"] = f"SELECT * FROM spans WHERE trace_id = '{trace_id}'"
    print("| question | cold, ms | requests | MB | from disk, ms | requests | MB | warm, ms |\n|---|---|---|---|---|---|---|---|")
    starts = []
    for name, sql in asked.items():
        shutil.rmtree(data)
        cells = []
        for _ in ("cold", "from disk"):
            with Server(binary, data, environment, proxy) as server:
                starts.append(server.started_ms)
                before = proxy.counts()
                took_ms, _ = server.ask(sql)
                requests, count = (now - then for now, then in zip(proxy.counts(), before))
                cells += [f"{took_ms:.0f}", requests, f"{count / 1e6:.1f}"]
                warm = [server.ask(sql) for _ in range(WARM_ROUNDS)]
        print(f"| {name} | {' | '.join(map(str, cells))} | {statistics.median(took for took, _ in warm):.1f} |", flush=True)
    print(f"\na server listened after {statistics.median(starts):.0f} ms (median)")


class S3:
    """A `moto_server` with a bucket."""

    def __init__(self, program):
        self.port = free_port()
        self.process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            try:
                scope = "Credential=test/20260101/us-east-1/s3/aws4_request"
                connection.request("PUT", f"/{BUCKET}", headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"})
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                time.sleep(0.1)
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                sys.exit("the S3 server did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def environment(self, port):
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        return keys | {"AWS_ALLOW_HTTP": "true", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Proxy:
    """Carries requests to a port, each after a while, and counts them and the bytes of answers. Requests that read are one piece."""

    def __init__(self, target, delay_s):
        self.target, self.delay_s, self.lock = target, delay_s, threading.Lock()
        self.requests, self.bytes, self.moved_at = 0, 0, time.monotonic()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def counts(self):
        return self.requests, self.bytes

    def wait_until_quiet(self):
        while time.monotonic() - self.moved_at < QUIET_SECONDS:
            time.sleep(QUIET_SECONDS / 10)

    def _listen(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            for ends, is_request in (((client, server), True), ((server, client), False)):
                for end in ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(*ends, is_request), daemon=True).start()

    def _carry(self, source, target, is_request):
        try:
            while piece := source.recv(1 << 20):
                with self.lock:
                    self.moved_at = time.monotonic()
                    self.requests += is_request
                    self.bytes += 0 if is_request else len(piece)
                if is_request:
                    time.sleep(self.delay_s)
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Server:
    def __init__(self, binary, data, environment, proxy):
        listen = ["--otlp-grpc", "off", "--otlp-http", "off", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(data, "server.json"))
        begun = time.monotonic()
        self.process = subprocess.Popen([binary, "serve", "--data-dir", data, *listen], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        host, port = addresses(self.process, data)["postgres"].rsplit(":", 1)
        self.started_ms = (time.monotonic() - begun) * 1000
        self.connection = psycopg.connect(host=host, port=port, user="bench", dbname="spanhouse", autocommit=True)
        proxy.wait_until_quiet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.process.terminate()
        self.process.wait()

    def ask(self, sql):
        begun = time.perf_counter()
        rows = self.connection.execute(sql).fetchall()
        return (time.perf_counter() - begun) * 1000, rows


if __name__ == "__main__":
    main()
