#!/usr/bin/env python3
"""Sends the requests of a file to an OTLP/HTTP endpoint at a steady rate and measures how long each acknowledgement takes.

usage: benches/sender.py --endpoint http://127.0.0.1:4318/v1/traces --rate 200000 --seconds 20 FILE.otlp.zst

Prints one line of JSON: spans, bytes, seconds, spans a second, milliseconds to the acknowledgement (median, p99, the longest), and what was refused.
Requests are encoded before the clock starts. When the file ends it begins again. Each time its traces get other ids, and its spans are some days later, so that
no request is a retry and no trace grows.
A request is due at its place in the schedule, and its time counts from there: a server that falls behind cannot hide it. Needs Python's standard
library and `zstd`.
"""

import argparse
import http.client
import json
import struct
import subprocess
import threading
import time
import urllib.parse

CONNECTIONS = 8
HEADERS = {"Content-Type": "application/x-protobuf"}
FIXED64 = struct.Struct("<Q")
DAY_NS = 86_400_000_000_000


def main():
    options = arguments()
    requests = prepared(options.file, int(options.rate * options.seconds))
    print(json.dumps(send(options.endpoint, requests, options.rate)))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--rate", type=float, default=200_000, help="spans a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("file")
    return parser.parse_args()


def prepared(file, spans):
    """Requests with at least `spans` spans, each with its count of spans."""
    data = bytearray(subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout)
    found = [(request, [places(data, span) for span in spans_of(data, request)]) for request in messages(data)]
    starts = [FIXED64.unpack_from(data, start)[0] for _, all_places in found for _, start, _ in all_places]
    days_ns = ((max(starts) - min(starts)) // DAY_NS + 1) * DAY_NS
    requests, total, other_trace = [], 0, time.time_ns()
    while True:
        for (first, end), all_places in found:
            for trace_id, start, ended in all_places:
                for place, more in ((trace_id, other_trace), (start, days_ns), (ended, days_ns)):
                    FIXED64.pack_into(data, place, (FIXED64.unpack_from(data, place)[0] + more) % 2**64)
            requests.append((len(all_places), bytes(data[first:end])))
            total += len(all_places)
            if total >= spans:
                return requests


def send(endpoint, requests, rate):
    sending, begun = Sending(endpoint, requests, rate), time.monotonic()
    sending.run()
    seconds = time.monotonic() - begun
    return {
        "spans": sending.spans,
        "bytes": sending.bytes,
        "seconds": round(seconds, 2),
        "spans_per_s": round(sending.spans / seconds),
        "ack_ms": in_ms(sending.latencies),
        "refused": len(sending.refused),
    }


def in_ms(latencies):
    latencies = sorted(latencies) or [0]
    at = lambda share: round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 2)
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1)}


class Sending:
    """Requests, each a count of spans and bytes, on their way over some connections."""

    def __init__(self, endpoint, requests, rate):
        self.url, self.requests, self.rate = urllib.parse.urlsplit(endpoint), iter(requests), rate
        self.spans, self.bytes, self.latencies, self.refused = 0, 0, [], []
        self.lock, self.begun = threading.Lock(), None

    def run(self):
        self.begun = time.monotonic()
        threads = [threading.Thread(target=self._work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port)
        while True:
            with self.lock:
                count, body = next(self.requests, (0, None))
                if body is None:
                    return
                due = self.begun + self.spans / self.rate
                self.spans += count
                self.bytes += len(body)
            time.sleep(max(0, due - time.monotonic()))
            connection.request("POST", self.url.path, body, HEADERS)
            answer = connection.getresponse()
            answer.read()
            (self.latencies if answer.status == 200 else self.refused).append(time.monotonic() - due)


def messages(data):
    """Where each request lies, behind its length."""
    place = 0
    while place < len(data):
        length, first = varint(data, place)
        place = first + length
        yield first, place


def spans_of(data, request):
    for resource in (place for number, place in fields(data, request) if number == 1):
        for scope in (place for number, place in fields(data, resource) if number == 2):
            yield from (place for number, place in fields(data, scope) if number == 2)


def places(data, span):
    """Where a span's trace id, start and end lie."""
    at = {number: place[0] for number, place in fields(data, span)}
    return at[1], at[7], at[8]


def fields(data, message):
    """The number of each field of a message, and where its value lies."""
    place, end = message
    while place < end:
        key, place = varint(data, place)
        first = place
        match key & 7:
            case 0:
                _, place = varint(data, place)
            case 1:
                place += 8
            case 2:
                length, first = varint(data, place)
                place = first + length
            case 5:
                place += 4
            case other:
                raise ValueError(f"wire type {other}")
        yield key >> 3, (first, place)


def varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


if __name__ == "__main__":
    main()
