#!/usr/bin/env python3
"""Sends the requests of a file to an OTLP/HTTP endpoint at a steady rate and measures how long each acknowledgement takes.

usage: benches/sender.py --endpoint http://127.0.0.1:4318/v1/traces --rate 200000 --seconds 20 FILE.otlp.zst

Prints one line of JSON: spans, bytes, seconds, spans a second, milliseconds to the acknowledgement (median, p99, the longest), and what was refused.
Requests are encoded before the clock starts; when the file ends it begins again, and each request gets an unknown field of this run and lap, so that none is a retry.
A request is due at its place in the schedule, and its time counts from there: a server that falls behind cannot hide it. Needs Python's standard
library and `zstd`.
"""

import argparse
import http.client
import json
import subprocess
import threading
import time
import urllib.parse

CONNECTIONS = 8
HEADERS = {"Content-Type": "application/x-protobuf"}


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
    data = memoryview(subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout)
    requests, total, place, lap = [], 0, 0, time.time_ns()
    while total < spans:
        length, place = varint(data, place)
        request = data[place : place + length]
        count = count_spans(request)
        # Field 1000, which no version of OTLP has.
        requests.append((count, bytes(request) + b"\xc0\x3e" + as_varint(lap)))
        total, place = total + count, place + length
        if place == len(data):
            place, lap = 0, lap + 1
    return requests


def send(endpoint, requests, rate):
    url = urllib.parse.urlsplit(endpoint)
    schedule, sent = [], 0
    for count, _ in requests:
        schedule.append(sent / rate)
        sent += count
    latencies, refused, lock, numbers = [], [], threading.Lock(), iter(range(len(requests)))
    begun = time.monotonic()

    def work():
        connection = http.client.HTTPConnection(url.hostname, url.port)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            due = begun + schedule[number]
            time.sleep(max(0, due - time.monotonic()))
            connection.request("POST", url.path, requests[number][1], HEADERS)
            answer = connection.getresponse()
            answer.read()
            (latencies if answer.status == 200 else refused).append(time.monotonic() - due)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    latencies.sort()
    at = lambda share: round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 2)
    return {
        "spans": sent,
        "bytes": sum(len(request) for _, request in requests),
        "seconds": round(seconds, 2),
        "spans_per_s": round(sent / seconds),
        "ack_ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1)},
        "refused": len(refused),
    }


def count_spans(request):
    return sum(1 for resource in fields(request, 1) for scope in fields(resource, 2) for _ in fields(scope, 2))


def fields(message, number):
    """The values of a length-delimited field; the messages on the way to spans have no others."""
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        if key & 7 == 0:
            _, place = varint(message, place)
            continue
        if key & 7 != 2:
            raise ValueError(f"wire type {key & 7}")
        length, place = varint(message, place)
        if key >> 3 == number:
            yield message[place : place + length]
        place += length


def varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def as_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


if __name__ == "__main__":
    main()
